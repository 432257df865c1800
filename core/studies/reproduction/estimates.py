"""What a row's scores say, the paper's way and soundly, and what a textbook test makes of them.

SeedScores are ``[seeds, n]``: every classifier on the same photos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ...errors import InputError, NotEnoughDataError
from ...statistics.auc import auc, delong, delong_paired
from ...statistics.intervals import Interval, paper_seed_interval
from ...statistics.tpr_at_fpr import tpr_at_fpr

Array = npt.NDArray[np.float64]
LEVEL, ALPHA, SUBSAMPLES = 0.95, 0.01, 2000
SIZES = (20, 50)
DELONG = "DeLong, logit scale"
_SPLIT = 0x85


@dataclass(frozen=True, slots=True, eq=False)
class SeedScores:
    """What the classifiers of one folder say of two photo sets.

    Attributes:
        members: ``[seeds, n]``, higher meaning member.
        nonmembers: ``[seeds, m]``.
    """

    members: Array
    nonmembers: Array

    def __post_init__(self) -> None:
        a, b = self.members, self.nonmembers
        if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
            raise InputError("BAD_SHAPE", f"scores are [seeds, n], got {a.shape} and {b.shape}")
        if min(a.shape[1], b.shape[1]) < 2:
            raise NotEnoughDataError("TOO_FEW_PHOTOS", "a row needs two photos on each side")

    def areas(self) -> Array:
        """AUC of each seed, ``[seeds]``."""
        pairs = zip(self.members, self.nonmembers, strict=True)
        return np.array([auc(x, y) for x, y in pairs])

    def mean(self) -> tuple[Array, Array]:
        """Scores averaged over seeds."""
        return self.members.mean(0), self.nonmembers.mean(0)


@dataclass(frozen=True, slots=True)
class Sound:
    """Mean AUC of the seeds with an interval for new photos and new seeds at once.

    Attributes:
        auc: mean over seeds.
        low, high: 95% interval.
        se_photos: standard error from the choice of test photos (DeLong).
        se_seeds: standard error from the choice of seeds.
        method: how the two were put together.
    """

    auc: float
    low: float
    high: float
    se_photos: float
    se_seeds: float
    method: str


def sound_interval(scores: SeedScores) -> Sound:
    """Test-sampling and seed error in one interval.

    The variance of the mean of k seeds is that of the photos, which all seeds share, plus the
    seeds' own divided by k (law of total variance). Degrees of freedom are Satterthwaite's, the
    interval lies on the logit scale. Where DeLong has no variance (AUC 0 or 1, one class alike),
    the reach of the exact bound and Student's are added in quadrature.

    Source:
        DeLong 1988, whose covariances give the variance of a mean of areas; Satterthwaite 1946;
        `specs/mia.md` 10, points 1 and 9.

    Example:
        >>> twice = SeedScores(np.array([[2.0, 1, 0]] * 2), np.array([[1.5, 0.5]] * 2))
        >>> found = sound_interval(twice)
        >>> round(found.auc, 2), found.low < found.auc < found.high, found.se_seeds
        (0.5, True, 0.0)
    """
    areas = scores.areas()
    mean, seeds = float(areas.mean()), _seed_error(areas)
    averaged = delong(*scores.mean(), LEVEL)
    photos = math.sqrt(_covariance(scores, scores))
    if averaged.method != DELONG or not 0 < mean < 1 or photos == 0:
        reach = _student(len(areas)) * seeds
        low = max(0.0, mean - math.hypot(averaged.auc - averaged.low, reach))
        high = min(1.0, mean + math.hypot(averaged.high - averaged.auc, reach))
        return Sound(mean, low, high, averaged.se, seeds, f"{averaged.method}, and Student")
    half = _quantile(photos, seeds, len(areas)) * math.hypot(photos, seeds) / (mean * (1 - mean))
    center = math.log(mean / (1 - mean))
    low, high = (1 / (1 + math.exp(-(center + side * half))) for side in (-1, 1))
    return Sound(mean, low, high, photos, seeds, "DeLong plus seeds, logit scale")


def _covariance(first: SeedScores, second: SeedScores) -> float:
    """DeLong covariance of two mean areas on the same photos; of one with itself its variance."""
    same = first is second
    sides = [list(zip(s.members, s.nonmembers, strict=True)) for s in (first, second)]
    total = 0.0
    for i, a in enumerate(sides[0]):
        for j, b in enumerate(sides[1]):
            own = same and i == j
            total += delong(*a).se ** 2 if own else delong_paired(a, b, LEVEL).covariance
    mean = total / (len(sides[0]) * len(sides[1]))
    return max(0.0, mean) if same else mean


def difference(first: SeedScores, second: SeedScores, *, paired: bool) -> Interval:
    """First mean AUC minus second, for new photos and new seeds.

    Args:
        first: of one attack.
        second: of another.
        paired: whether both judged the same photos, in the same order.
    """
    a, b = first.areas(), second.areas()
    shared = _covariance(first, second) if paired else 0.0
    apart = _covariance(first, first) + _covariance(second, second)
    photos = math.sqrt(max(0.0, apart - 2 * shared))
    seeds = math.hypot(_seed_error(a), _seed_error(b))
    half = _quantile(photos, seeds, min(len(a), len(b))) * math.hypot(photos, seeds)
    value = float(a.mean() - b.mean())
    method = "DeLong plus seeds, " + ("paired" if paired else "independent photos")
    return Interval(value, max(-1.0, value - half), min(1.0, value + half), LEVEL, method)


def _seed_error(areas: Array) -> float:
    if len(areas) < 2 or np.ptp(areas) == 0:
        return 0.0
    return float(areas.std(ddof=1) / math.sqrt(len(areas)))


def _student(seeds: int) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, max(1, seeds - 1)))


def _quantile(photos: float, seeds: float, k: int) -> float:
    """Student quantile at Satterthwaite's degrees of freedom; photos count as many."""
    if seeds == 0:
        return float(stats.norm.ppf((1 + LEVEL) / 2))
    freedom = (k - 1) * ((photos**2 + seeds**2) / seeds**2) ** 2
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def paper_areas(scores: SeedScores, share: float) -> Array:
    """AUC of each seed as the paper's code has it: on a random 1 - `share` of the labelled test.

    Args:
        scores: of the row.
        share: of the photos that draws validation curves only; 0.15 in the paper.
    """
    n, m = scores.members.shape[1], scores.nonmembers.shape[1]
    areas = []
    for seed, (x, y) in enumerate(zip(scores.members, scores.nonmembers, strict=True)):
        order = np.random.default_rng([seed, _SPLIT]).permutation(n + m)
        judged = order[round(share * (n + m)) :]
        areas.append(auc(x[judged[judged < n]], y[judged[judged >= n] - n]))
    return np.array(areas)


