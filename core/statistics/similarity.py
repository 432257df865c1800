"""How much of a training set was extracted: how near the nearest image comes, and how often."""

import numpy.typing as npt

from ..errors import InputError
from .samples import finite


def average_similarity(similarity: npt.ArrayLike) -> float:
    """Mean over training images of the best similarity to any extracted image (AS).

    Args:
        similarity: cosines [training, extracted]; more extracted images can only raise it, so
            arms are compared at equal numbers.

    Returns:
        Average similarity.

    Raises:
        InputError: bad numbers.

    Source:
        FineXtract: ``mean over x of max over xhat of cos(x, xhat)``.

    Example:
        >>> average_similarity([[0.9, 0.1], [0.3, 0.5]])
        0.7
    """
    return float(finite(similarity, "similarity", ndim=2).max(axis=1).mean())


def extraction_success_rate(similarity: npt.ArrayLike, tau: float = 0.7) -> float:
    """Share of training images with an extracted image more similar than ``tau`` (A-ESR).

    Args:
        similarity: cosines [training, extracted].
        tau: 0.7 strict, 0.6 lenient.

    Returns:
        Share of training images.

    Raises:
        InputError: bad numbers.

    Source:
        FineXtract: ``mean over x of 1[max over xhat of cos(x, xhat) > tau]``.

    Example:
        >>> extraction_success_rate([[0.9, 0.1], [0.3, 0.5]])
        0.5
    """
    best = finite(similarity, "similarity", ndim=2).max(axis=1)
    if not -1.0 <= tau <= 1.0:
        raise InputError("OUT_OF_RANGE", f"tau: expected a cosine, got {tau}.")
    return float((best > tau).mean())
