"""Templates that draw images from the suspect: extraction, black box, guidance, and all at once."""

from __future__ import annotations

from typing import Any

from ..graphs import Graph, Link, Node
from .parts import (
    FILES,
    FOLDERS,
    LETTERS,
    LORA,
    PLACEBOS,
    RESUMES,
    Start,
    descriptor,
    photo_sets,
    placebos,
    show_images,
    show_text,
    template,
    verdict_of,
)


def both_arms(g: Graph, start: Start, titles: tuple[str, str], **settings: Any) -> list[Node]:
    """Samplers of the suspect and of its base, with the same settings."""
    return [
        g.add("LoraForensicsMultiCfgSampler", title, arm=arm, **start.both, **settings)
        for title, arm in zip(titles, ("tuned", "base"), strict=True)
    ]


def attack_arms(g: Graph, start: Start) -> tuple[Link, Link]:
    """Images of the suspect and of its base, for the black-box attack."""
    titles, settings = ("Suspect's images", "Base's images"), {"scales": "3", "seed": 1}
    tuned, base = both_arms(g, start, titles, images=200, **settings)
    return tuned["generated"], base["generated"]


def attack(g: Graph, start: Start, arms: tuple[Link, Link], sets: dict[str, Link]) -> Node:
    """The scores of a network that tells the arms apart."""
    images = {"positives": arms[0], "negatives": arms[1]}
    trained = g.add("LoraForensicsTrainAttack", suspect=start.suspect, **images)
    model = trained["attack_model"]
    return g.add("LoraForensicsScoreAttack", **start.both, attack_model=model, **sets)


