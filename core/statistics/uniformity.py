"""Do p-values tell the truth under the null? Uniform, or conservative, but never too small.

Permutation, conformal and rank p-values live on a grid and have a floor. A plain test of
uniformity rejects them for that alone, so they are compared with the grid they can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError
from .intervals import Interval, clopper_pearson
from .samples import Array, at_least, finite, open_share, probabilities

LEVELS = (0.01, 0.05, 0.10)


@dataclass(frozen=True, slots=True)
class RejectionRate:
    """How often a true null was rejected at one level.

    Attributes:
        level: wanted rate.
        rate: measured, with its exact 95% interval.
        attainable: largest rate at or below `level` that the grid allows; None without a grid.
        too_often: above the level beyond chance, the three levels judged together (Bonferroni).
    """

    level: float
    rate: Interval
    attainable: float | None
    too_often: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniformity:
    """Whether p-values of true nulls are as they should be.

    Attributes:
        n: p-values.
        ks: largest distance of their distribution from the uniform one, ties smoothed.
        ks_p: two-sided p-value of that distance.
        excess: largest amount by which small p-values are too frequent.
        excess_p: one-sided p-value of that amount; small means anti-conservative.
        rates: rejection rates.
        verdict: ``uniform``, ``conservative`` (p-values too large: allowed) or
            ``anti-conservative`` (too small: the test must not be used).
    """

    n: int
    ks: float
    ks_p: float
    excess: float
    excess_p: float
    rates: tuple[RejectionRate, ...]
    verdict: str


def uniformity(
    p_values: npt.ArrayLike,
    grid: int | npt.ArrayLike | None = None,
    *,
    alpha: float = 0.01,
    seed: int = 0,
) -> Uniformity:
    """Test p-values of true nulls.

    Args:
        p_values: ``[n]`` p-values in 0..1, from independent true nulls.
        grid: cells each p-value can fall in: B + 1 for a test of B permutations or nulls, m + 1
            for m controls; one number, or one per p-value; None when p is continuous.
        alpha: level of the judgement.
        seed: of the randomisation inside a cell.

    Returns:
        Distances, rejection rates and a judgement.

    Raises:
        InputError: bad numbers, or a p-value that is not on its grid (OFF_GRID).

    Source:
        Randomised probability integral transform, ``p - u / G`` with u uniform: exactly uniform
        when p is uniform on 1/G..1 (Dunn and Smyth 1996); Kolmogorov-Smirnov by scipy.

    Example:
        >>> uniformity(np.arange(1, 201) / 200, 200).verdict
        'uniform'
    """
    p = probabilities(p_values, "p_values")
    open_share(alpha, "alpha")
    cells = None if grid is None else _cells(grid, p)
    # A p of k/G stands for the whole cell above (k-1)/G: a uniform place in it undoes the grid.
    smooth = p if cells is None else p - np.random.default_rng(seed).random(len(p)) / cells
    two = stats.kstest(smooth, "uniform")
    small = stats.kstest(smooth, "uniform", alternative="greater")
    rates = tuple(_rate(p, level, cells, alpha / len(LEVELS)) for level in LEVELS)
    anti = small.pvalue <= alpha or any(r.too_often for r in rates)
    verdict = "uniform" if two.pvalue > alpha else "conservative"
    return Uniformity(
        n=len(p),
        ks=float(two.statistic),
        ks_p=float(two.pvalue),
        excess=float(small.statistic),
        excess_p=float(small.pvalue),
        rates=rates,
        verdict="anti-conservative" if anti else verdict,
    )


def _cells(grid: int | npt.ArrayLike, p: Array) -> Array:
    cells = np.broadcast_to(finite(np.atleast_1d(np.asarray(grid)), "grid"), p.shape)
    at_least(int(cells.min()), 1, "grid")
    steps = p * cells
    if np.abs(steps - np.round(steps)).max() > 1e-6 or np.round(steps).min() < 1:
        worst = int(np.argmax(np.abs(steps - np.round(steps))))
        raise InputError(
            "OFF_GRID",
            f"p = {p[worst]:g} cannot come from a test with {cells[worst]:g} outcomes; its values "
            "are 1/G, 2/G, ..., 1",
        )
    return cells


def _rate(p: Array, level: float, cells: Array | None, alpha: float) -> RejectionRate:
    hits = int(np.count_nonzero(p <= level + 1e-12))
    rate = clopper_pearson(hits, len(p))
    chance = float(stats.binom.sf(hits - 1, len(p), level))
    reach = None if cells is None else float((np.floor(level * cells + 1e-9) / cells).mean())
    return RejectionRate(level, rate, reach, chance <= alpha)
