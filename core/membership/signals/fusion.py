"""Several signals as one, and the residual of the tuned loss on the base's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import InputError, plural
from .paired import Floats

FUSED = ("base_ratio", "sima_delta", "pia_delta")


def fusion(scores: Mapping[str, Floats], names: Sequence[str] = FUSED) -> Floats:
    """Mean of scores, each standardized over everything that was scored.

    Photos and controls are pooled for mean and deviation, so the result treats both alike and
    permutation tests on it stay exact. A constant score adds 0.

    Args:
        scores: ``[N]`` a signal, photos and controls together.
        names: signals to fuse.

    Raises:
        InputError: BAD_SIGNAL for a signal that was not measured.

    Example:
        >>> fusion({"a": np.array([0.0, 2.0]), "b": np.array([1.0, 1.0])}, ("a", "b")).tolist()
        [-0.5, 0.5]
    """
    return fusion_against(scores, scores, names)


def fusion_against(
    scores: Mapping[str, Floats], controls: Mapping[str, Floats], names: Sequence[str] = FUSED
) -> Floats:
    """Mean of scores standardized by the controls: for one photo against a fixed set.

    Controls fused with themselves are in-sample; for tests on sets use `fusion`.

    Args:
        scores: ``[n]`` a signal, of the photos.
        controls: ``[m]`` a signal.
        names: signals to fuse.

    Raises:
        InputError: BAD_SIGNAL for a signal that was not measured.
    """
    missing = [n for n in names if n not in scores or n not in controls]
    if missing or not names:
        raise InputError(
            "BAD_SIGNAL", f"fusion needs {', '.join(missing) or 'a signal'}; measure it first"
        )
    parts = [_standard(np.asarray(scores[n]), np.asarray(controls[n])) for n in names]
    return np.mean(parts, axis=0)


def _standard(values: Floats, reference: Floats) -> Floats:
    width = float(reference.std())
    return (values - reference.mean()) / (width if width > 0 else 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What the tuned loss is, beyond what the base loss says.

    Attributes:
        beta: slope fitted on the controls; 0 would be the loss alone, 1 BaseRatio.
        photos: ``[n]`` scores, higher meaning member.
        controls: ``[m]`` scores, each from a line fitted without that control.
        betas: the photos' scores under beta 0, 1 and the fitted one.
        control_betas: the controls' scores under the same.
    """

    beta: float
    photos: Floats
    controls: Floats
    betas: dict[str, Floats]
    control_betas: dict[str, Floats]


def residual(
    base: npt.ArrayLike,
    tuned: npt.ArrayLike,
    controls_base: npt.ArrayLike,
    controls_tuned: npt.ArrayLike,
) -> Residual:
    """``const + beta log L_base - log L_tuned`` with beta fitted on controls only.

    The controls' own scores are leave-one-out, ``r / (1 - h)`` with h the leverage, so that they
    are treated nearly as the photos are; permutation p-values on them are approximate.

    Args:
        base: ``[n]`` mean base losses of the photos.
        tuned: ``[n]`` tuned losses.
        controls_base: ``[m]``, m >= 3.
        controls_tuned: ``[m]``.

    Raises:
        InputError: NOT_ENOUGH_CONTROLS under three controls, BAD_LOSS for a loss that is not
            positive.
    """
    x, y, cx, cy = (np.asarray(v, np.float64) for v in (base, tuned, controls_base, controls_tuned))
    if len(cx) < 3:
        raise InputError(
            "NOT_ENOUGH_CONTROLS",
            f"{plural(len(cx), 'control')} cannot fit a line; give 3 or more",
        )
    if not all((v > 0).all() for v in (x, y, cx, cy)):
        raise InputError("BAD_LOSS", "a loss is zero, negative or no number; measure again")
    x, y, cx, cy = (np.log(v) for v in (x, y, cx, cy))
    spread = float(((cx - cx.mean()) ** 2).sum())
    beta = float(((cx - cx.mean()) * (cy - cy.mean())).sum() / spread) if spread > 0 else 0.0
    offset = float(cy.mean() - beta * cx.mean())
    leverage = 1 / len(cx) + (((cx - cx.mean()) ** 2) / spread if spread > 0 else 0.0)
    fitted = offset + beta * x - y
    own = (offset + beta * cx - cy) / (1 - np.minimum(leverage, 0.99))
    return Residual(
        beta,
        fitted,
        own,
        {"0": -y, "1": x - y, "fitted": fitted},
        {"0": -cy, "1": cx - cy, "fitted": own},
    )
