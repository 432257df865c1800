"""The likelihood ratio of one case by the cases of a calibration study; needs `lir`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..errors import MissingDependencyError, NotEnoughDataError
from ..statistics.likelihood import calibration_quality, likelihood_ratio
from . import CaseFacts, KnownRates, validated
from .known import set_statistic


def case_weight(
    rates: KnownRates,
    facts: CaseFacts,
    photo_scores: Sequence[float],
    control_scores: Sequence[float],
    clusters: Sequence[str] | None = None,
) -> dict[str, Any] | None:
    """How much more probable the case's scores are if its photos were used.

    Args:
        rates: of the study.
        facts: of the case.
        photo_scores: primary scores.
        control_scores: of the controls.
        clusters: session of each photo, then of each control.

    Returns:
        The fields of `likelihood.LikelihoodRatio` and ``cllr``; None without `lir`, with too few
        cases in the study, or where a ratio would mislead: for a case outside the validated
        range, or whose controls are all of one session.
    """
    if validated(rates, facts):
        return None
    if clusters is not None and len(set(clusters[len(photo_scores) :])) < 2:
        return None
    statistic = set_statistic(photo_scores, control_scores, clusters)
    known = rates.reference
    try:
        ratio = likelihood_ratio(statistic, known.guilty, known.innocent)
        quality = calibration_quality(known.guilty, known.innocent)
    except (MissingDependencyError, NotEnoughDataError):
        return None
    return {**asdict(ratio), "cllr": float(quality.cllr)}
