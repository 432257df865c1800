"""Noise pictures with a smoother square: what a localizer can learn in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lora_forensics.core.images.photos import Photos, photos_of
from lora_forensics.core.inpainting.examples import make_examples
from lora_forensics.core.storage import open_case
from torch.nn import functional as F


@dataclass(frozen=True)
class Smoother:
    """A generator that smooths: its `regenerated` is smooth all over, its codec is faint."""

    name: str = "smoother"
    cost: int = 1
    strength: float = 1.0

    def facts(self):
        return {"name": self.name, "strength": self.strength}

    def inpaint(self, pixels, masks, seeds, tick):
        tick(len(pixels))
        smooth = F.avg_pool2d(pixels, 5, 1, 2)
        return self.strength * smooth + (1 - self.strength) * pixels

    def round_trip(self, pixels):
        return (0.95 * pixels + 0.02).clamp(0, 1)


def photos(count: int, side: int = 64, seed: int = 0) -> Photos:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return photos_of(pixels, [f"{i}.png" for i in range(count)])


def squares(count: int, side: int = 64) -> list[np.ndarray]:
    masks = []
    for i in range(count):
        rng = np.random.default_rng(1000 + i)
        top, left = rng.integers(0, side // 2, 2)
        mask = np.zeros((side, side), bool)
        mask[top : top + side // 2, left : left + side // 2] = True
        masks.append(mask)
    return masks


def toy_set(folder: Path, count: int = 40, *, generator=None, seed: int = 0):
    case = open_case(folder, {"toy": count, "seed": seed})
    try:
        return make_examples(
            photos(count, seed=seed), squares(count), [generator or Smoother()], case
        )
    finally:
        case.close()
