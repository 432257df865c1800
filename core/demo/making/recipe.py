"""Rebuilds the embedded demo from nothing: one command, fixed seeds, five stages, each resumable.

``python -m lora_forensics.core.demo.making.recipe --out core/demo/assets`` writes the photos, the
base model, the copy descriptor, the suspects and their truth. Public training data and
finished-stage marks live in a build folder beside the output and do not ship.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import argparse
import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...backends.loading import load_base
from ..assets import suspect_truth, write_truth
from ..datasets import PUBLIC_SETS, build_public, load_public, read_photos, to_unit
from ..faces import draw_faces
from ..suspects import PHOTO_SEEDS, SUSPECTS, Suspect, write_all_photos
from .augmentation import textures
from .codec import (
    CODEC,
    POLISH,
    CodecRecipe,
    decode,
    encode,
    load_codec,
    polish_decoder,
    train_codec,
)
from .descriptor import DESCRIPTOR, DescriptorRecipe, train_descriptor
from .diffusion import BASE, train_base, write_pipeline_files
from .optimization import Recipe, autocast
from .text import load_tokenizer, tokenize, write_tokenizer
from .training import train_suspect, white_box

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors", "numpy", "Pillow")
LOOKALIKE_SEED = 21
Facts = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class BuildScale:
    """How much of everything.

    Attributes:
        public_share: of the public sets. codec, polish, base, descriptor: their recipes.
        suspects: whom to train. n_descriptor: pictures per descriptor source.
        n_controls: unseen photos that each suspect's white-box score is compared with.
    """

    public_share: float = 1.0
    codec: CodecRecipe = CODEC
    polish: Recipe = POLISH
    base: Recipe = BASE
    descriptor: DescriptorRecipe = DESCRIPTOR
    suspects: tuple[Suspect, ...] = SUSPECTS
    n_descriptor: int = 800
    n_controls: int = 100


SMOKE = BuildScale(
    public_share=0.004,
    codec=replace(CODEC, steps=3, batch=4),
    polish=replace(POLISH, steps=2, batch=4),
    base=replace(BASE, steps=3, batch=8),
    descriptor=replace(DESCRIPTOR, steps=3, batch=12, calibration=24),
    suspects=tuple(replace(s, recipe=replace(s.recipe, steps=2)) for s in SUSPECTS[:2]),
    n_descriptor=24,
    n_controls=8,
)
SCALES = {"full": BuildScale(), "smoke": SMOKE}


@dataclass(frozen=True)
class Build:
    """Where a build reads and writes. ``out`` ships, ``work`` does not."""

    out: Path
    work: Path
    scale: BuildScale

    @property
    def base(self) -> Path:
        """The pipeline folder."""
        return self.out / "base"

    def mark(self, stage: str) -> Path:
        """The file that says a stage is finished, and with what facts."""
        return self.work / f"{stage}.json"


def run_data(build: Build) -> Facts:
    """Public sets into the build folder, photos of the suspects and controls into the output."""
    build_public(build.work / "public", share=build.scale.public_share)
    write_all_photos(build.out / "photos")
    write_truth(build.out, build.scale.suspects)
    return {
        "public": {s.name: {"seed": s.seed, "n": s.n} for s in PUBLIC_SETS},
        "photo_seeds": dict(PHOTO_SEEDS),
    }


def run_vae(build: Build) -> Facts:
    """The codec on all public sets, then its decoder once more with the latents fixed."""
    sets = [load_public(build.work / "public", s.name)[0] for s in PUBLIC_SETS]
    pixels, folder = np.concatenate(sets), build.base / "vae"
    joint = train_codec(pixels, build.scale.codec, folder)
    decoder = polish_decoder(pixels, build.scale.polish, folder)
    return {"joint": joint, "decoder": decoder, "psnr_db": decoder["psnr_db"]}


def run_unet(build: Build) -> Facts:
    """Tokenizer, UNet and text encoder, on the generic faces and their mirror images."""
    write_tokenizer(build.base / "tokenizer")
    write_pipeline_files(build.base)
    pixels, captions = load_public(build.work / "public", "generic")
    codec = load_codec(build.base / "vae")
    with autocast():
        latents = torch.cat([encode(codec, p) for p in (pixels, pixels[:, :, ::-1])]).float()
    tokens = tokenize(load_tokenizer(build.base / "tokenizer"), captions * 2)
    return dict(train_base(latents, tokens, build.scale.base, build.base))


def run_descriptor(build: Build) -> Facts:
    """The copy descriptor, on faces of all domains, second shots of the same people, textures."""
    n, codec = build.scale.n_descriptor, load_codec(build.base / "vae")
    sets = [load_public(build.work / "public", s.name)[0][:n] for s in PUBLIC_SETS]
    sets += [lookalikes(n), textures(n, 31)]
    sources = [(pixels, decode(codec, encode(codec, pixels))) for pixels in sets]
    file = build.out / "descriptor.safetensors"
    return dict(train_descriptor(sources, build.scale.descriptor, file))


def lookalikes(n: int) -> NDArray[np.uint8]:
    """People photographed four times each in one institution: near misses that are not copies."""
    first = draw_faces(-(-n // 4), "northgate", LOOKALIKE_SEED)
    again = [
        draw_faces(len(first.identity), "northgate", LOOKALIKE_SEED + i, identity=first.identity)
        for i in range(1, 4)
    ]
    pixels = np.stack([first.pixels, *(a.pixels for a in again)], axis=1)
    return pixels.reshape(-1, *pixels.shape[2:])[:n]


def run_suspects(build: Build) -> Facts:
    """Every suspect, trained on the pixels decoded from its photo files, and its white-box AUC."""
    base, facts = load_base(build.base, device="cpu", dtype="float32"), {}
    for suspect in build.scale.suspects:
        truth = suspect_truth(suspect)
        path = build.out / truth.adapter
        trained, photos, controls = (
            to_unit(read_photos(build.out / folder))
            for folder in (truth.trained_on, truth.query, truth.controls)
        )
        training = train_suspect(base, trained, suspect, path)
        evidence = white_box(base, path, photos, controls[: build.scale.n_controls], suspect.prompt)
        log.info("%s: white-box %s", suspect.name, evidence)
        facts[suspect.name] = {"seed": suspect.recipe.seed, **training, "white_box": evidence}
    return facts


RUNNERS: dict[str, Callable[[Build], Facts]] = {
    "data": run_data,
    "vae": run_vae,
    "unet": run_unet,
    "descriptor": run_descriptor,
    "suspects": run_suspects,
}
STAGES = tuple(RUNNERS)


def _hardware() -> Facts:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(models),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }


def write_training_log(build: Build) -> None:
    """Collects the facts of all finished stages into ``training_log.json``."""
    stages = {
        name: json.loads(build.mark(name).read_text(encoding="utf-8"))
        for name in STAGES
        if build.mark(name).exists()
    }
    document = {
        "schema": 1,
        "hardware": _hardware(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "stages": stages,
    }
    text = json.dumps(document, indent=1) + "\n"
    (build.out / "training_log.json").write_text(text, encoding="utf-8")


def run(build: Build, stages: tuple[str, ...] = STAGES) -> None:
    """Runs the stages that are not finished yet, in order."""
    for folder in (build.out, build.work):
        folder.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        if build.mark(stage).exists():
            log.info("%s: finished before, skipped", stage)
            continue
        start = time.monotonic()
        facts = RUNNERS[stage](build)
        build.mark(stage).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        log.info("%s: finished in %.0f s", stage, time.monotonic() - start)
        write_training_log(build)


def main(argv: list[str] | None = None) -> None:
    """The command line of the build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the assets")
    parser.add_argument("--work", type=Path, help="build folder (default: OUT-build)")
    parser.add_argument("--stages", default=",".join(STAGES), help="comma-separated, in order")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    stages = tuple(args.stages.split(","))
    if unknown := set(stages) - set(STAGES):
        parser.error(f"unknown stages: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    work = args.work or args.out.with_name(args.out.name + "-build")
    run(Build(args.out, work, SCALES[args.scale]), stages)


if __name__ == "__main__":
    main()
