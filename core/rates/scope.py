"""Whether known rates apply to a case, and the sentences that say so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .facts import KnownRates, Share
from .reading import TINY


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What decides whether known rates apply to a case; None where nobody knows.

    Attributes:
        base: SHA-256 of the base.
        family: of the base.
        photos: photos in question.
        controls: controls.
        rank: of the adapter.
        steps: optimiser steps, as the file claims.
        exposure: steps x batch / images, as the file claims.
        learning_rate: as the file claims.
    """

    base: str
    family: str
    photos: int
    controls: int
    rank: float | None = None
    steps: float | None = None
    exposure: float | None = None
    learning_rate: float | None = None


FACTS = {
    "rank": "rank of the adapter",
    "steps": "training steps",
    "exposure": "passes over each photo",
    "learning_rate": "learning rate",
    "photos": "photos in question",
    "controls": "controls",
}


def validated(rates: KnownRates, facts: CaseFacts) -> tuple[str, ...]:
    """Each way in which a case lies outside what was calibrated; empty when inside."""
    ways = []
    if facts.base != rates.base:
        measured = "the embedded tiny model" if rates.scale == TINY else "another base"
        ways.append(
            f"The known error rates were measured on {measured}, not on this base; for your base "
            "run `lora-forensics calibrate`."
        )
    if facts.family != rates.family:
        ways.append(f"The base is {facts.family}; calibrated was {rates.family}.")
    for name, title in FACTS.items():
        if name in rates.ranges:
            low, high = rates.ranges[name]
            # More controls than were calibrated only sharpen every test.
            high = math.inf if name == "controls" else high
            verb = "is" if name in ("rank", "learning_rate") else "are"
            ways += _outside(f"{title} {verb}", getattr(facts, name), low, high)
    return tuple(ways)


def _outside(subject: str, value: float | None, low: float, high: float) -> list[str]:
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    span = f"{low:g} or more" if high == math.inf else span
    if value is None:
        return [f"The {subject} not known; calibrated: {span}."]
    if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        return []
    return [f"The {subject} {value:g}, outside the calibrated {span}."]


def sentences(known: Mapping[str, Any], letter: str) -> list[str]:
    """What a study says of a case's letter: how often it came up, and whether it covers the case.

    Args:
        known: from `precedents.case_rates`, or from the JSON twin of a case.
        letter: of the verdict.
    """
    rates = {r["letter"]: (r["false_accusations"], r["power"]) for r in known.get("letters") or ()}
    outside = known.get("outside") or ()
    lines = []
    for name in (letter, "A or B"):
        if name in rates:
            innocent, guilty = (Share(r["k"], r["n"], r["low"], r["high"]) for r in rates[name])
            lines.append(
                f"Among adapters of known truth, verdict {name} came up for "
                f"{innocent.of('innocent ones')} and {guilty.of('guilty ones')}."
            )
    if outside:
        lines.append("This case lies outside what was measured; these rates may not hold for it.")
    return [*lines, *outside]
