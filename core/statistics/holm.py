"""Holm's correction: the p-values of a family, adjusted for their number."""

import numpy as np
import numpy.typing as npt

from .samples import Array, probabilities


def holm(p: npt.ArrayLike) -> Array:
    """Adjusted p-values: rejecting at ``a`` keeps the chance of any false find under ``a``.

    Args:
        p: ``[N]`` p-values, however they depend on each other.

    Returns:
        ``[N]`` adjusted p-values, in the order given.

    Raises:
        InputError: bad numbers, or p outside 0..1.

    Source:
        Holm 1979: ``max over j <= i of (N - j + 1) p_(j)``; scipy has no such correction.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    values = probabilities(p, "p")
    order = np.argsort(values, kind="stable")
    n = len(values)
    adjusted = np.empty(n)
    # The k-th smallest p counts (n - k + 1) times; a larger p may not be adjusted below a smaller.
    scaled = values[order] * np.arange(n, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted
