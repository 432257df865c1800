"""The workflow templates: what they connect, and what their notes tell the user."""

from __future__ import annotations

from collections.abc import Callable

from .contract import Contract
from .graphs import Graph, Link, Node
from .notes import NOTES

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
TUNED_CHECKPOINT = "dreambooth-suspect.safetensors"
LORA = "suspect.safetensors"
CORE = (
    "CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "RandomNoise",
    "BasicScheduler", "KSamplerSelect", "SamplerCustomAdvanced", "VAEDecode", "SaveImage",
    "PreviewImage", "PreviewAny", "LoadImage",
)  # fmt: skip


def base_checkpoint(g: Graph) -> Node:
    return g.add("CheckpointLoaderSimple", "Base checkpoint", ckpt_name=CHECKPOINT)


class Start:
    """Checkpoint and suspect, which most templates begin with; the checkpoint may be there."""

    def __init__(self, g: Graph, checkpoint: Node | None = None):
        self.checkpoint = checkpoint or base_checkpoint(g)
        self.node = g.add(
            "LoraForensicsLoadSuspect",
            model=self.checkpoint["MODEL"],
            clip=self.checkpoint["CLIP"],
            lora_name=LORA,
        )
        self.suspect, self.vae = self.node["suspect"], self.checkpoint["VAE"]


def photo_sets(g: Graph) -> dict[str, Link]:
    """Photos and controls, as inputs of a node."""
    mine = g.add("LoraForensicsPhotoFolder", "Photos in question", folder="photos")
    others = g.add("LoraForensicsPhotoFolder", "Controls: certainly not used", folder="controls")
    return {"photos": mine["photos"], "controls": others["photos"]}


def descriptor(g: Graph) -> Link:
    return g.add("LoraForensicsLoadDescriptor")["descriptor"]


def show_text(g: Graph, title: str, source: Link) -> None:
    g.add("PreviewAny", title, source=source)


def show_images(g: Graph, title: str, images: Link) -> None:
    g.add("PreviewImage", title, images=images)


def both_arms(g: Graph, suspect: Link, vae: Link, images: int) -> dict[str, Link]:
    """The two samplers of the black-box attack, and its training's inputs."""
    settings = {"suspect": suspect, "vae": vae, "scales": "3", "images": images, "seed": 1}
    kind = "LoraForensicsMultiCfgSampler"
    tuned = g.add(kind, "Suspect's images", arm="tuned", **settings)
    base = g.add(kind, "Base's images", arm="base", **settings)
    return {"positives": tuned["generated"], "negatives": base["generated"]}


def quick_screening(contract: Contract) -> Graph:
    g = Graph("quick_screening", *NOTES["quick_screening"], contract)
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Screening"):
        screen = g.add(
            "LoraForensicsScreen",
            suspect=start.suspect,
            vae=start.vae,
            descriptor=encoder,
            **sets,
        )
    with g.column("Result"):
        g.add("LoraForensicsReport", case=screen["case"], name="quick")
        show_text(g, "In words", screen["summary"])
        show_images(g, "Extracted beside nearest photo", screen["sheet"])
    return g


def finextract_extraction(contract: Contract) -> Graph:
    g = Graph("finextract_extraction", *NOTES["finextract_extraction"], contract)
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Extraction"):
        extract = g.add(
            "LoraForensicsExtract", suspect=start.suspect, vae=start.vae, descriptor=encoder
        )
        show_text(g, "Groups and provenance", extract["table"])
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Judgement"):
        judge = g.add(
            "LoraForensicsJudgeExtraction",
            suspect=start.suspect,
            extraction=extract["extraction"],
            descriptor=encoder,
            **sets,
        )
    with g.column("Result"):
        show_images(g, "Extracted, best first", extract["sheet"])
        show_images(g, "Extracted beside nearest photo", judge["sheet"])
        show_text(g, "In words", judge["summary"])
    return g


