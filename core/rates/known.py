"""Known error rates as a report prints them for one case, with the ways it lies outside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NotEnoughDataError
from ..statistics.usage import Rate, UsageShare, share_used
from ..verdicts.comparison import standardised
from . import CaseFacts, KnownRates, Share, validated


def set_statistic(
    photos: npt.ArrayLike, controls: npt.ArrayLike, clusters: Sequence[str] | None = None
) -> float:
    """Mean standardised photo score over its standard error: comparable between set sizes.

    Args:
        photos: ``[n]`` primary scores.
        controls: ``[m]`` primary scores, m >= 2.
        clusters: session of each photo, then of each control: the mean of a session counts once.

    Example:
        >>> round(set_statistic([1.0, 3.0], [-1.0, 0.0, 1.0]), 3)
        2.191
        >>> round(set_statistic([1.0, 1.0, 3.0], [-1.0, 0.0, 1.0], [*"aabcde"]), 3)
        2.191
    """
    x, y = np.asarray(photos, np.float64), np.asarray(controls, np.float64)
    if clusters is not None:
        x, y = _session_means(x, clusters[: len(x)]), _session_means(y, clusters[len(x) :])
    own = standardised(np.concatenate([x, y]), len(x))[: len(x)]
    return float(own.mean() / np.sqrt(1 / len(x) + 1 / len(y)))


def _session_means(scores: npt.NDArray[np.float64], own: Sequence[str]) -> npt.NDArray[np.float64]:
    _, unit = np.unique(np.asarray(own), return_inverse=True)
    return np.bincount(unit, weights=scores) / np.bincount(unit)


def case_share(
    rates: KnownRates,
    facts: CaseFacts,
    photo_scores: npt.ArrayLike,
    control_scores: npt.ArrayLike,
    clusters: Sequence[str] | None = None,
) -> UsageShare | None:
    """Which share of the photos was used (DUCI), by the study's cases of the nearest length.

    Args:
        rates: of the study.
        facts: of the case.
        photo_scores: primary scores.
        control_scores: of the controls.
        clusters: session of each photo.

    Returns:
        None outside the validated range, or where photos are called too alike.
    """
    calls = rates.reference.calls
    if validated(rates, facts) or not calls or not facts.steps:
        return None
    steps = float(facts.steps)
    known = min(calls, key=lambda c: abs(math.log(c.steps / steps)))
    x, y = np.asarray(photo_scores, np.float64), np.asarray(control_scores, np.float64)
    own = standardised(np.concatenate([x, y]), len(x))[: len(x)]
    hit = Rate(known.hits, known.members, known.member_cases)
    false = Rate(known.false, known.nonmembers, known.nonmember_cases)
    try:
        return share_used((own >= known.threshold).astype(float), hit, false, clusters=clusters)
    except NotEnoughDataError:
        return None


def case_rates(
    rates: KnownRates,
    facts: CaseFacts,
    likelihood: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the report's section on known error rates shows.

    Args:
        rates: of the study.
        facts: of the case, for the validated range.
        likelihood: from `weight.case_weight`, if the primary scores were weighed.
    """
    return {
        "study": f"{rates.source}; version {rates.tool}, seed {rates.seed}",
        "cases": {"guilty": rates.guilty, "innocent": rates.innocent},
        "outside": list(validated(rates, facts)),
        "letters": [
            {
                "letter": r.letter,
                "false_accusations": _share(r.innocent),
                "power": _share(r.guilty),
            }
            for r in rates.letters
        ],
        "signals": [
            {
                "name": s.name,
                "title": s.title,
                "auc": s.auc.value,
                "low": s.auc.low,
                "high": s.auc.high,
            }
            for s in rates.signals
        ],
        "p_uniform": [
            {"name": p.name, "p": p.uniform_p, "verdict": p.verdict} for p in rates.p_values
        ],
        "likelihood": None if likelihood is None else dict(likelihood),
    }


def _share(s: Share) -> dict[str, Any]:
    return {"k": s.hits, "n": s.trials, "share": s.hits / s.trials, "low": s.low, "high": s.high}
