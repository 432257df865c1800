"""What a calibration study says of a case: error rates, share of photos, likelihood ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingDependencyError, NotEnoughDataError
from ..lora.inspection import Inspection
from ..statistics.likelihood import calibration_quality, likelihood_ratio
from ..statistics.usage import Rate, UsageShare, share_used
from ..verdicts.comparison import standardized
from ..verdicts.evidence import MembershipEvidence
from .facts import KnownRates, PhotoCalls, Share
from .scope import CaseFacts, validated


def case_facts(
    models: Mapping[str, Any], inspection: Inspection | None, photos: int, controls: int
) -> CaseFacts:
    """What decides whether known rates apply; a file's claims are taken as claims.

    Args:
        models: facts of the pair: ``base_sha256`` and ``family``.
        inspection: of the suspect's file; None for a full checkpoint.
        photos: photos in question.
        controls: controls.
    """
    known = CaseFacts(
        base=str(models["base_sha256"]),
        family=str(models["family"]),
        photos=photos,
        controls=controls,
    )
    if inspection is None:
        return known
    claims, passes = inspection.claims, inspection.exposure
    rate = claims.text.get("unet_lr") or claims.text.get("learning_rate")
    return replace(
        known,
        rank=max((float(r) for r in inspection.ranks if r.isdigit()), default=None),
        steps=claims.steps,
        exposure=None if passes is None else passes.passes,
        learning_rate=_number(rate),
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def precedents(
    rates: KnownRates,
    facts: CaseFacts,
    membership: MembershipEvidence,
    clusters: tuple[str, ...] | None = None,
) -> tuple[dict[str, Any], MembershipEvidence]:
    """Known rates as the report prints them, and the evidence with the share of photos used.

    Args:
        rates: of a calibration study.
        facts: of the case.
        membership: the primary line.
        clusters: session of each photo, then of each control.
    """
    c = membership.comparison
    weight = case_weight(rates, facts, c.photo_scores, c.control_scores, clusters)
    share = case_share(rates, facts, c.photo_scores, c.control_scores, clusters)
    return case_rates(rates, facts, weight), replace(membership, usage=share)


def case_rates(
    rates: KnownRates,
    facts: CaseFacts,
    likelihood: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the report's section on known error rates shows.

    Args:
        rates: of the study.
        facts: of the case, for the validated range.
        likelihood: from `case_weight`, if the primary scores were weighed.
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
        clusters: session of each photo, then of each control.

    Returns:
        None outside the validated range, or where photos are called too alike.
    """
    calls = rates.reference.calls
    if validated(rates, facts) or not calls or not facts.steps:
        return None
    steps = float(facts.steps)
    nearest = min(calls, key=lambda c: abs(math.log(c.steps / steps)))
    x, y = np.asarray(photo_scores, np.float64), np.asarray(control_scores, np.float64)
    own = standardized(np.concatenate([x, y]), len(x))[: len(x)]
    return called_share(nearest, own, clusters=None if clusters is None else clusters[: len(x)])


def called_share(
    calls: PhotoCalls,
    scores: npt.NDArray[np.float64],
    *,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
) -> UsageShare | None:
    """Which share of the photos was used (DUCI), by calls whose error rates are known.

    Args:
        calls: threshold and error rates.
        scores: ``[n]`` standardized primary scores of the photos.
        seed: of the interval.
        clusters: session of each photo.

    Returns:
        None where photos are called too alike.
    """
    hit = Rate(calls.hits, calls.members, calls.member_cases)
    false = Rate(calls.false, calls.nonmembers, calls.nonmember_cases)
    called = (scores >= calls.threshold).astype(float)
    try:
        return share_used(called, hit, false, seed=seed, clusters=clusters)
    except NotEnoughDataError:
        return None


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


def set_statistic(
    photos: npt.ArrayLike, controls: npt.ArrayLike, clusters: Sequence[str] | None = None
) -> float:
    """Mean standardized photo score over its standard error: comparable between set sizes.

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
    own = standardized(np.concatenate([x, y]), len(x))[: len(x)]
    return float(own.mean() / np.sqrt(1 / len(x) + 1 / len(y)))


def _session_means(scores: npt.NDArray[np.float64], own: Sequence[str]) -> npt.NDArray[np.float64]:
    _, unit = np.unique(np.asarray(own), return_inverse=True)
    return np.bincount(unit, weights=scores) / np.bincount(unit)
