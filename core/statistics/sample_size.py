"""How many photos a test needs before it can find what is there."""

import math

from scipy import stats

from ..errors import InputError
from .samples import open_share


def photos_needed(
    auc: float, alpha: float = 0.01, power: float = 0.8, control_ratio: float = math.inf
) -> int:
    """Photos that a one-sided set test needs, rounded to the nearest whole photo.

    Args:
        auc: area per photo that the method is believed to have.
        alpha: false-accusation rate of the test.
        power: chance to find what is there.
        control_ratio: controls per photo; infinite for many, 1 for as many as photos.

    Returns:
        Number of photos, at least 1. Under about five the normal approximation is a guess.

    Raises:
        InputError: OUT_OF_RANGE.

    Source:
        Normal scores: ``d = sqrt(2) z(auc)``, ``n = (z(1-alpha) + z(power))^2 (1 + 1/r) / d^2``.

    Example:
        >>> photos_needed(0.53), photos_needed(0.53, control_ratio=1)
        (886, 1771)
    """
    if not 0.5 < auc < 1.0:
        raise InputError("OUT_OF_RANGE", f"auc: expected a value between 0.5 and 1, got {auc}.")
    open_share(alpha, "alpha")
    open_share(power, "power")
    if not control_ratio > 0:
        raise InputError("OUT_OF_RANGE", f"control_ratio: expected above 0, got {control_ratio}.")
    # Two normals d deviations apart have the area Phi(d / sqrt(2)), hence d = sqrt(2) z(auc).
    z = stats.norm.ppf([1 - alpha, power, auc])
    if z[0] + z[1] <= 0:
        return 1
    n = (z[0] + z[1]) ** 2 * (1 + 1 / control_ratio) / (2 * z[2] ** 2)
    return max(1, math.floor(float(n) + 0.5))
