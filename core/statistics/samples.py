"""What every sample must be before a number is computed from it, and so must every setting."""

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[np.float64]


def finite(values: npt.ArrayLike, name: str, ndim: int = 1) -> Array:
    """Return ``values`` as a float64 array, or say what is wrong with them.

    Args:
        values: anything numpy can read as numbers.
        name: how the message calls them.
        ndim: 1 for a vector, 2 for rows and columns.

    Returns:
        At least one finite number.

    Raises:
        InputError: NOT_NUMERIC, EMPTY_INPUT, WRONG_SHAPE or NON_FINITE.

    Example:
        >>> finite([1, 2], "scores")
        array([1., 2.])
    """
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


def probabilities(values: npt.ArrayLike, name: str) -> Array:
    """Return p-values as a float64 vector.

    Args:
        values: anything numpy can read as one dimension of numbers.
        name: how the message calls them.

    Raises:
        InputError: as `finite`, or OUT_OF_RANGE for one outside 0..1.

    Example:
        >>> probabilities([0.5], "p")
        array([0.5])
    """
    p = finite(values, name)
    if p.min() < 0.0 or p.max() > 1.0:
        raise InputError("OUT_OF_RANGE", f"{name}: a p-value lies between 0 and 1.")
    return p


def open_share(value: float, name: str) -> float:
    """Return ``value`` if it lies strictly between 0 and 1.

    Args:
        value: a level, rate or probability.
        name: how the message calls it.

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
