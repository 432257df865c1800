"""P-values by rank: of a photo among controls, of a model among null models or decoys."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import NotEnoughDataError
from .samples import Array, finite


@dataclass(frozen=True, slots=True)
class RankPValue:
    """Rank of a result among the same result of null models or decoys.

    Attributes:
        p: (1 + nulls at or above) / (nulls + 1).
        floor: smallest p-value this number of nulls can give.
        n_nulls: nulls.
        contrast_only: one null gives a contrast, not a test.
    """

    p: float
    floor: float
    n_nulls: int
    contrast_only: bool


def conformal_p(scores: npt.ArrayLike, calibration: npt.ArrayLike) -> Array:
    """P-value of each score against held-out controls.

    Args:
        scores: scores to judge, higher means member.
        calibration: scores of controls that no threshold or model was fitted on.

    Returns:
        One p-value per score; none is below ``1 / (m + 1)``.

    Raises:
        InputError: bad numbers.

    Source:
        ``p_i = (1 + #{c: d(c) >= d(x_i)}) / (m + 1)``, Vovk et al. 2005.

    Example:
        >>> conformal_p([3.0, 0.0], [1.0, 2.0, 2.5]).tolist()
        [0.25, 1.0]
    """
    s = finite(scores, "scores")
    c = np.sort(finite(calibration, "calibration"))
    # side="left": a control that ties with the score counts as one at or above it.
    at_or_above = len(c) - np.searchsorted(c, s, side="left")
    return np.asarray((1.0 + at_or_above) / (len(c) + 1.0), dtype=np.float64)


def null_rank_p(value: float, nulls: npt.ArrayLike) -> RankPValue:
    """Rank one result among those of null models, or of decoys drawn at random.

    Args:
        value: result of the suspect model (or of the released variant).
        nulls: the same result, same full pipeline, of each null (or decoy).

    Returns:
        The p-value and the smallest one attainable: 19 nulls for .05, 99 for .01.

    Raises:
        InputError: bad numbers.
        NotEnoughDataError: NO_NULLS.

    Source:
        As `conformal_p`, of a single score.

    Example:
        >>> null_rank_p(0.9, [0.5] * 19).p
        0.05
    """
    if np.size(np.asarray(nulls)) == 0:
        raise NotEnoughDataError("NO_NULLS", "A rank needs null models: 19 for .05, 99 for .01.")
    own, others = finite([value], "value"), finite(nulls, "nulls")
    p, n = float(conformal_p(own, others)[0]), len(others)
    return RankPValue(p, 1 / (n + 1), n, contrast_only=n < 2)
