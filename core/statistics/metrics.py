"""Numbers that say how well members and non-members are told apart, each with its uncertainty.

Everything here takes plain scores, higher meaning member, and images that are independent unless
cluster ids say otherwise. The intervals and tests of the sibling modules are offered here too.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from ..errors import InputError
from .intervals import (
    Interval,
    bootstrap_ci,
    clopper_pearson,
    finite_matrix,
    finite_vector,
    mean_seed_interval,
    open_share,
    paper_seed_interval,
)
from .permutation import (
    Adjusted,
    NullRank,
    PermutationTest,
    benjamini_hochberg,
    conformal_p,
    holm,
    null_rank_p,
    permutation_test,
)
from .roc import AucDifference, AucEstimate, auc, bootstrap_auc, delong, delong_paired, roc_curve

__all__ = [
    "Adjusted",
    "AucDifference",
    "AucEstimate",
    "Interval",
    "NullRank",
    "PermutationTest",
    "TprAtFpr",
    "auc",
    "average_similarity",
    "benjamini_hochberg",
    "bootstrap_auc",
    "bootstrap_ci",
    "clopper_pearson",
    "conformal_p",
    "delong",
    "delong_paired",
    "extraction_success_rate",
    "holm",
    "hungarian_similarity",
    "mean_seed_interval",
    "null_rank_p",
    "paper_seed_interval",
    "permutation_test",
    "photos_needed",
    "roc_curve",
    "tpr_at_fpr",
]


@dataclass(frozen=True, slots=True)
class TprAtFpr:
    """Share of members above a threshold that controls set.

    Attributes:
        threshold: a score above it is called.
        tpr: share of members called; of photos of unknown status, "share above the threshold".
        tpr_low: lower end, Clopper-Pearson 95%.
        tpr_high: upper end.
        fpr: share of these controls called.
        fpr_high: upper end for fresh controls, 95% two-sided; exact for an order statistic.
        fpr_expected: mean false-alarm rate on fresh controls; above the target for few controls.
        estimable: enough controls for the target rate; print no rate otherwise.
        needed_controls: controls from which on it is estimable.
    """

    threshold: float
    tpr: float
    tpr_low: float
    tpr_high: float
    fpr: float
    fpr_high: float
    fpr_expected: float
    estimable: bool
    needed_controls: int


def tpr_at_fpr(
    members: npt.ArrayLike, controls: npt.ArrayLike, target_fpr: float = 0.01
) -> TprAtFpr:
    """Share of members above the threshold that holds false alarms at ``target_fpr``.

    Args:
        members: scores of members, or of photos of unknown status.
        controls: scores of held-out controls.
        target_fpr: wanted false-alarm rate ``a``.

    Returns:
        Threshold and rates. Not estimable under ``1 / a`` controls (100 for 1%, 1,000 for 0.1%).

    Raises:
        InputError: bad numbers or rate.

    Source:
        Threshold: (floor(a m) + 1)-th largest control; its true rate is Beta(k + 1, m - k) with
        k = floor(a m), so ``fpr_high`` is its exact quantile and ``(k + 1) / (m + 1)`` its mean.

    Example:
        >>> r = tpr_at_fpr([0.5, 98.5, 99.5], range(100), 0.01)
        >>> r.threshold, round(r.tpr, 3), r.fpr, r.estimable
        (98.0, 0.667, 0.01, True)
    """
    x, y = finite_vector(members, "members"), finite_vector(controls, "controls")
    rate = open_share(target_fpr, "target_fpr")
    m = len(y)
    allowed = math.floor(rate * m + 1e-9)
    threshold = float(np.sort(y)[::-1][allowed])
    called = clopper_pearson(int(np.count_nonzero(x > threshold)), len(x))
    alarms = int(np.count_nonzero(y > threshold))
    return TprAtFpr(
        threshold,
        called.estimate,
        called.low,
        called.high,
        alarms / m,
        clopper_pearson(alarms, m).high,
        (alarms + 1) / (m + 1),
        rate * m >= 1 - 1e-9,
        math.ceil(1 / rate - 1e-9),
    )


def photos_needed(
    auc: float, alpha: float = 0.01, power: float = 0.8, control_ratio: float = math.inf
) -> int:
    """Photos that a one-sided set test needs, rounded to the nearest whole photo.

    Args:
        auc: area per photo that the method is believed to have.
        alpha: false-accusation rate of the test.
        power: chance to find what is there.
        control_ratio: controls for each photo; infinite for many, 1 for as many as photos.

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
    z = stats.norm.ppf([1 - alpha, power, auc])
    if z[0] + z[1] <= 0:
        return 1
    n = (z[0] + z[1]) ** 2 * (1 + 1 / control_ratio) / (2 * z[2] ** 2)
    return max(1, math.floor(float(n) + 0.5))


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
    return float(finite_matrix(similarity, "similarity").max(axis=1).mean())


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
    best = finite_matrix(similarity, "similarity").max(axis=1)
    if not -1.0 <= tau <= 1.0:
        raise InputError("OUT_OF_RANGE", f"tau: expected a cosine, got {tau}.")
    return float((best > tau).mean())


def hungarian_similarity(similarity: npt.ArrayLike) -> float:
    """Average similarity when each extracted image may serve one training image only.

    Args:
        similarity: cosines [training, extracted].

    Returns:
        Sum over the best one-to-one pairs, divided by the number of training images: a training
        image without a partner counts 0.

    Raises:
        InputError: bad numbers.

    Source:
        Kuhn 1955, by scipy's linear_sum_assignment.

    Example:
        >>> hungarian_similarity([[0.9, 0.1], [0.8, 0.5]])
        0.7
    """
    s = finite_matrix(similarity, "similarity")
    rows, columns = optimize.linear_sum_assignment(s, maximize=True)
    return float(s[rows, columns].sum() / len(s))
