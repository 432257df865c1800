"""What is scored: photos with their latents and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError, plural


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Photos and controls alike: a signal never knows which is which.

    Attributes:
        pixels: ``[N, 3, H, W]`` in 0..1.
        latents: ``[N, C, h, w]`` scaled latent means of `pixels`.
        captions: one per image; a trigger prompt may be repeated.

    Raises:
        InputError: BAD_SHAPE when the three differ in length or are empty.
    """

    pixels: Tensor
    latents: Tensor
    captions: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = (len(self.pixels), len(self.latents), len(self.captions))
        if len(set(lengths)) != 1 or not lengths[0]:
            raise InputError(
                "BAD_SHAPE",
                f"got {plural(lengths[0], 'image')}, {plural(lengths[1], 'latent')} and "
                f"{plural(lengths[2], 'caption')}; each image needs one latent and one caption",
            )

    def __len__(self) -> int:
        return len(self.captions)

    def select(self, index: Sequence[int]) -> Subjects:
        """The subjects at `index`, in that order."""
        keep = list(index)
        captions = tuple(self.captions[i] for i in keep)
        return Subjects(self.pixels[keep], self.latents[keep], captions)

    def chunks(self, size: int) -> list[Subjects]:
        """Consecutive subjects, `size` at a time."""
        starts = range(0, len(self), size)
        return [self.select(range(s, min(s + size, len(self)))) for s in starts]

    def captioned(self, captions: Sequence[str]) -> Subjects:
        """The same photos under other captions."""
        return Subjects(self.pixels, self.latents, tuple(captions))

    @staticmethod
    def cat(parts: Sequence[Subjects]) -> Subjects:
        """Subjects of all parts, one after another."""
        return Subjects(
            torch.cat([p.pixels for p in parts]),
            torch.cat([p.latents for p in parts]),
            tuple(c for p in parts for c in p.captions),
        )
