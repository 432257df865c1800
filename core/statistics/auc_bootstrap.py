"""Area under the ROC curve where images of one person or session are not independent."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..errors import NotEnoughDataError
from .auc import AucDifference, AucEstimate, Scores, auc, delong_paired, distribution_free, paired
from .clusters import blocks, units
from .samples import Array, at_least, finite, open_share


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

    Args:
        members: scores of members.
        nonmembers: scores of non-members.
        level: coverage.
        n: bootstrap samples.
        seed: makes the answer repeatable.
        clusters: one id per image, members first; no id may be on both sides.

    Returns:
        Estimate, standard error and percentile interval, or the conservative bound of `delong`
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
    x, y = finite(members, "members"), finite(nonmembers, "nonmembers")
    open_share(level, "level")
    n = at_least(n, 100, "n")
    groups = units(clusters, len(x), len(y))
    pairs = min(groups.n_first, groups.n_second)
    if pairs < 2:
        message = "A bootstrap needs two independent units or more on each side."
        raise NotEnoughDataError("FEW_CLUSTERS", message)
    rng, pooled = np.random.default_rng(seed), np.concatenate([x, y])
    sizes = blocks(n, 4 * len(pooled))
    areas = np.concatenate([_weighted_areas(pooled, *groups.weights(b, rng)) for b in sizes])
    area = auc(x, y)
    if np.ptp(areas) < 1e-12 or area in (0.0, 1.0):
        return distribution_free(area, len(x), len(y), level, pairs=pairs)
    low, high = _percentiles(areas, level)
    return AucEstimate(
        auc=area, se=float(areas.std(ddof=1)), low=low, high=high, n_members=len(x),
        n_nonmembers=len(y), level=level, method="percentile bootstrap",
    )  # fmt: skip


def bootstrap_auc_paired(
    first: Scores,
    second: Scores,
    clusters: npt.ArrayLike,
    level: float = 0.95,
    n: int = 2000,
    *,
    seed: int = 0,
) -> AucDifference:
    """Difference of two areas on the same images; the same units are drawn for both.

    Args:
        first: one method's scores of members and of non-members.
        second: the other's of the same images, in the same order.
        clusters: one id per image, members first; no id may be on both sides.
        level: coverage.
        n: bootstrap samples.
        seed: makes the answer repeatable.

    Returns:
        Difference and percentile interval. With one unit on a side the interval is -1 to 1; where
        every sample agrees it is that of two separate cautious intervals.

    Raises:
        InputError: bad numbers or ids, or PAIR_MISMATCH when the counts differ.

    Source:
        As `bootstrap_auc`.
    """
    plain = delong_paired(first, second, level)
    both = paired(first, second)
    groups = units(clusters, *(len(scores) for scores in both[0]))
    pairs = min(groups.n_first, groups.n_second)
    if pairs < 2:
        return replace(plain, low=-1.0, high=1.0, method="one session on a side: no interval")
    weights = groups.weights(n, np.random.default_rng(seed))
    one, two = (_weighted_areas(np.concatenate(scores), *weights) for scores in both)
    if np.ptp(one) < 1e-12 or np.ptp(two) < 1e-12:
        # Each interval at the level that makes both hold together.
        a, b = (distribution_free(auc(x, y), len(x), len(y), (1 + level) / 2, pairs=pairs)
                for x, y in both)  # fmt: skip
        low, high, method = a.low - b.high, a.high - b.low, "separate intervals, Bonferroni"
    else:
        low, high = _percentiles(one - two, level)
        method = "percentile bootstrap of sessions, paired"
    covariance, se = float(np.cov(one, two)[0, 1]), float((one - two).std(ddof=1))
    return replace(plain, se=se, low=low, high=high, covariance=covariance, method=method)


def _percentiles(drawn: Array, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weighted_areas(pooled: Array, member_weights: Array, other_weights: Array) -> Array:
    """Area of each row of weights [B, n] and [B, m] over scores ``pooled`` [n + m]."""
    order = np.argsort(pooled, kind="stable")
    starts = np.flatnonzero(np.diff(pooled[order], prepend=-np.inf) > 0)
    padding = (np.zeros_like(other_weights), np.zeros_like(member_weights))
    own = np.concatenate([member_weights, padding[0]], axis=1)[:, order]
    other = np.concatenate([padding[1], other_weights], axis=1)[:, order]
    # Equal scores are summed into one step; half of a step counts as below itself: ties are half.
    own, other = np.add.reduceat(own, starts, axis=1), np.add.reduceat(other, starts, axis=1)
    below = np.cumsum(other, axis=1) - other / 2
    return (own * below).sum(axis=1) / (own.sum(axis=1) * other.sum(axis=1))
