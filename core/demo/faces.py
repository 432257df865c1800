"""Drawn sets of fictional people, repeatable from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .drawing import render
from .people import Domain, Identity, Photograph, captions, sample_identity, sample_photograph


@dataclass(frozen=True)
class Faces:
    """A drawn set. ``pixels`` is uint8 ``[N, size, size, 3]``."""

    pixels: NDArray[np.uint8]
    identity: Identity
    photograph: Photograph

    def captions(self) -> list[str]:
        """One full sentence a face."""
        return captions(self.identity, self.photograph)


def draw_faces(
    n: int, domain: Domain, seed: int, *, size: int = 64, identity: Identity | None = None
) -> Faces:
    """Draws ``n`` faces of one domain; equal arguments give equal bytes.

    Args:
        n: how many.
        domain: whose photographs.
        seed: of people and shots alike.
        size: edge in pixels.
        identity: photograph these ``n`` people instead of new ones.
    """
    rng = np.random.default_rng(seed)
    people = sample_identity(n, rng) if identity is None else identity
    return photographed(people, sample_photograph(n, rng, domain), size)


def photographed(people: Identity, shots: Photograph, size: int = 64) -> Faces:
    """Draws one shot of each person, some rows at a time."""
    pixels = np.empty((len(people), size, size, 3), np.uint8)
    for start in range(0, len(people), 64):
        rows = slice(start, start + 64)
        pixels[rows] = render(people.take(rows), shots.take(rows), size)
    return Faces(pixels, people, shots)