@template(
    "What can be pulled out of this LoRA?",
    f"""FineXtract draws many images beyond what the LoRA learnt, groups near-copies and shows \
one of each group. *Judge* lays them beside photos and controls.

{FILES}{FOLDERS}
**How long**: as much as 400 ordinary images of 20 steps: 200 for the pilot that chooses the \
guidance weight, 200 for the extraction. {RESUMES}

**Reading the result**: the first sheet shows what came out, best group first. In the second each \
stands beside the photo it resembles most, with the cosine. AS and A-ESR of the photos count only \
beside those of the controls: a likeness that controls have too is style, not memory. Changing \
a threshold in *Judge* draws nothing anew.""",
)
def finextract_extraction(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Extraction"):
        extract = g.add("LoraForensicsExtract", **start.both, **encoder)
        show_text(g, "Groups and provenance", extract["table"])
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Judgement"):
        asked = {"suspect": start.suspect, "extraction": extract["extraction"]}
        judge = g.add("LoraForensicsJudgeExtraction", **asked, **encoder, **sets)
    with g.column("Result"):
        show_images(g, "Extracted, best first", extract["sheet"])
        show_images(g, "Extracted beside nearest photo", judge["sheet"])
        show_text(g, "In words", judge["summary"])


@template(
    "Black-box attack: from images alone",
    f"""Draws images of the suspect and of its base with the same seeds, trains a small \
network to tell them apart, and asks it about your photos.

{FILES}{FOLDERS}
**How long**: as much as 400 ordinary images of 20 steps, then five small trainings (minutes). \
The baselines cost next to nothing. {RESUMES}

**Reading the result**: the table has one row a photo, highest score first, with its p-value among \
the controls. The attack tells *sources* apart, not photos: on seen against unseen photos of one \
source its published AUC is 0.53. Take it as a hint beside the white-box line. The baselines \
score the same images without training: an attack that does not beat them has learnt no more than \
likeness. The trained attack lies in `output/lora_forensics/attack_models`.""",
)
def black_box_membership(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Two arms, same seeds"):
        arms = attack_arms(g, start)
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Attack"):
        scored = attack(g, start, arms, sets)
    with g.column("Result"):
        show_text(g, "Score of each photo", scored["table"])
        show_text(g, "In words", scored["summary"])
        show_images(g, "Photos and controls", scored["plot"])
    with g.column("Baselines"):
        inputs = {"suspect": start.suspect, "generated": arms[0], "base_generated": arms[1]}
        inputs |= descriptor(g) | sets
        for method in ("centroid", "gan_leaks_cosine"):
            simple = g.add("LoraForensicsBaselines", f"Baseline {method}", method=method, **inputs)
            show_text(g, f"In words: {method}", simple["summary"])


@template(
    "One seed at many guidance scales",
    f"""Draws each noise at each scale, from the suspect and from its base. Rows of a sheet \
are scales, columns are noises, the same in both sheets.

{FILES}
**How long**: 2 x 3 x 8 images of 20 steps. {RESUMES} Going back to earlier settings costs nothing.

**Reading the result**: scale 0 ignores the prompt, 1 follows it plainly, higher ones press it. \
Columns in which the suspect gives nearly one picture whatever the noise hint at memory of few \
photos. The table names scale, seed, prompt and SHA-256 of each image. Leave `prompts` empty to \
take those that the LoRA's metadata suggests.""",
)
def multi_cfg_comparison(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Samplers"):
        tuned, base = both_arms(g, start, ("Suspect", "Base"), images=8)
    with g.column("Result"):
        show_images(g, "Suspect: a row a scale", tuned["sheet"])
        show_images(g, "Base: a row a scale", base["sheet"])
        show_text(g, "Provenance", tuned["table"])


@template(
    "Full pass over one LoRA",
    f"""Reads the file, then runs white-box membership, extraction and the black-box attack in \
nodes of their own, and writes one report. Each line can be changed and run again by itself.

{FILES}{FOLDERS}{PLACEBOS}
**How long**: hours on a small GPU: 800 ordinary images of 20 steps, and 12 for each photo and \
control, 20 with 19 placebos. {RESUMES}

{LETTERS} The letter rests on the white-box line; the others are reported beside it and never \
raise it. *Inspect* shows what the file claims: metadata can be edited by anyone. A file that \
points to a minor is never sampled.""",
)
def moderation_pass(g: Graph) -> None:
    with g.column("Suspect"):
        g.add("LoraForensicsInspect", lora_name=LORA)
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos, nulls"):
        sets = photo_sets(g)
        nulls = placebos(g, start)
    with g.column("Sampling"):
        extract = g.add("LoraForensicsExtract", **start.both, **encoder)
        arms = attack_arms(g, start)
    with g.column("Evidence"):
        measured = g.add("LoraForensicsWhiteBox", **start.both, nulls=19, **nulls, **sets)
        asked = {"suspect": start.suspect, "extraction": extract["extraction"]}
        judge = g.add("LoraForensicsJudgeExtraction", **asked, **encoder, **sets)
        scored = attack(g, start, arms, sets)
    lines = {"membership": measured, "extraction": judge, "attack": scored}
    evidence = {name: node["evidence"] for name, node in lines.items()}
    verdict = verdict_of(g, start.suspect, **encoder, **evidence, **sets)
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name="moderation")
        show_images(g, "Extracted beside nearest photo", verdict["sheet"])
        show_text(g, "In words", verdict["summary"])


@template(
    "Model guidance in your own sampling",
    f"""FineXtract's guidance as a GUIDER for SamplerCustomAdvanced: samples are pulled from \
the base towards what the suspect learnt, and beyond.

{FILES}
Type a training caption or trigger word into *Caption*; *Load Suspect LoRA* shows those that the \
file names at its output `prompts`.

**How long**: as long as an ordinary image: base and suspect share one batched pass.

**Reading the result**: `weight` 0 is the base, 1 the suspect, 2 to 5 exaggerate what it learnt; \
small models break above 3. A picture that looks like a training photo is a lead to follow with \
controls, no proof.""",
)
def model_guidance_sampling(g: Graph) -> None:
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Prompts"):
        caption = g.add(
            "CLIPTextEncode", "Caption", clip=start.node["tuned_clip"], text="photo of sks person"
        )
        empty = g.add("CLIPTextEncode", "Empty", clip=start.checkpoint["CLIP"], text="")
        latent = g.add("EmptyLatentImage")
    with g.column("Guidance"):
        guider = g.add(
            "LoraForensicsModelGuider",
            suspect=start.suspect,
            tuned_conditioning=caption["CONDITIONING"],
            base_conditioning=empty["CONDITIONING"],
        )
        noise = g.add("RandomNoise", noise_seed=1)
        sigmas = g.add(
            "BasicScheduler", model=start.checkpoint["MODEL"], scheduler="normal", denoise=1.0
        )
        solver = g.add("KSamplerSelect", sampler_name="euler")
    with g.column("Sampling"):
        sampled = g.add(
            "SamplerCustomAdvanced",
            noise=noise["NOISE"],
            guider=guider["guider"],
            sampler=solver["SAMPLER"],
            sigmas=sigmas["SIGMAS"],
            latent_image=latent["LATENT"],
        )
        image = g.add("VAEDecode", samples=sampled["output"], vae=start.checkpoint["VAE"])
    with g.column("Result"):
        g.add("SaveImage", images=image["IMAGE"], filename_prefix="lora_forensics/model_guidance")