def black_box_membership(contract: Contract) -> Graph:
    g = Graph("black_box_membership", *NOTES["black_box_membership"], contract)
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Two arms, same seeds"):
        arms = both_arms(g, start.suspect, start.vae, 200)
    with g.column("Photos"):
        sets = photo_sets(g)
    with g.column("Attack"):
        trained = g.add("LoraForensicsTrainAttack", suspect=start.suspect, **arms)
        scored = g.add(
            "LoraForensicsScoreAttack",
            suspect=start.suspect,
            vae=start.vae,
            attack_model=trained["attack_model"],
            **sets,
        )
    with g.column("Result"):
        show_text(g, "Score of each photo", scored["table"])
        show_text(g, "In words", scored["summary"])
        show_images(g, "Photos and controls", scored["plot"])
    with g.column("Baselines"):
        encoder = descriptor(g)
        for method in ("centroid", "gan_leaks_cosine"):
            simple = g.add(
                "LoraForensicsBaselines",
                f"Baseline {method}",
                suspect=start.suspect,
                generated=arms["positives"],
                base_generated=arms["negatives"],
                descriptor=encoder,
                method=method,
                **sets,
            )
            show_text(g, f"In words: {method}", simple["summary"])
    return g


def decoys(contract: Contract) -> Graph:
    g = Graph("decoys", *NOTES["decoys"], contract)
    with g.column("First: run once"):
        mine = g.add("LoraForensicsPhotoFolder", "The originals", folder="photos")
        g.add("LoraForensicsMakeDecoys", muted=True, photos=mine["photos"])
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Ranking"):
        ranked = g.add(
            "LoraForensicsRankDecoys",
            suspect=start.suspect,
            vae=start.vae,
            photos=mine["photos"],
            folder="decoys",
        )
    with g.column("Result"):
        show_text(g, "In words", ranked["summary"])
    return g


def white_box_membership(contract: Contract) -> Graph:
    g = Graph("white_box_membership", *NOTES["white_box_membership"], contract)
    with g.column("Suspect"):
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos, nulls"):
        sets = photo_sets(g)
        nulls = placebos(g, start)
    with g.column("Evidence"):
        found = white_box(g, start, sets, nulls)
        show_images(g, "Photos and controls", found["plot"])
    with g.column("Verdict"):
        verdict = verdict_of(g, start.suspect, encoder, found, sets)
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name="white-box")
        show_text(g, "Score of each photo", found["table"])
        show_text(g, "In words", verdict["summary"])
    with g.column("Signals"):
        show_text(g, "Signals and null models", found["summary"])
        show_images(g, "Where the adapter helps", found["heat"])
    return g


def placebos(g: Graph, start: Start) -> Link:
    return g.add("LoraForensicsPlacebos", suspect=start.suspect, folder="placebos")["placebos"]


def white_box(g: Graph, start: Start, sets: dict[str, Link], nulls: Link) -> Node:
    return g.add(
        "LoraForensicsWhiteBox",
        suspect=start.suspect,
        vae=start.vae,
        nulls=19,
        placebos=nulls,
        **sets,
    )


def verdict_of(g: Graph, suspect: Link, encoder: Link, found: Node, sets: dict[str, Link]) -> Node:
    """The verdict on white-box evidence alone."""
    return g.add(
        "LoraForensicsVerdict",
        suspect=suspect,
        descriptor=encoder,
        membership=found["evidence"],
        **sets,
    )


def multi_cfg_comparison(contract: Contract) -> Graph:
    g = Graph("multi_cfg_comparison", *NOTES["multi_cfg_comparison"], contract)
    with g.column("Suspect"):
        start = Start(g)
    with g.column("Samplers"):
        settings = {"suspect": start.suspect, "vae": start.vae, "images": 8}
        kind = "LoraForensicsMultiCfgSampler"
        tuned = g.add(kind, "Suspect", arm="tuned", **settings)
        base = g.add(kind, "Base", arm="base", **settings)
    with g.column("Result"):
        show_images(g, "Suspect: a row a scale", tuned["sheet"])
        show_images(g, "Base: a row a scale", base["sheet"])
        show_text(g, "Provenance", tuned["table"])
    return g


