"""What a calibration study knows about a case: error rates, share of photos, likelihood ratio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..lora.inspection import Inspection
from ..verdicts.evidence import MembershipEvidence
from . import CaseFacts, KnownRates
from .known import case_rates, case_share
from .weight import case_weight


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
    known = CaseFacts(str(models["base_sha256"]), str(models["family"]), photos, controls)
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
    own = None if clusters is None else clusters[: len(c.photo_scores)]
    weight = case_weight(rates, facts, c.photo_scores, c.control_scores, clusters)
    share = case_share(rates, facts, c.photo_scores, c.control_scores, own)
    return case_rates(rates, facts, weight), replace(membership, usage=share)
