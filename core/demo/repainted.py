"""What localizers are trained on here: drawn people and two photographs, repainted.

People are drawn by `faces`; photographs are crops of the two sample pictures that scikit-learn
carries, so that a network sees something else than drawings. Generators are the embedded base and
an embedded LoRA on it by RePaint, and OpenCV's two methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from ..backends.loading import open_pair
from ..images.photos import Photos, photos_of
from ..inpainting.classical import METHODS, ClassicalInpainter
from ..inpainting.diffusion import DiffusionInpainter
from ..inpainting.examples import ExampleSet, Inpainter, make_examples
from ..inpainting.masks import random_mask
from ..inpainting.whole import add_whole
from ..protocols import QUIET, ModelPair, Progress
from ..sampling.plans import seed_of
from ..specs import RepaintSpec
from ..storage import open_case
from ..types import ImageBatch
from .assets import asset_path
from .datasets import to_unit
from .faces import draw_faces

SIDE = 64
SCENES = ("china.jpg", "flower.jpg")
"""A temple and a dahlia, each 640 x 427."""
LATENT, LORA = "repaint_latent", "repaint_lora"
CLASSICAL = tuple(f"opencv_{m}" for m in METHODS)
GENERATORS = (LATENT, LORA, *CLASSICAL)
SUSPECT = "suspects/guilty_strong.safetensors"
_BLOCK = 64


def drawn_people(count: int, seed: int) -> Photos:
    """Faces of ``count`` people, 64 px."""
    blocks = [
        draw_faces(min(_BLOCK, count - at), "generic", seed + at).pixels
        for at in range(0, count, _BLOCK)
    ]
    return _photos(np.concatenate(blocks), "face")


def scene_crops(scene: str, count: int, seed: int) -> Photos:
    """Crops of a photograph, 64 px of its own or of its half size.

    Args:
        scene: of `SCENES`.
        count: how many.
        seed: of places and sizes.
    """
    whole = Image.fromarray(load_sample_image(scene))
    half = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        picture = np.asarray((whole, half)[rng.integers(2)])
        top, left = (int(rng.integers(n - SIDE + 1)) for n in picture.shape[:2])
        crops.append(picture[top : top + SIDE, left : left + SIDE])
    return _photos(np.stack(crops), Path(scene).stem)


def _photos(pixels: np.ndarray, name: str) -> Photos:
    return photos_of(to_unit(pixels), [f"{name}-{i}.png" for i in range(len(pixels))])


def joined(parts: Sequence[Photos]) -> Photos:
    """Several sets as one."""
    pixels = torch.cat([p.images.pixels for p in parts])
    sources = tuple(s for p in parts for s in p.images.sources)
    return Photos(ImageBatch(pixels, sources), tuple(f for p in parts for f in p.facts))


def generator(name: str, pair: ModelPair) -> Inpainter:
    """A generator of `GENERATORS`."""
    if name in CLASSICAL:
        return ClassicalInpainter(name.removeprefix("opencv_"))
    model = {LATENT: "base", LORA: "tuned"}[name]
    return DiffusionInpainter(pair, "", RepaintSpec(model=model), name=name)


def repainted(
    folder: Path,
    photos: Photos,
    names: Sequence[str],
    *,
    whole: int = 0,
    seed: int = 0,
    progress: Progress = QUIET,
) -> ExampleSet:
    """Photos repainted by the generators named, with mixed masks; resumes.

    Args:
        folder: of the set.
        photos: of 64 px.
        names: of `GENERATORS`.
        whole: pictures that the embedded base draws from nothing beside.
        seed: of masks, noise and splits.
        progress: long work.
    """
    pair = open_pair(asset_path("base"), asset_path(SUSPECT), device="cpu", dtype="float32")
    inpainters = [generator(name, pair) for name in names]
    hashes = [s.sha256 for s in photos.images.sources]
    masks = [
        random_mask(SIDE, SIDE, "mixed", seed_of(seed, int(h[:12], 16)) % 2**63) for h in hashes
    ]
    facts = {"photos": hashes, "generators": [m.facts() for m in inpainters], "whole": whole}
    with closing(pair), closing(open_case(folder, facts | {"seed": seed})) as case:
        examples = make_examples(photos, masks, inpainters, case, seed=seed, progress=progress)
        if not whole:
            return examples
        base = DiffusionInpainter(pair, "", RepaintSpec(model="base"), name=LATENT)
        return add_whole(examples, [base], whole, case, seed=seed, progress=progress)
