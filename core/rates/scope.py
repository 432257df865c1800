"""Whether known rates apply to a case, and what a report says about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import plural
from .facts import KnownRates
from .reading import TINY


@dataclass(frozen=True, slots=True)
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
    "steps": "number of training steps",
    "exposure": "number of passes over each photo",
    "learning_rate": "learning rate",
    "photos": "number of photos in question",
    "controls": "number of controls",
}


def validated(rates: KnownRates, facts: CaseFacts) -> tuple[str, ...]:
    """Each way in which a case lies outside what was calibrated; empty when inside."""
    found = []
    if facts.base != rates.base:
        measured = "the embedded tiny model" if rates.scale == TINY else "another base"
        found.append(
            f"The known error rates were measured on {measured}, not on this base; for your base "
            "run `lora-forensics calibrate`."
        )
    if facts.family != rates.family:
        found.append(f"The base is {facts.family}; calibrated was {rates.family}.")
    for name, title in FACTS.items():
        if name in rates.ranges:
            low, high = rates.ranges[name]
            # More controls than were calibrated only sharpen every test.
            high = math.inf if name == "controls" else high
            found += _outside(title, getattr(facts, name), low, high)
    return tuple(found)


def _outside(title: str, value: float | None, low: float, high: float) -> list[str]:
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    span = f"{low:g} or more" if high == math.inf else span
    if value is None:
        return [f"The {title} is not known; calibrated: {span}."]
    if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        return []
    return [f"The {title} is {value:g}, outside the calibrated {span}."]


def sentences(rates: KnownRates, letter: str, facts: CaseFacts) -> tuple[str, ...]:
    """What a report says about its own error rates: the study, the letter, and its limits.

    Args:
        rates: of the study.
        letter: the verdict.
        facts: of the case.
    """
    total = rates.guilty + rates.innocent
    both, own = rates.letter("A or B"), rates.letter(letter)
    said = [f"Known error rates: {plural(total, 'adapter')} of known truth ({rates.source})."]
    if both is not None:
        said.append(
            f"Verdicts A and B together accused {both.innocent.of('innocent ones')} and found "
            f"{both.guilty.of('guilty ones')}."
        )
    if own is not None:
        said.append(
            f"Verdict {letter} came up for {own.innocent.of('innocent ones')} and "
            f"{own.guilty.of('guilty ones')}."
        )
    if rates.shared_photos:
        said.append("Its cases share photos: the intervals are narrower than they should be.")
    outside = validated(rates, facts)
    inside = "This case lies inside the validated range."
    warned = "OUTSIDE THE VALIDATED RANGE: the rates above may not hold for this case."
    return (*said, warned if outside else inside, *outside)