def moderation_pass(contract: Contract) -> Graph:
    g = Graph("moderation_pass", *NOTES["moderation_pass"], contract)
    with g.column("Suspect"):
        g.add("LoraForensicsInspect", lora_name=LORA)
        start = Start(g)
        encoder = descriptor(g)
    with g.column("Photos, nulls"):
        sets = photo_sets(g)
        nulls = placebos(g, start)
    with g.column("Sampling"):
        extract = g.add(
            "LoraForensicsExtract", suspect=start.suspect, vae=start.vae, descriptor=encoder
        )
        arms = both_arms(g, start.suspect, start.vae, 200)
    with g.column("Evidence"):
        membership = white_box(g, start, sets, nulls)
        judge = g.add(
            "LoraForensicsJudgeExtraction",
            suspect=start.suspect,
            extraction=extract["extraction"],
            descriptor=encoder,
            **sets,
        )
        trained = g.add("LoraForensicsTrainAttack", suspect=start.suspect, **arms)
        scored = g.add(
            "LoraForensicsScoreAttack",
            suspect=start.suspect,
            vae=start.vae,
            attack_model=trained["attack_model"],
            **sets,
        )
    with g.column("Verdict"):
        verdict = g.add(
            "LoraForensicsVerdict",
            suspect=start.suspect,
            descriptor=encoder,
            membership=membership["evidence"],
            extraction=judge["evidence"],
            attack=scored["evidence"],
            **sets,
        )
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name="moderation")
        show_images(g, "Extracted beside nearest photo", verdict["sheet"])
        show_text(g, "In words", verdict["summary"])
    return g


def model_guidance_sampling(contract: Contract) -> Graph:
    g = Graph("model_guidance_sampling", *NOTES["model_guidance_sampling"], contract)
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
        image = g.add("VAEDecode", samples=sampled["output"], vae=start.vae)
    with g.column("Result"):
        g.add("SaveImage", images=image["IMAGE"], filename_prefix="lora_forensics/model_guidance")
    return g


def dreambooth_suspect(contract: Contract) -> Graph:
    g = Graph("dreambooth_suspect", *NOTES["dreambooth_suspect"], contract)
    with g.column("Base and suspect"):
        base = g.add("CheckpointLoaderSimple", "Base checkpoint", ckpt_name=CHECKPOINT)
        tuned = g.add("CheckpointLoaderSimple", "Suspect checkpoint", ckpt_name=TUNED_CHECKPOINT)
    with g.column("Suspect"):
        node = g.add(
            "LoraForensicsSuspectFromModels",
            base_model=base["MODEL"],
            tuned_model=tuned["MODEL"],
            base_clip=base["CLIP"],
            tuned_clip=tuned["CLIP"],
            name="dreambooth",
        )
        encoder = descriptor(g)
        sets = photo_sets(g)
    with g.column("Evidence"):
        found = g.add(
            "LoraForensicsWhiteBox",
            suspect=node["suspect"],
            vae=base["VAE"],
            prompts="photo of sks person",
            **sets,
        )
        show_images(g, "Photos and controls", found["plot"])
    with g.column("Verdict"):
        verdict = verdict_of(g, node["suspect"], encoder, found, sets)
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name="dreambooth")
        show_text(g, "Score of each photo", found["table"])
        show_text(g, "In words", verdict["summary"])
    return g


