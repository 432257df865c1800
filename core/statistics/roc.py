"""Area under the ROC curve, with intervals that stay honest for few images and perfect scores."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError, NotEnoughDataError
from .intervals import Array, at_least, blocks, finite_vector, open_share, resample_counts, units


@dataclass(frozen=True, slots=True)
class AucEstimate:
    """Area under the ROC curve and its interval.

    Attributes:
        auc: estimate.
        se: standard error; the largest one the interval allows when DeLong's is zero or undefined.
        low: lower end.
        high: upper end.
        n_members: members.
        n_nonmembers: non-members.
        level: nominal coverage.
        method: "DeLong, logit scale", or the conservative bound used instead.
    """

    auc: float
    se: float
    low: float
    high: float
    n_members: int
    n_nonmembers: int
    level: float
    method: str


@dataclass(frozen=True, slots=True)
class AucDifference:
    """First AUC minus second on the same images.

    Attributes:
        difference: estimate.
        se: standard error; of independent estimates when the covariance is unusable.
        low: lower end.
        high: upper end.
        covariance: DeLong covariance of the two areas.
        first: area of the first scores.
        second: area of the second scores.
        method: "DeLong, paired", or the conservative bound used instead.
    """

    difference: float
    se: float
    low: float
    high: float
    covariance: float
    first: AucEstimate
    second: AucEstimate
    method: str


def auc(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    """Chance that a member scores above a non-member, ties counting half.

    Args:
        members: scores of members.
        nonmembers: scores of non-members.

    Returns:
        Area under the ROC curve.

    Raises:
        InputError: bad numbers.

    Source:
        ``(sum of pooled midranks - n (n + 1) / 2) / (n m)``, Mann-Whitney.

    Example:
        >>> auc([2.0, 1.0], [1.0, 0.0])
        0.875
    """
    x, y = finite_vector(members, "members"), finite_vector(nonmembers, "nonmembers")
    return float(_placements(x, y)[0].mean())


def roc_curve(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> tuple[Array, Array]:
    """Trace the ROC curve, one point a distinct score, from (0, 0) to (1, 1).

    Args:
        members: scores of members.
        nonmembers: scores of non-members.

    Returns:
        False-positive rates and true-positive rates of the calls "score >= threshold".

    Raises:
        InputError: bad numbers.

    Source:
        Fawcett 2006, algorithm 1.

    Example:
        >>> [rates.tolist() for rates in roc_curve([2.0, 1.0], [1.0, 0.0])]
        [[0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]]
    """
    x = np.sort(finite_vector(members, "members"))
    y = np.sort(finite_vector(nonmembers, "nonmembers"))
    thresholds = np.unique(np.concatenate([x, y]))[::-1]
    tpr = 1.0 - np.searchsorted(x, thresholds, side="left") / len(x)
    fpr = 1.0 - np.searchsorted(y, thresholds, side="left") / len(y)
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def delong(members: npt.ArrayLike, nonmembers: npt.ArrayLike, level: float = 0.95) -> AucEstimate:
    """Area under the ROC curve with DeLong's interval on the logit scale.

    An area of 0 or 1 has DeLong variance 0, which is false certainty. Then the interval is the
    exact binomial one of min(n, m) disjoint pairs, all of which fell the same way. Where the
    variance is zero or undefined in between, it is Hoeffding's bound for U-statistics.

    Args:
        members: scores of members.
        nonmembers: scores of non-members.
        level: coverage.

    Returns:
        Estimate, standard error, interval and which method gave it.

    Raises:
        InputError: bad numbers or level.

    Source:
        DeLong 1988; Sun and Xu 2014 for the midranks: ``V10 = (R - R^X) / m``,
        ``V01 = 1 - (R - R^Y) / n``, ``var = s2(V10) / n + s2(V01) / m``.

    Example:
        >>> e = delong([2.1, 1.4, 0.9, 0.3, -0.2], [1, 0.3, -0.1, -0.8, -1.5, -2])
        >>> round(e.auc, 7), round(e.se, 7), round(e.low, 5), round(e.high, 5)
        (0.8166667, 0.1349897, 0.43213, 0.96307)
        >>> delong([2, 3, 4], [0, 1]).method
        'disjoint pairs, exact binomial'
    """
    x, y = finite_vector(members, "members"), finite_vector(nonmembers, "nonmembers")
    open_share(level, "level")
    v10, v01 = _placements(x, y)
    area = float(v10.mean())
    variance = _covariance((v10, v01), (v10, v01))
    if variance is None or variance <= 0.0 or not 0.0 < area < 1.0:
        return _cautious(area, len(x), len(y), level, pairs=min(len(x), len(y)))
    se = math.sqrt(variance)
    half = stats.norm.ppf((1 + level) / 2) * se / (area * (1 - area))
    centre = math.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-np.array([centre - half, centre + half])))
    method = "DeLong, logit scale"
    return AucEstimate(area, se, float(low), float(high), len(x), len(y), level, method)


def delong_paired(
    members_1: npt.ArrayLike,
    nonmembers_1: npt.ArrayLike,
    members_2: npt.ArrayLike,
    nonmembers_2: npt.ArrayLike,
    level: float = 0.95,
) -> AucDifference:
    """Difference of two areas on the same images: the suspect's minus a null's.

    When either area is 0 or 1 or has no variance, the difference of the two separate intervals
    is taken, each at the level that makes both hold together (Bonferroni).

    Args:
        members_1: first scores of the members.
        nonmembers_1: first scores of the non-members.
        members_2: second scores of the same members, same order.
        nonmembers_2: second scores of the same non-members, same order.
        level: coverage.

    Returns:
        Difference, standard error, interval and covariance.

    Raises:
        InputError: bad numbers, or PAIR_MISMATCH when the counts differ.

    Source:
        DeLong 1988: ``var_1 + var_2 - 2 cov``.

    Example:
        >>> d = delong_paired([3, 1, 2, 5], [0, 2, 1], [2, 1, 3, 0], [1, 2, 0])
        >>> round(d.difference, 3), d.low < d.difference < d.high
        (0.208, True)
    """
    x1, y1 = finite_vector(members_1, "members_1"), finite_vector(nonmembers_1, "nonmembers_1")
    x2, y2 = finite_vector(members_2, "members_2"), finite_vector(nonmembers_2, "nonmembers_2")
    if len(x1) != len(x2) or len(y1) != len(y2):
        message = f"the same images are needed twice: got {len(x1)}/{len(y1)}, {len(x2)}/{len(y2)}."
        raise InputError("PAIR_MISMATCH", message)
    first, second = delong(x1, y1, level), delong(x2, y2, level)
    covariance = _covariance(_placements(x1, y1), _placements(x2, y2)) or 0.0
    difference = first.auc - second.auc
    variance = first.se**2 + second.se**2 - 2 * covariance
    usable = first.method == second.method == "DeLong, logit scale"
    if not usable or variance <= 1e-15:
        both = (1 + level) / 2
        a, b = delong(x1, y1, both), delong(x2, y2, both)
        se = math.hypot(first.se, second.se)
        ends, method = (a.low - b.high, a.high - b.low), "separate intervals, Bonferroni"
    else:
        se = math.sqrt(variance)
        half = float(stats.norm.ppf((1 + level) / 2)) * se
        ends = (max(-1.0, difference - half), min(1.0, difference + half))
        method = "DeLong, paired"
    return AucDifference(difference, se, *ends, covariance, first, second, method)


def _placements(x: Array, y: Array) -> tuple[Array, Array]:
    """Share of non-members below each member, and of members above each non-member."""
    pooled = stats.rankdata(np.concatenate([x, y]))
    v10 = (pooled[: len(x)] - stats.rankdata(x)) / len(y)
    v01 = 1.0 - (pooled[len(x) :] - stats.rankdata(y)) / len(x)
    return v10, v01


def _covariance(first: tuple[Array, Array], second: tuple[Array, Array]) -> float | None:
    """Covariance of two areas from their placements; None with one image on a side."""
    parts = []
    for a, b in zip(first, second, strict=True):
        if len(a) < 2:
            return None
        parts.append(float((a - a.mean()) @ (b - b.mean())) / (len(a) - 1) / len(a))
    return sum(parts)


def _cautious(area: float, n: int, m: int, level: float, *, pairs: int) -> AucEstimate:
    """Give bounds that hold for any distribution, from ``pairs`` independent pairs."""
    tail = (1 - level) / 2
    if area in (0.0, 1.0):
        reach = 1.0 - tail ** (1 / pairs)
        method = "disjoint pairs, exact binomial"
    else:
        reach = math.sqrt(math.log(1 / tail) / (2 * pairs))
        method = "Hoeffding bound"
    low, high = max(0.0, area - reach), min(1.0, area + reach)
    worst = min(max(0.5, low), high)  # var(AUC) <= theta (1 - theta) / min(n, m), van Dantzig 1951
    se = math.sqrt(worst * (1 - worst) / pairs)
    return AucEstimate(area, se, low, high, n, m, level, method)


def bootstrap_auc(
    members: npt.ArrayLike,
    nonmembers: npt.ArrayLike,
    level: float = 0.95,
    n: int = 2000,
    *,
    seed: int = 0,
    clusters: npt.ArrayLike | None = None,
) -> AucEstimate:
    """Area under the ROC curve with a bootstrap over whole persons or sessions.

    Use it when images are not independent; DeLong assumes they are.

    Args:
        members: scores of members.
        nonmembers: scores of non-members.
        level: coverage.
        n: bootstrap samples.
        seed: makes the answer repeatable.
        clusters: one id an image, members first; no id may be on both sides.

    Returns:
        Estimate, standard error and percentile interval, or the conservative bound of ``delong``
        on the number of clusters when every bootstrap sample agrees.

    Raises:
        InputError: bad numbers or ids.
        NotEnoughDataError: FEW_CLUSTERS, under two units on a side.

    Source:
        Percentile bootstrap, clusters of each class resampled apart (Davison, Hinkley 1997, 3.8).

    Example:
        >>> bootstrap_auc([2, 3, 4], [0, 1], n=200).method
        'disjoint pairs, exact binomial'
    """
    x, y = finite_vector(members, "members"), finite_vector(nonmembers, "nonmembers")
    open_share(level, "level")
    n = at_least(n, 100, "n")
    unit = units(clusters, len(x), len(y))
    n_first = int(unit[: len(x)].max()) + 1
    n_second = int(unit.max()) + 1 - n_first
    if min(n_first, n_second) < 2:
        message = "A bootstrap needs two independent units or more on each side."
        raise NotEnoughDataError("FEW_CLUSTERS", message)
    rng = np.random.default_rng(seed)
    areas = np.concatenate(
        [
            _weighted_areas(
                np.concatenate([x, y]),
                resample_counts(n_first, size, rng)[:, unit[: len(x)]],
                resample_counts(n_second, size, rng)[:, unit[len(x) :] - n_first],
            )
            for size in blocks(n, 4 * len(unit))
        ]
    )
    area = auc(x, y)
    if np.ptp(areas) < 1e-12 or area in (0.0, 1.0):
        return _cautious(area, len(x), len(y), level, pairs=min(n_first, n_second))
    low, high = (float(q) for q in np.quantile(areas, [(1 - level) / 2, (1 + level) / 2]))
    se = float(areas.std(ddof=1))
    return AucEstimate(area, se, low, high, len(x), len(y), level, "percentile bootstrap")


def _weighted_areas(pooled: Array, member_weights: Array, other_weights: Array) -> Array:
    """Area of each row of weights [B, n] and [B, m] over scores ``pooled`` [n + m]."""
    order = np.argsort(pooled, kind="stable")
    starts = np.flatnonzero(np.diff(pooled[order], prepend=-np.inf) > 0)
    padding = (np.zeros_like(other_weights), np.zeros_like(member_weights))
    own = np.concatenate([member_weights, padding[0]], axis=1)[:, order]
    other = np.concatenate([padding[1], other_weights], axis=1)[:, order]
    own, other = np.add.reduceat(own, starts, axis=1), np.add.reduceat(other, starts, axis=1)
    below = np.cumsum(other, axis=1) - other / 2
    return (own * below).sum(axis=1) / (own.sum(axis=1) * other.sum(axis=1))


def bootstrap_auc_paired(
    members_1: npt.ArrayLike,
    nonmembers_1: npt.ArrayLike,
    members_2: npt.ArrayLike,
    nonmembers_2: npt.ArrayLike,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    n: int = 2000,
    *,
    seed: int = 0,
) -> AucDifference:
    """`delong_paired` where images of one person or session are not independent.

    Args:
        members_1: first scores of the members.
        nonmembers_1: first scores of the non-members.
        members_2: second scores of the same members, same order.
        nonmembers_2: second scores of the same non-members, same order.
        clusters: one id an image, members first; no id may be on both sides.
        level: coverage.
        n: bootstrap samples; the same units are drawn for both scores.
        seed: makes the answer repeatable.

    Returns:
        Difference and percentile interval. With one unit on a side the interval is -1 to 1; where
        every sample agrees it is that of two separate cautious intervals.

    Raises:
        InputError: bad numbers or ids, or PAIR_MISMATCH when the counts differ.

    Source:
        As `bootstrap_auc`.
    """
    plain = delong_paired(members_1, nonmembers_1, members_2, nonmembers_2, level)
    x1, y1 = finite_vector(members_1, "members_1"), finite_vector(nonmembers_1, "nonmembers_1")
    x2, y2 = finite_vector(members_2, "members_2"), finite_vector(nonmembers_2, "nonmembers_2")
    unit = units(clusters, len(x1), len(y1))
    first = int(unit[: len(x1)].max()) + 1
    second = int(unit.max()) + 1 - first
    if min(first, second) < 2:
        return replace(plain, low=-1.0, high=1.0, method="one session on a side: no interval")
    rng = np.random.default_rng(seed)
    weights = (
        resample_counts(first, n, rng)[:, unit[: len(x1)]],
        resample_counts(second, n, rng)[:, unit[len(x1) :] - first],
    )
    one, two = (_weighted_areas(np.concatenate(pair), *weights) for pair in ((x1, y1), (x2, y2)))
    drawn = one - two
    if np.ptp(one) < 1e-12 or np.ptp(two) < 1e-12:
        both, pairs = (1 + level) / 2, min(first, second)
        a, b = (_cautious(auc(x, y), len(x), len(y), both, pairs=pairs)
                for x, y in ((x1, y1), (x2, y2)))  # fmt: skip
        ends, method = (a.low - b.high, a.high - b.low), "separate intervals, Bonferroni"
    else:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        ends, method = (float(low), float(high)), "percentile bootstrap of sessions, paired"
    covariance = float(np.cov(one, two)[0, 1])
    se = float(drawn.std(ddof=1))
    return replace(plain, se=se, low=ends[0], high=ends[1], covariance=covariance, method=method)
