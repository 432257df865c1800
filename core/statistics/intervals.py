"""Intervals of a share and of a mean that promise no more than the sample holds."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError, NotEnoughDataError
from .clusters import blocks, resample_counts, units
from .samples import at_least, finite, open_share

Side = Literal["two-sided", "upper", "lower"]
ALTERNATIVES = {"two-sided": "two-sided", "upper": "less", "lower": "greater"}  # scipy's words


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and what the data cannot exclude.

    Attributes:
        estimate: point estimate.
        low: lower end.
        high: upper end.
        level: nominal coverage.
        method: of the ends; names the fallback when one was needed.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str


@lru_cache(maxsize=4096)  # scipy takes milliseconds; cases ask for few counts, many times
def clopper_pearson(k: int, n: int, level: float = 0.95, side: Side = "two-sided") -> Interval:
    """Exact binomial interval for ``k`` hits in ``n`` trials.

    Args:
        k: hits.
        n: trials.
        level: coverage.
        side: "two-sided", or one-sided "upper" (low is 0) or "lower" (high is 1).

    Returns:
        The share and its interval.

    Raises:
        InputError: OUT_OF_RANGE.

    Source:
        Clopper and Pearson 1934, by scipy.

    Example:
        >>> [round(clopper_pearson(0, 100, side=s).high, 5) for s in ("two-sided", "upper")]
        [0.03622, 0.02951]
    """
    n = at_least(n, 1, "n")
    k = at_least(k, 0, "k")
    open_share(level, "level")
    if k > n:
        raise InputError("OUT_OF_RANGE", f"k: {k} hits in {n} trials.")
    if side not in ALTERNATIVES:
        raise InputError("OUT_OF_RANGE", f"side: two-sided, upper or lower, got {side!r}.")
    ends = stats.binomtest(k, n, alternative=ALTERNATIVES[side]).proportion_ci(level, "exact")
    return Interval(k / n, float(ends.low), float(ends.high), level, f"Clopper-Pearson, {side}")


def bootstrap_ci(
    values: npt.ArrayLike,
    level: float = 0.95,
    n: int = 2000,
    *,
    seed: int = 0,
    clusters: npt.ArrayLike | None = None,
) -> Interval:
    """Percentile bootstrap interval of the mean; whole clusters are resampled.

    Args:
        values: one number per image.
        level: coverage.
        n: bootstrap samples.
        seed: makes the answer repeatable.
        clusters: one id per image; images of one id are drawn together.

    Returns:
        Mean and interval; the method says "no spread" when all bootstrap means agree.

    Raises:
        InputError: bad numbers or ids.
        NotEnoughDataError: FEW_CLUSTERS, under two independent units.

    Source:
        Efron and Tibshirani 1993, section 13.3; clusters: Davison and Hinkley 1997, 3.8.

    Example:
        >>> bootstrap_ci([0.0, 1.0] * 50, n=500).estimate
        0.5
    """
    x = finite(values, "values")
    open_share(level, "level")
    n = at_least(n, 100, "n")
    unit = units(clusters, len(x)).first
    sizes = np.bincount(unit).astype(np.float64)
    if len(sizes) < 2:
        raise NotEnoughDataError("FEW_CLUSTERS", "A bootstrap needs two independent units or more.")
    sums = np.bincount(unit, weights=x)
    rng = np.random.default_rng(seed)
    draws = (resample_counts(len(sizes), size, rng) for size in blocks(n, len(sizes)))
    means = np.concatenate([(w @ sums) / (w @ sizes) for w in draws])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    method = "percentile bootstrap" + ("" if np.ptp(x) else ", no spread: not an error bound")
    return Interval(float(x.mean()), float(low), float(high), level, method)


def mean_seed_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Student interval of the mean over seeds; it knows nothing of test-sampling error.

    Args:
        values: one result per seed.
        level: coverage.

    Returns:
        Mean and interval.

    Raises:
        InputError: bad numbers.
        NotEnoughDataError: FEW_SEEDS, under two seeds.

    Source:
        ``mean +- t(n-1) * s / sqrt(n)`` with the sample deviation s.

    Example:
        >>> e = mean_seed_interval([0.872, 0.882, 0.823, 0.873, 0.869])
        >>> round(e.high - e.estimate, 3)
        0.029
    """
    x = finite(values, "values")
    open_share(level, "level")
    if len(x) < 2:
        raise NotEnoughDataError("FEW_SEEDS", "An interval over seeds needs two seeds or more.")
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * stats.sem(x))
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half, level, "Student t over seeds")


def paper_seed_interval(values: npt.ArrayLike) -> Interval:
    """Give the interval that the membership paper prints; too narrow, for comparison only.

    Args:
        values: one result per seed.

    Returns:
        Mean and interval; for five seeds it is 1.58 times narrower than Student's.

    Raises:
        InputError: bad numbers.

    Source:
        ``mean +- 1.96 * sd_population / sqrt(n)`` (released code of the membership paper).

    Example:
        >>> e = paper_seed_interval([0.872, 0.882, 0.823, 0.873, 0.869])
        >>> round(e.high - e.estimate, 3)
        0.018
    """
    x = finite(values, "values")
    half = 1.96 * float(x.std()) / math.sqrt(len(x))
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half, 0.95, "paper: 1.96 population sd / sqrt(n)")
