"""How many of the photos were used: the share behind hard calls, freed of their error rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError, NotEnoughDataError, plural
from .clusters import Indices, units
from .samples import Array, at_least, finite, open_share

LEAST_GAP = 0.10  # of TPR minus FPR; below it one wrong call moves the share by ten
LEAST_GAP_LOW = 0.02  # its lower end: rates measured on few images may be equal in truth


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls among calibration images whose truth is known.

    Attributes:
        hits: images called "used".
        n: images.
        parts: hits and images of each calibration model. Images of one model rise and fall
            together, so its models, not its images, are what a rate is known by; empty where
            they are independent.
    """

    hits: int
    n: int
    parts: tuple[tuple[int, int], ...] = ()

    @property
    def share(self) -> float:
        """Share called."""
        return self.hits / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageShare:
    """Share of the photos that was used for training.

    Attributes:
        share: estimate, clipped to 0..1.
        low: lower end of its interval.
        high: upper end.
        unclipped: estimate before clipping; far outside 0..1 the calibration does not fit the case.
        called: photos called "used".
        n: photos.
        tpr: share of calibration members called.
        fpr: share of calibration non-members called.
        level: nominal coverage.
        method: of the interval.
    """

    share: float
    low: float
    high: float
    unclipped: float
    called: int
    n: int
    tpr: float
    fpr: float
    level: float
    method: str = "Bayesian bootstrap of photos and of calibration models"


def share_used(
    calls: npt.ArrayLike,
    members: Rate,
    nonmembers: Rate,
    level: float = 0.95,
    draws: int = 4000,
    *,
    seed: int = 0,
    clusters: npt.ArrayLike | None = None,
) -> UsageShare:
    """Estimate which share of the photos was used, from one yes-or-no call per photo.

    The interval carries both uncertainties: which photos were looked at (whole sessions are
    reweighted) and how well the two error rates are known (whole calibration models are).

    Args:
        calls: ``[n]`` 0 or 1, 1 = "used", by a rule that was fixed before.
        members: the same rule on images that calibration models were trained on.
        nonmembers: the same rule on images that they were not trained on.
        level: coverage.
        draws: draws of the interval.
        seed: makes the answer repeatable.
        clusters: one session id per photo.

    Returns:
        Share and interval.

    Raises:
        InputError: bad calls, counts or level.
        NotEnoughDataError: WEAK_CALLS, the rule hardly tells members from non-members.

    Source:
        DUCI (Tong et al. 2025; Privacy Meter 2): ``mean((m_i - FPR) / (TPR - FPR))``. Interval:
        Rubin 1981; Beta(k + 1/2, n - k + 1/2) for a rate.

    Example:
        >>> e = share_used([1] * 6 + [0] * 4, Rate(80, 100), Rate(10, 100))
        >>> round(e.share, 3), e.low < 0.5 < e.high
        (0.714, True)
    """
    m = finite(calls, "calls")
    if not np.isin(m, (0.0, 1.0)).all():
        raise InputError("OUT_OF_RANGE", "calls: expected 0 or 1 for each photo.")
    open_share(level, "level")
    draws = at_least(draws, 100, "draws")
    rng = np.random.default_rng(seed)
    tpr, fpr = (_rate_draws(r, draws, rng, name) for r, name in _named(members, nonmembers))
    gap = members.share - nonmembers.share
    tail = (1 - level) / 2
    _check_gap(gap, float(np.quantile(tpr - fpr, tail)), members, nonmembers)
    shares = (_call_draws(m, units(clusters, len(m)).first, draws, rng) - fpr) / (tpr - fpr)
    shares = np.where(tpr > fpr, shares, rng.integers(0, 2, draws))  # such a draw excludes nothing
    low, high = np.clip(np.quantile(shares, [tail, 1 - tail]), 0.0, 1.0)
    raw = float((m.mean() - nonmembers.share) / gap)
    share = min(1.0, max(0.0, raw))
    return UsageShare(
        share=share,
        low=min(share, float(low)),
        high=max(share, float(high)),
        unclipped=raw,
        called=int(m.sum()),
        n=len(m),
        tpr=members.share,
        fpr=nonmembers.share,
        level=level,
    )


def best_threshold(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    """Threshold with the largest TPR minus FPR; call "used" at or above it.

    Measure the two rates on other images than these, or they come out too good.

    Args:
        members: calibration scores of members, higher means member.
        nonmembers: calibration scores of non-members.

    Returns:
        The highest such score.

    Raises:
        InputError: bad numbers.

    Source:
        Youden 1950, as DUCI chooses it; the curve by scikit-learn.

    Example:
        >>> best_threshold([0.2, 0.8, 0.9], [0.1, 0.3])
        0.8
    """
    from sklearn.metrics import roc_curve  # slow to import, and only studies need it

    x, y = finite(members, "members"), finite(nonmembers, "nonmembers")
    labels = np.repeat([1, 0], [len(x), len(y)])
    fpr, tpr, thresholds = roc_curve(labels, np.concatenate([x, y]), drop_intermediate=False)
    best = 1 + np.argmax(tpr[1:] - fpr[1:])  # the first point calls nothing, above every score
    return float(thresholds[best])


def _named(members: Rate, nonmembers: Rate) -> tuple[tuple[Rate, str], tuple[Rate, str]]:
    return (members, "members"), (nonmembers, "nonmembers")


def _rate_draws(rate: Rate, draws: int, rng: np.random.Generator, name: str) -> Array:
    at_least(rate.n, 1, f"{name}.n")
    if not 0 <= rate.hits <= rate.n:
        raise InputError(
            "OUT_OF_RANGE", f"{name}: {plural(rate.hits, 'hit')} of {plural(rate.n, 'image')}."
        )
    if not rate.parts:
        return rng.beta(rate.hits + 0.5, rate.n - rate.hits + 0.5, draws)
    hits, sizes = np.array(rate.parts, np.float64).T
    if (hits.sum(), sizes.sum()) != (rate.hits, rate.n):
        raise InputError("OUT_OF_RANGE", f"{name}: its parts do not add up to it.")
    return _weighted_share(hits, sizes, draws, rng)


def _check_gap(gap: float, low: float, members: Rate, nonmembers: Rate) -> None:
    if gap < LEAST_GAP or low < LEAST_GAP_LOW:
        raise NotEnoughDataError(
            "WEAK_CALLS",
            f"members are called {members.hits} of {members.n} times, non-members "
            f"{nonmembers.hits} of {nonmembers.n}: a gap of {gap:.2f} (at least {low:.2f}) is too "
            f"small for a share; {LEAST_GAP:g} and a lower end of {LEAST_GAP_LOW:g} are needed. "
            "Use a stronger signal or more calibration images",
        )


def _call_draws(calls: Array, unit: Indices, draws: int, rng: np.random.Generator) -> Array:
    """Share called under random weights of the sessions."""
    sums: Array = np.bincount(unit, weights=calls).astype(np.float64)
    sizes: Array = np.bincount(unit).astype(np.float64)
    return _weighted_share(sums, sizes, draws, rng)


def _weighted_share(sums: Array, sizes: Array, draws: int, rng: np.random.Generator) -> Array:
    """Share under random weights of the units and half a unit of each call."""
    # Exponential weights are a flat Dirichlet; the half units are Jeffreys' Beta(1/2, 1/2).
    weights = rng.exponential(size=(draws, len(sums)))
    half = rng.gamma(0.5, size=(draws, 2)) * sizes.mean()
    return (weights @ sums + half[:, 0]) / (weights @ sizes + half.sum(axis=1))
