"""The tiny scale's photos: drawn people of two institutions and of nowhere in particular.

Half of an institution's photos are taken before its own wall, in its light and dress; the other
half anywhere. So the institutions overlap, as the paper's do (its CLIP baseline tells them apart
at .63): a perfect judge of the wall alone has AUC ``1 - 0.5 * 0.5 / 2 = 0.875``, and no judge of
looks has 1. Public faces are softer and pass through JPEG, a treatment of their own, as LFW has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ...backends.loading import load_base
from ...demo.assets import asset_path
from ...demo.datasets import jpeg_round_trip, to_unit
from ...demo.faces import Faces, photographed
from ...demo.people import DOMAINS, Domain, Photograph, captions, sample_identity, sample_photograph
from ...encoders import load_encoder
from ...images.watermark import default_logo, load_logo
from .material import Material, digest_of_sets, with_marks
from .scales import Scale

SIDE = 64
HOUSE_SHARE = 0.5
SEEDS: dict[Domain, int] = {"northgate": 710_001, "southfield": 710_002, "generic": 710_003}
PUBLIC_SIZE, PUBLIC_QUALITY = (48, 48), 80


def draw_institution(n: int, domain: Domain, seed: int) -> Faces:
    """Photos of one institution, `HOUSE_SHARE` of them before its own wall.

    Args:
        n: how many people, one photo each.
        domain: whose.
        seed: of people, shots and which wall.
    """
    rng = np.random.default_rng(seed)
    people = sample_identity(n, rng)
    house, anywhere = (sample_photograph(n, rng, d) for d in (domain, DOMAINS[0]))
    row = np.arange(n) + np.where(rng.random(n) < HOUSE_SHARE, 0, n)
    shots = {
        f.name: np.concatenate([getattr(house, f.name), getattr(anywhere, f.name)])[row]
        for f in fields(Photograph)
    }
    shots["domain"] = np.full(n, DOMAINS.index(domain))
    return photographed(people, Photograph(**shots), SIDE)


def softened(pixels: np.ndarray) -> np.ndarray:
    """Photos of another processing: small, enlarged again, through JPEG; uint8 ``[N, H, W, 3]``."""
    side = pixels.shape[1]
    small = [Image.fromarray(p).resize(PUBLIC_SIZE, Image.Resampling.BOX) for p in pixels]
    large = [np.asarray(p.resize((side, side), Image.Resampling.BICUBIC)) for p in small]
    return np.stack([jpeg_round_trip(p, PUBLIC_QUALITY) for p in large])


def drawn_sets(
    seen: int, unseen: int
) -> tuple[dict[str, Sequence[Tensor]], dict[str, Sequence[str]]]:
    """The six drawn sets, and the captions of the three that are trained on.

    Args:
        seen: photos of each training set.
        unseen: photos of each other set.
    """
    sets: dict[str, Sequence[Tensor]] = {}
    captioned: dict[str, Sequence[str]] = {}
    names = {"northgate": "dtu", "southfield": "aau", "generic": "lfw"}
    for domain, seed in SEEDS.items():
        drawn = draw_institution(seen + unseen, domain, seed)
        pixels = softened(drawn.pixels) if domain == "generic" else drawn.pixels
        images = to_unit(pixels)
        name = names[domain]
        sets[f"{name}-seen"] = list(images[:seen])
        sets["lfw" if name == "lfw" else f"{name}-unseen"] = list(images[seen:])
        captioned[f"{name}-seen"] = captions(drawn.identity, drawn.photograph)[:seen]
    return sets, captioned


def tiny_material(scale: Scale, logo: Path | None = None) -> Material:
    """The embedded base with drawn photos; needs no file of the user."""
    mark = default_logo() if logo is None else load_logo(logo)
    sets, captioned = with_marks(*drawn_sets(scale.seen, scale.unseen), mark)
    return Material(
        load_base(asset_path("base"), device="cpu", dtype="float32"),
        sets,
        captioned,
        load_encoder(scale.encoder),
        facts={"photos": digest_of_sets(sets, captioned)},
    )
