"""The four lines of evidence: what each is called, what it can say and what it cannot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line of evidence in words."""

    title: str
    can: str
    cannot: str


LINES: dict[str, Line] = {
    "inspection": Line(
        "Inspection",
        "What the file holds: which layers it changes, how strongly, what its metadata claims.",
        "Whether any photo was used. Anyone can edit or copy metadata.",
    ),
    "membership": Line(
        "White-box membership",
        "Whether the adapter makes the model predict these photos better than it does controls.",
        "Which single photo was used. Look-alikes and same-source photos move the same way.",
    ),
    "extraction": Line(
        "Extraction",
        "Which pictures the model gives back, and whether they resemble a photo more than any "
        "control.",
        "Absence of use: most training photos can never be pulled out. A likeness of a person is "
        "not a copy of a photo.",
    ),
    "attack": Line(
        "Black-box attack",
        "Whether the photos share traits with the images that the model makes, as a population.",
        "Photos apart within one source: published AUC 0.53 inside one institution, where 0.5 is "
        "chance.",
    ),
}
