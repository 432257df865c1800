"""Intervals that promise no more than the sample holds, and the checks every sample passes."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError, NotEnoughDataError

Array = npt.NDArray[np.float64]
Side = Literal["two-sided", "upper", "lower"]

BLOCK_ELEMENTS = 2_000_000  # random numbers held at once by any resampling


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and what the data cannot exclude.

    Attributes:
        estimate: point estimate.
        low: lower end.
        high: upper end.
        level: nominal coverage.
        method: how the ends were found; names the fallback when one was needed.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str


def finite_vector(values: npt.ArrayLike, name: str) -> Array:
    """Return ``values`` as a float64 vector, or say what is wrong with them.

    Args:
        values: anything numpy can read as one dimension of numbers.
        name: how the message calls them.

    Returns:
        A vector of at least one finite number.

    Raises:
        InputError: NOT_NUMERIC, WRONG_SHAPE, EMPTY_INPUT or NON_FINITE.

    Example:
        >>> finite_vector([1, 2], "scores")
        array([1., 2.])
    """
    return _finite(values, name, 1)


def finite_matrix(values: npt.ArrayLike, name: str) -> Array:
    """Return ``values`` as a float64 matrix with at least one row and one column.

    Args:
        values: anything numpy can read as rows of numbers.
        name: how the message calls them.

    Returns:
        A matrix of finite numbers.

    Raises:
        InputError: NOT_NUMERIC, WRONG_SHAPE, EMPTY_INPUT or NON_FINITE.

    Example:
        >>> finite_matrix([[1, 2]], "features").shape
        (1, 2)
    """
    return _finite(values, name, 2)


def _finite(values: npt.ArrayLike, name: str, ndim: int) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("NOT_NUMERIC", f"{name}: expected numbers ({error}).") from error
    if array.size == 0:
        raise InputError("EMPTY_INPUT", f"{name}: nothing was given.")
    if array.ndim != ndim:
        message = f"{name}: expected {ndim} dimension(s), got shape {array.shape}."
        raise InputError("WRONG_SHAPE", message)
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise InputError("NON_FINITE", f"{name}: {bad} of {array.size} values are NaN or infinite.")
    return array


def open_share(value: float, name: str) -> float:
    """Return ``value`` if it lies strictly between 0 and 1.

    Args:
        value: a level, rate or probability.
        name: how the message calls it.

    Returns:
        The value as a float.

    Raises:
        InputError: OUT_OF_RANGE.

    Example:
        >>> open_share(0.95, "level")
        0.95
    """
    if not 0.0 < value < 1.0:
        raise InputError("OUT_OF_RANGE", f"{name}: expected a share between 0 and 1, got {value}.")
    return float(value)


def at_least(value: int, least: int, name: str) -> int:
    """Return the whole number ``value`` if it is ``least`` or more.

    Args:
        value: a count.
        least: smallest count allowed.
        name: how the message calls it.

    Returns:
        The value as an int.

    Raises:
        InputError: OUT_OF_RANGE.

    Example:
        >>> at_least(99, 1, "permutations")
        99
    """
    if int(value) != value or value < least:
        message = f"{name}: expected a whole number of {least} or more, got {value}."
        raise InputError("OUT_OF_RANGE", message)
    return int(value)


def units(clusters: npt.ArrayLike | None, n_first: int, n_second: int = 0) -> npt.NDArray[np.intp]:
    """Number the independent units (person, photo session) that images belong to.

    Args:
        clusters: one id an image, the first group before the second; None makes each its own unit.
        n_first: images in the first group.
        n_second: images in the second group.

    Returns:
        Unit number of each image; units of the first group come first.

    Raises:
        InputError: WRONG_SHAPE when the count differs, MIXED_CLUSTER when a unit is in both groups.

    Example:
        >>> units(["anna", "anna", "ben"], 2, 1)
        array([0, 0, 1])
    """
    total = n_first + n_second
    if clusters is None:
        return np.arange(total)
    ids = np.asarray(clusters)
    if ids.shape != (total,):
        message = f"clusters: expected {total} ids (first group, then second), got {ids.shape}."
        raise InputError("WRONG_SHAPE", message)
    first_names, first = np.unique(ids[:n_first], return_inverse=True)
    second_names, second = np.unique(ids[n_first:], return_inverse=True)
    if np.intersect1d(first_names, second_names).size:
        message = "clusters: a person or session is in both groups; move it to one of them."
        raise InputError("MIXED_CLUSTER", message)
    return np.concatenate([first, second + len(first_names)])


def resample_counts(n_units: int, n: int, rng: np.random.Generator) -> Array:
    """Draw how often each unit appears in each of ``n`` bootstrap samples.

    Args:
        n_units: independent units.
        n: bootstrap samples.
        rng: source of randomness.

    Returns:
        Counts [n, n_units]; every row sums to n_units.

    Example:
        >>> resample_counts(4, 2, np.random.default_rng(0)).sum(axis=1)
        array([4., 4.])
    """
    return rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n).astype(np.float64)


def blocks(n: int, width: int) -> list[int]:
    """Split ``n`` resamples of ``width`` numbers into blocks that fit in memory.

    Args:
        n: resamples wanted.
        width: numbers in one resample.

    Returns:
        Sizes of the blocks; they sum to n.

    Example:
        >>> blocks(5, 1_000_000)
        [2, 2, 1]
    """
    size = max(1, BLOCK_ELEMENTS // max(1, width))
    return [min(size, n - start) for start in range(0, n, size)]


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
        Clopper and Pearson 1934: Beta quantiles ``B(a/2; k, n-k+1)`` and ``B(1-a/2; k+1, n-k)``.

    Example:
        >>> [round(clopper_pearson(0, 100, side=s).high, 5) for s in ("two-sided", "upper")]
        [0.03622, 0.02951]
    """
    n = at_least(n, 1, "n")
    k = at_least(k, 0, "k")
    open_share(level, "level")
    if k > n:
        raise InputError("OUT_OF_RANGE", f"k: {k} hits in {n} trials.")
    if side not in ("two-sided", "upper", "lower"):
        raise InputError("OUT_OF_RANGE", f"side: two-sided, upper or lower, got {side!r}.")
    tail = (1.0 - level) / (2.0 if side == "two-sided" else 1.0)
    low = 0.0 if k == 0 or side == "upper" else float(stats.beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n or side == "lower" else float(stats.beta.isf(tail, k + 1, n - k))
    return Interval(k / n, low, high, level, f"Clopper-Pearson, {side}")


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
        values: one number an image.
        level: coverage.
        n: bootstrap samples.
        seed: makes the answer repeatable.
        clusters: one id an image; images of one id are drawn together.

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
    x = finite_vector(values, "values")
    open_share(level, "level")
    n = at_least(n, 100, "n")
    unit = units(clusters, len(x))
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
        values: one result a seed.
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
    x = finite_vector(values, "values")
    open_share(level, "level")
    if len(x) < 2:
        raise NotEnoughDataError("FEW_SEEDS", "An interval over seeds needs two seeds or more.")
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    mean = float(x.mean())
    return Interval(mean, mean - float(half), mean + float(half), level, "Student t over seeds")


def paper_seed_interval(values: npt.ArrayLike) -> Interval:
    """Give the interval that the membership paper prints; too narrow, kept for comparison only.

    Args:
        values: one result a seed.

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
    x = finite_vector(values, "values")
    half = 1.96 * float(x.std()) / math.sqrt(len(x))
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half, 0.95, "paper: 1.96 population sd / sqrt(n)")