def paper_interval(scores: SeedScores, share: float) -> Interval:
    """Mean and interval as the paper prints them."""
    return paper_seed_interval(paper_areas(scores, share))


def mean_tpr(scores: SeedScores, rate: float = 0.01) -> tuple[float, bool]:
    """True-positive rate at a false-alarm rate, mean of seeds, and whether it is estimable."""
    sides = zip(scores.members, scores.nonmembers, strict=True)
    points = [tpr_at_fpr(x, y, rate) for x, y in sides]
    return float(np.mean([p.tpr for p in points])), all(p.estimable for p in points)


def shares_above(scores: SeedScores) -> tuple[float, float]:
    """Shares of members and non-members called at P = 0.5, mean of seeds."""
    return float((scores.members > 0).mean()), float((scores.nonmembers > 0).mean())


def conviction_rate(scores: SeedScores, size: int, *, subsamples: int = SUBSAMPLES) -> float | None:
    """How often a textbook test of the set convicts: one-sided Mann-Whitney at .01.

    Each subsample draws `size` claimed and `size` control photos without return and is judged by
    one classifier, the classifiers in turn. Asymptotic p with tie and continuity correction.

    Args:
        scores: of the row.
        size: photos on each side, K.
        subsamples: how many; all classifiers get equally many.

    Returns:
        The rate, or None with fewer than K photos on a side.

    Source:
        `specs/mia.md` 10, point 3.

    Example:
        >>> apart = SeedScores(np.arange(20.0)[None] + 20, np.arange(20.0)[None])
        >>> conviction_rate(apart, 20, subsamples=10), conviction_rate(apart, 50)
        (1.0, None)
    """
    if min(scores.members.shape[1], scores.nonmembers.shape[1]) < size:
        return None
    rng = np.random.default_rng([0, size])
    each = -(-subsamples // len(scores.members))
    convicted = []
    for x, y in zip(scores.members, scores.nonmembers, strict=True):
        claimed, control = _draw(x, each, size, rng), _draw(y, each, size, rng)
        p = _one_sided(claimed, control)
        convicted.append(np.mean(p <= ALPHA))
    return float(np.mean(convicted))


def _draw(values: Array, times: int, size: int, rng: np.random.Generator) -> Array:
    return values[rng.permuted(np.tile(np.arange(len(values)), (times, 1)), axis=1)[:, :size]]


def _one_sided(claimed: Array, control: Array) -> Array:
    if np.ptp(np.concatenate([claimed, control])) == 0:
        return np.ones(len(claimed))
    p = stats.mannwhitneyu(
        claimed, control, alternative="greater", axis=1, method="asymptotic"
    ).pvalue
    return np.nan_to_num(p, nan=1.0)


def conviction_rates(scores: SeedScores, sizes: Sequence[int] = SIZES) -> dict[str, float | None]:
    """`conviction_rate` by K, keys in words for JSON."""
    return {str(size): conviction_rate(scores, size) for size in sizes}
