"""A picture and its mask as a network sees them in training: resized, mirrored, degraded."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..images.photos import to_tensor

Picture = Image.Image
Resampling = Image.Resampling
JPEG_QUALITY, WEBP_QUALITY, SMALLEST = (40, 95), (50, 95), 0.5


def resized(picture: Picture, side: int, *, lanczos: bool) -> Picture:
    """A picture at ``side x side``; the authors use Lanczos for weak labels, else bilinear."""
    if picture.size == (side, side):
        return picture
    return picture.resize((side, side), Resampling.LANCZOS if lanczos else Resampling.BILINEAR)


def normalized(picture: Picture) -> Tensor:
    """``[3, H, W]`` in -1..1."""
    return to_tensor(picture) * 2 - 1


def degraded(picture: Picture, rng: Generator) -> Picture:
    """One of: JPEG 40 to 95, WebP 50 to 95, half to full size and back, or size and JPEG."""
    kind = rng.choice(list(DEGRADATIONS))
    return DEGRADATIONS[kind](picture, rng)


def jpeg(picture: Picture, quality: int) -> Picture:
    """After one JPEG compression."""
    return _through(picture, "JPEG", quality)


def rescaled(picture: Picture, scale: float) -> Picture:
    """Smaller by a factor and back, both by bicubic filters; masks stay where they are."""
    width, height = picture.size
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = picture.resize(size, Resampling.BICUBIC)
    return small.resize((width, height), Resampling.BICUBIC)


def _through(picture: Picture, kind: str, quality: int) -> Picture:
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return Image.open(out, formats=(kind,)).convert("RGB")


def _jpeg(picture: Picture, rng: Generator) -> Picture:
    return jpeg(picture, int(rng.integers(*JPEG_QUALITY, endpoint=True)))


def _webp(picture: Picture, rng: Generator) -> Picture:
    return _through(picture, "WEBP", int(rng.integers(*WEBP_QUALITY, endpoint=True)))


def _rescale(picture: Picture, rng: Generator) -> Picture:
    return rescaled(picture, float(rng.uniform(SMALLEST, 1.0)))


def _both(picture: Picture, rng: Generator) -> Picture:
    return _jpeg(_rescale(picture, rng), rng)


DEGRADATIONS: dict[str, Callable[[Picture, Generator], Picture]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "rescale": _rescale,
    "rescale and jpeg": _both,
}


def cell_targets(masks: NDArray[np.bool_], grid: tuple[int, int], *, bilinear: bool) -> Tensor:
    """Which cells were repainted, ``[N, h, w]`` float of 0 and 1.

    Args:
        masks: ``[N, H, W]``.
        grid: ``(h, w)`` of the network's cells.
        bilinear: average, then at least half (the attention map's rule); else the nearest pixel.
    """
    how = Resampling.BILINEAR if bilinear else Resampling.NEAREST
    # Kept pixels are white, and a cell is repainted strictly below the middle.
    pictures = (Image.fromarray(np.where(m, 0, 255).astype(np.uint8)) for m in masks)
    made = [np.asarray(p.resize((grid[1], grid[0]), how)) < 127.5 for p in pictures]
    return torch.from_numpy(np.stack(made)).float()
