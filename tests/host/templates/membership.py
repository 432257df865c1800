"""Templates that ask whether the suspect knows the photos."""

from __future__ import annotations

from ..graphs import Graph
from .parts import (
    FILES,
    FOLDERS,
    LETTERS,
    PLACEBOS,
    RESUMES,
    Start,
    base_checkpoint,
    descriptor,
    photo_sets,
    placebos,
    show_images,
    show_text,
    show_verdict,
    template,
    text_models,
    verdict_of,
)

TUNED_CHECKPOINT = "dreambooth-suspect.safetensors"


@template(
    "Was this LoRA trained on these photos?",
    f"""All lines of evidence in one node, and a report.

{FILES}{FOLDERS}
**How long**: preset quick costs as much as 240 ordinary images of 20 steps, and one more for each \
photo and control; standard 800, and 12 for each. {RESUMES}

{LETTERS} Preset quick has no null models, so it never says B; say `exchangeable` only if the \
controls are a true hold-out. The report is in `output/lora_forensics/reports`.""",
)
def quick_screening(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Screening"):
        screen = g.add("LoraForensicsScreen", **start.both, **encoder, **sets)
    show_verdict(g, screen, "quick", {})
    show_images(g, "Extracted beside nearest photo", screen["sheet"])


@template(
    "White-box membership",
    f"""Does the suspect predict these photos better than its base does, more than it does \
controls? The primary line: the verdict rests on it.

{FILES}{FOLDERS}{PLACEBOS}
**How long**: as much as 12 ordinary images of 20 steps for each photo and control, most of it \
for the 19 null models of noise, and 8 more for every 19 placebos. With `nulls` 0 and no placebo \
it is 4 images each, and no verdict B. {RESUMES}

{LETTERS} The table has one row a photo; the plot shows photos over controls. Further signals and \
the places where the adapter helps are shown beside it and never raise the letter; only a rank \
among placebos gives B. Changing `alpha` in *Verdict* measures nothing anew.""",
)
def white_box_membership(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos, nulls"):
        sets = photo_sets(g)
        nulls = placebos(g, start)
    with g.column("Evidence"):
        measured = g.add("LoraForensicsWhiteBox", **start.both, nulls=19, **nulls, **sets)
        show_images(g, "Photos and controls", measured["plot"])
    verdict = verdict_of(g, start.suspect, **encoder, membership=measured["evidence"], **sets)
    show_verdict(g, verdict, "white-box", {"Score of each photo": measured["table"]})
    with g.column("Signals"):
        show_text(g, "Signals and null models", measured["summary"])
        show_images(g, "Where the adapter helps", measured["heat"])


@template(
    "A DreamBooth checkpoint under suspicion",
    f"""The same question for a full checkpoint beside the base it was tuned from.

**Put in place first**
- base and suspect, both in `models/checkpoints`, of one family
{FOLDERS}
Such a file names no prompt: replace *photo of sks person* by the caption you believe in.

**How long**: as much as 4 ordinary images of 20 steps for each photo and control. Both \
networks are held in memory.

{LETTERS} A checkpoint has no null models, so B is out of reach.""",
)
def dreambooth_suspect(g: Graph) -> None:
    with g.column("Base and suspect"):
        base = base_checkpoint(g)
        tuned = g.add("CheckpointLoaderSimple", "Suspect checkpoint", ckpt_name=TUNED_CHECKPOINT)
    with g.column("Suspect"):
        suspect = g.add(
            "LoraForensicsSuspectFromModels",
            base_model=base["MODEL"],
            tuned_model=tuned["MODEL"],
            base_clip=base["CLIP"],
            tuned_clip=tuned["CLIP"],
            name="dreambooth",
        )["suspect"]
        encoder = descriptor(g)
        sets = photo_sets(g)
    with g.column("Evidence"):
        prompts = {"prompts": "photo of sks person"}
        both = {"suspect": suspect, "vae": base["VAE"]}
        measured = g.add("LoraForensicsWhiteBox", **both, **prompts, **sets)
        show_images(g, "Photos and controls", measured["plot"])
    verdict = verdict_of(g, suspect, **encoder, membership=measured["evidence"], **sets)
    show_verdict(g, verdict, "dreambooth", {"Score of each photo": measured["table"]})


@template(
    "Decoys: an exact test, if prepared in time",
    f"""For owners of photos. Before they go out, one of 100 secret variants is drawn and \
published. A model that was not trained on it treats all variants alike, so its rank is an exact \
p-value: no controls, no null models, no assumption.

**Put in place first**
- the photos, in `input/photos`
- *Make Decoys* is switched off here: select it, press Ctrl-M, run it **once before publishing**, \
and switch it off again. Publish only the folder `publish`, keep the secret and the originals
- later: the base in `models/checkpoints` and the suspect in `models/loras`

**How long**: with marks every photo is scored in 100 variants: as much as 160 ordinary images of \
20 steps for each photo. Kind `subset` scores each photo once. {RESUMES}

**Reading the result**: the rank's p-value; its floor is 1 / (decoys + 1). At p = 0.01 with 99 \
decoys or more, *Verdict* says A whatever the controls. A high p is no acquittal: a mark can be \
lost in resizing. Whether marks of this strength are learnt is not known: try on your own model.""",
)
def decoys(g: Graph) -> None:
    with g.column("First: run once"):
        mine = g.add("LoraForensicsPhotoFolder", "The originals", folder="photos")
        g.add("LoraForensicsMakeDecoys", muted=True, photos=mine["photos"])
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Ranking"):
        rank = {"photos": mine["photos"], "folder": "decoys"}
        ranked = g.add("LoraForensicsRankDecoys", **start.both, **rank)
    with g.column("Result"):
        show_text(g, "In words", ranked["summary"])


@template(
    "Null models from your own controls",
    f"""Trains LoRAs on half of the controls with the recipe that the suspect's file states, \
and asks whether the suspect stands out among them: what verdict B rests on. It can train a LoRA \
whose photos you know, too, to see how the tool does on one.

{FILES}{FOLDERS}
- to begin with a LoRA of known truth: select the muted nodes under *First*, press Ctrl-M, run \
**once**, switch them off again, and pick `known.safetensors` as suspect

**How long**: 19 trainings as long as the suspect's own, hours on a small GPU; then as much as 8 \
ordinary images of 20 steps for each photo and control. 19 allow p = 0.05, 99 allow p = 0.01. \
{RESUMES}

{LETTERS} *Canonical Photos* passes both sets through one codec, so that the history of their \
files does not tell them apart. A file without steps and learning rate in its metadata cannot be \
repeated: use placebos then.""",
)
def training_null_models(g: Graph) -> None:
    with g.column("First: run once"):
        checkpoint = base_checkpoint(g)
        known = g.add("LoraForensicsPhotoFolder", "Photos to train on", muted=True, folder="photos")
        g.add(
            "LoraForensicsTrainLora",
            "Train a LoRA of known truth",
            muted=True,
            **text_models(checkpoint),
            photos=known["photos"],
            caption="photo of sks person",
            name="known",
        )
    with g.column("Suspect"):
        start = Start(g, checkpoint)
        encoder = descriptor(g)
    with g.column("Photos, one processing"):
        alike = g.add("LoraForensicsCanonical", **start.both, **photo_sets(g))
        sets = {"photos": alike["photos"], "controls": alike["controls"]}
    with g.column("Null models"):
        trained = g.add("LoraForensicsCounterfactuals", **start.both, controls=sets["controls"])
        nulls = {"counterfactuals": trained["nulls"]}
        measured = g.add("LoraForensicsWhiteBox", **start.both, **nulls, **sets)
    verdict = verdict_of(g, start.suspect, **encoder, membership=measured["evidence"], **sets)
    texts = {"Null models": trained["summary"], "Signals and null models": measured["summary"]}
    show_verdict(g, verdict, "counterfactuals", texts)