def training_null_models(contract: Contract) -> Graph:
    g = Graph("training_null_models", *NOTES["training_null_models"], contract)
    with g.column("First: run once"):
        checkpoint = base_checkpoint(g)
        known = g.add("LoraForensicsPhotoFolder", "Photos to train on", muted=True, folder="photos")
        g.add(
            "LoraForensicsTrainLora",
            "Train a LoRA of known truth",
            muted=True,
            model=checkpoint["MODEL"],
            clip=checkpoint["CLIP"],
            vae=checkpoint["VAE"],
            photos=known["photos"],
            caption="photo of sks person",
            name="known",
        )
    with g.column("Suspect"):
        start = Start(g, checkpoint)
        encoder = descriptor(g)
    with g.column("Photos, one processing"):
        sets = photo_sets(g)
        alike = g.add("LoraForensicsCanonical", suspect=start.suspect, vae=start.vae, **sets)
        sets = {"photos": alike["photos"], "controls": alike["controls"]}
    with g.column("Null models"):
        nulls = g.add(
            "LoraForensicsCounterfactuals",
            suspect=start.suspect,
            vae=start.vae,
            controls=sets["controls"],
        )
        found = g.add(
            "LoraForensicsWhiteBox",
            suspect=start.suspect,
            vae=start.vae,
            counterfactuals=nulls["nulls"],
            **sets,
        )
    with g.column("Verdict"):
        verdict = verdict_of(g, start.suspect, encoder, found, sets)
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name="counterfactuals")
        show_text(g, "Null models", nulls["summary"])
        show_text(g, "Signals and null models", found["summary"])
        show_text(g, "In words", verdict["summary"])
    return g


def repainted(g: Graph, checkpoint: Node, folder: str) -> tuple[Node, Link]:
    """A folder's photos with random masks through RePaint; the node, and the masks."""
    with g.column("Photos"):
        photos = g.add("LoraForensicsPhotoFolder", "Photos to repaint", folder=folder)
        images = g.add("LoraForensicsPhotosToImages", photos=photos["photos"])["images"]
        mask = g.add("LoraForensicsRandomMasks", images=images)["mask"]
    with g.column("Repainting"):
        made = g.add(
            "LoraForensicsRepaint",
            model=checkpoint["MODEL"],
            clip=checkpoint["CLIP"],
            vae=checkpoint["VAE"],
            images=images,
            mask=mask,
        )
    return made, mask


def inpaint_localize(contract: Contract) -> Graph:
    g = Graph("inpaint_localize", *NOTES["inpaint_localize"], contract)
    with g.column("Models"):
        checkpoint = g.add("CheckpointLoaderSimple", "What repaints", ckpt_name=CHECKPOINT)
        localizer = g.add("LoraForensicsLoadLocalizer", name="(shipped, small)")
    made, mask = repainted(g, checkpoint, "photos")
    with g.column("Localization"):
        found = g.add(
            "LoraForensicsLocalize", localizer=localizer["localizer"], images=made["spliced"]
        )
        metrics = g.add("LoraForensicsMapMetrics", map=found["map"], mask=mask)
    with g.column("Result"):
        show_images(g, "Repainted", made["spliced"])
        show_images(g, "Where it was found", found["heat"])
        show_text(g, "Maps against masks", metrics["table"])
        show_text(g, "In words", found["summary"])
    return g


def train_localizer(contract: Contract) -> Graph:
    g = Graph("train_localizer", *NOTES["train_localizer"], contract)
    with g.column("Models"):
        checkpoint = g.add("CheckpointLoaderSimple", "What repaints", ckpt_name=CHECKPOINT)
    made, _ = repainted(g, checkpoint, "training_photos")
    with g.column("Training"):
        trained = g.add(
            "LoraForensicsTrainLocalizer", examples=made["examples"], name="my_localizer"
        )
    with g.column("A look"):
        images = g.add("LoadImage", "Picture in question", image="example.png")
        found = g.add(
            "LoraForensicsLocalize", localizer=trained["localizer"], images=images["IMAGE"]
        )
    with g.column("Result"):
        show_images(g, "Losses", trained["plot"])
        show_text(g, "What it can do", trained["card"])
        show_images(g, "Where it was repainted", found["heat"])
        show_text(g, "In words", found["summary"])
    return g


TEMPLATES: tuple[Callable[[Contract], Graph], ...] = (
    quick_screening, finextract_extraction, black_box_membership, white_box_membership,
    multi_cfg_comparison, moderation_pass, model_guidance_sampling, dreambooth_suspect, decoys,
    training_null_models, inpaint_localize, train_localizer,
)  # fmt: skip
