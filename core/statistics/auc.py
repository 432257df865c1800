"""Area under the ROC curve, with intervals that stay honest for few images and perfect scores."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError
from .samples import Array, finite, open_share

Scores = tuple[npt.ArrayLike, npt.ArrayLike]
"""Scores of members, and scores of non-members, of one method on one set of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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
    x, y = finite(members, "members"), finite(nonmembers, "nonmembers")
    return float(_placements(x, y)[0].mean())


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
    x, y = finite(members, "members"), finite(nonmembers, "nonmembers")
    open_share(level, "level")
    placements = _placements(x, y)
    area = float(placements[0].mean())
    variance = _covariance(placements, placements)
    if variance is None or variance <= 0.0 or not 0.0 < area < 1.0:
        return distribution_free(area, len(x), len(y), level, pairs=min(len(x), len(y)))
    se = math.sqrt(variance)
    # On the logit scale an interval cannot leave 0..1; d logit / d area = 1 / (area (1 - area)).
    half = stats.norm.ppf((1 + level) / 2) * se / (area * (1 - area))
    center = math.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-np.array([center - half, center + half])))
    return AucEstimate(
        auc=area, se=se, low=float(low), high=float(high), n_members=len(x), n_nonmembers=len(y),
        level=level, method="DeLong, logit scale",
    )  # fmt: skip


def delong_paired(first: Scores, second: Scores, level: float = 0.95) -> AucDifference:
    """Difference of two areas on the same images: the suspect's minus a null's.

    When either area is 0 or 1 or has no variance, the difference of the two separate intervals
    is taken, each at the level that makes both hold together (Bonferroni).

    Args:
        first: one method's scores of members and of non-members.
        second: the other's of the same images, in the same order.
        level: coverage.

    Returns:
        Difference, standard error, interval and covariance.

    Raises:
        InputError: bad numbers, or PAIR_MISMATCH when the counts differ.

    Source:
        DeLong 1988: ``var_1 + var_2 - 2 cov``.

    Example:
        >>> d = delong_paired(([3, 1, 2, 5], [0, 2, 1]), ([2, 1, 3, 0], [1, 2, 0]))
        >>> round(d.difference, 3), d.low < d.difference < d.high
        (0.208, True)
    """
    (x1, y1), (x2, y2) = paired(first, second)
    one, two = delong(x1, y1, level), delong(x2, y2, level)
    covariance = _covariance(_placements(x1, y1), _placements(x2, y2)) or 0.0
    difference = one.auc - two.auc
    variance = one.se**2 + two.se**2 - 2 * covariance
    usable = one.method == two.method == "DeLong, logit scale"
    if not usable or variance <= 1e-15:
        both = (1 + level) / 2
        a, b = delong(x1, y1, both), delong(x2, y2, both)
        se = math.hypot(one.se, two.se)
        ends, method = (a.low - b.high, a.high - b.low), "separate intervals, Bonferroni"
    else:
        se = math.sqrt(variance)
        half = float(stats.norm.ppf((1 + level) / 2)) * se
        ends = (max(-1.0, difference - half), min(1.0, difference + half))
        method = "DeLong, paired"
    return AucDifference(
        difference=difference, se=se, low=ends[0], high=ends[1], covariance=covariance,
        first=one, second=two, method=method,
    )  # fmt: skip


def paired(first: Scores, second: Scores) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Both methods' scores as vectors of the same images.

    Raises:
        InputError: bad numbers, or PAIR_MISMATCH when the counts differ.
    """
    (x1, y1), (x2, y2) = (
        (finite(members, f"members_{i}"), finite(nonmembers, f"nonmembers_{i}"))
        for i, (members, nonmembers) in enumerate((first, second), 1)
    )
    if len(x1) != len(x2) or len(y1) != len(y2):
        message = f"the same images are needed twice: got {len(x1)}/{len(y1)}, {len(x2)}/{len(y2)}."
        raise InputError("PAIR_MISMATCH", message)
    return (x1, y1), (x2, y2)


def _placements(x: Array, y: Array) -> tuple[Array, Array]:
    """Share of non-members below each member, and of members above each non-member."""
    # A rank in the pooled sample less the rank in one's own group counts the others below.
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


def distribution_free(area: float, n: int, m: int, level: float, *, pairs: int) -> AucEstimate:
    """An area with bounds that hold for any distribution, however perfect the scores are.

    Args:
        area: estimate.
        n: members.
        m: non-members.
        level: coverage.
        pairs: pairs of a member and a non-member that share no unit: independent trials.
    """
    tail = (1 - level) / 2
    if area in (0.0, 1.0):
        # All pairs fell the same way; the smallest rate q at which they do is q^pairs = tail.
        reach = 1.0 - tail ** (1 / pairs)
        method = "disjoint pairs, exact binomial"
    else:
        reach = math.sqrt(math.log(1 / tail) / (2 * pairs))
        method = "Hoeffding bound"
    low, high = max(0.0, area - reach), min(1.0, area + reach)
    worst = min(max(0.5, low), high)  # var(AUC) <= theta (1 - theta) / min(n, m), van Dantzig 1951
    return AucEstimate(
        auc=area, se=math.sqrt(worst * (1 - worst) / pairs), low=low, high=high, n_members=n,
        n_nonmembers=m, level=level, method=method,
    )  # fmt: skip
