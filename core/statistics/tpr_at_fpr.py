"""Share of members called at a false-alarm rate that held-out controls set."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .intervals import clopper_pearson
from .samples import finite, open_share


@dataclass(frozen=True, slots=True, kw_only=True)
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
    x, y = finite(members, "members"), finite(controls, "controls")
    rate = open_share(target_fpr, "target_fpr")
    m = len(y)
    allowed = math.floor(rate * m + 1e-9)  # 0.29 * 100 is 28.999... in binary
    threshold = float(np.sort(y)[::-1][allowed])
    called = clopper_pearson(int(np.count_nonzero(x > threshold)), len(x))
    alarms = int(np.count_nonzero(y > threshold))
    return TprAtFpr(
        threshold=threshold,
        tpr=called.estimate,
        tpr_low=called.low,
        tpr_high=called.high,
        fpr=alarms / m,
        fpr_high=clopper_pearson(alarms, m).high,
        fpr_expected=(alarms + 1) / (m + 1),
        estimable=rate * m >= 1 - 1e-9,
        needed_controls=math.ceil(1 / rate - 1e-9),
    )
