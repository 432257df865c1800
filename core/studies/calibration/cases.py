"""The design: which adapter is trained on what, and which photos are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ...errors import InputError
from .settings import CalibrationSpec

GUILTY, INNOCENT, PARTIAL = 1.0, 0.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCase:
    """One adapter with known truth and the question that is asked about it.

    Attributes:
        number: place in the study.
        used: share of the asked photos that the adapter was trained on: 1 guilty, 0 innocent,
            0.5 where half of them were used.
        rank: of the adapter.
        steps: optimiser steps.
        photos: training photos, and as many asked about.
        quality: image quality of every photo and control of the case.
        seed: of photos, training and noise; no two cases share one.
        learning_rate: of the training.
    """

    number: int
    used: float
    rank: int
    steps: int
    photos: int
    quality: str
    seed: int
    learning_rate: float = 5e-4

    @property
    def name(self) -> str:
        """Folder of the case."""
        return f"case-{self.number:03d}"

    def exposure(self, batch: int) -> float:
        """Times that training saw each photo, at so many rows per step."""
        return self.steps * batch / self.photos


def design(spec: CalibrationSpec) -> tuple[StudyCase, ...]:
    """All cases of a study, shuffled by the seed.

    For each set size and truth, rank, steps, quality and learning rate form two orthogonal Latin
    squares: every pair of their levels comes up once. Cases where half of the photos were used are
    one more pair of squares.

    Raises:
        InputError: the factors have different numbers of levels, or there are fewer than two
            guilty or two innocent cases (BAD_SETTING).

    Example:
        >>> cases = design(CalibrationSpec())
        >>> [sum(c.used == used for c in cases) for used in (1.0, 0.0, 0.5)]
        [36, 36, 9]
    """
    levels = {len(set(f)) for f in (spec.ranks, spec.steps, spec.qualities)}
    if levels != {len(spec.ranks)} or len(spec.ranks) != len(spec.steps):
        raise InputError(
            "BAD_SETTING",
            "ranks, steps and qualities form a Latin square: give as many different ranks as steps "
            f"and qualities, not {len(spec.ranks)}, {len(spec.steps)} and {len(spec.qualities)}",
        )
    _check_rates(spec)
    each = len(spec.ranks) ** 2 * len(spec.sizes)
    if each < 2:
        raise InputError(
            "BAD_SETTING",
            f"the design has {each} guilty and {each} innocent cases, rates need two of each at "
            "least; give more sizes, or more ranks, steps and qualities",
        )
    rng = np.random.default_rng(spec.seed)
    blocks = list(product((GUILTY, INNOCENT), spec.sizes))
    blocks += [(PARTIAL, spec.partial_size)] if spec.partial_size else []
    cells = [(used, n, *cell) for used, n in blocks for cell in _square(spec, rng)]
    order = rng.permutation(len(cells))
    return tuple(
        StudyCase(
            number=i,
            used=used,
            rank=rank,
            steps=steps,
            photos=n,
            quality=quality,
            seed=spec.seed + i,
            learning_rate=rate,
        )
        for i, (used, n, rank, steps, quality, rate) in enumerate(cells[j] for j in order)
    )


def _check_rates(spec: CalibrationSpec) -> None:
    count, k = len(set(spec.learning_rates)), len(spec.ranks)
    if count != len(spec.learning_rates) or (count > 1 and (count != k or k % 2 == 0)):
        raise InputError(
            "BAD_SETTING",
            f"{len(spec.learning_rates)} learning rates for {k} ranks; give one for all, or as "
            "many different ones as ranks, an odd number",
        )


def _square(spec: CalibrationSpec, rng: np.random.Generator) -> list[tuple[int, int, str, float]]:
    """Random orthogonal Latin squares: quality and learning rate as functions of rank and steps."""
    k, rates = len(spec.ranks), spec.learning_rates
    rows, columns = rng.permutation(k), rng.permutation(k)
    return [
        (
            spec.ranks[a],
            spec.steps[b],
            spec.qualities[(rows[a] + columns[b]) % k],
            rates[(rows[a] + 2 * columns[b]) % len(rates)],
        )
        for a, b in product(range(k), repeat=2)
    ]


def placebos_of(case: StudyCase, cases: Sequence[StudyCase], count: int) -> tuple[StudyCase, ...]:
    """The cases whose adapters are null models for a case.

    They were trained on other photos of the same source and quality, with recipes from the same
    design; whether their own case is guilty says nothing about this one. Too few of the same
    quality are filled up with others.

    Args:
        case: the case asked about.
        cases: all cases of the study; none shares a photo with another.
        count: null models wanted.
    """
    others = [c for c in cases if c.number != case.number]
    shuffled = [others[i] for i in np.random.default_rng([case.seed, 1]).permutation(len(others))]
    shuffled.sort(key=lambda c: c.quality != case.quality)
    return tuple(shuffled[:count])


def own_first(cases: Sequence[StudyCase], shard: int, shards: int) -> list[StudyCase]:
    """The order in which one of several processes takes the cases: its own part first.

    Example:
        >>> cases = design(CalibrationSpec(sizes=(4,), partial_size=0))
        >>> [c.number for c in own_first(cases, 2, 3)][:4]
        [1, 4, 7, 10]
    """
    return sorted(cases, key=lambda c: (c.number % shards != shard - 1, c.number))
