"""The paper's findings as rules that were fixed before the run.

A difference of mean IoU is *held* where its interval over test pictures lies above 0 and every
seed agrees, *not held* where it lies below 0, else *undecided*. The interval knows nothing of other
trainings: that is what the seeds are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....localization.settings import METHOD_NAMES
from ....statistics.intervals import bootstrap_ci
from ..findings import HELD, NOT_HELD, UNDECIDED

Cells = Mapping[tuple[str, str], NDArray[np.floating]]
"""IoU ``[seeds, pictures]`` on the main test by setup and method."""
Generators = Mapping[str, Mapping[str, float]]
"""Mean IoU of Patches C by the generator trained on, then by the one tested on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison: mean, interval, and whether every seed has its sign."""

    name: str
    mean: float
    low: float
    high: float
    agree: bool

    @property
    def outcome(self) -> str:
        """See the module."""
        if self.low > 0 and self.agree:
            return HELD
        return NOT_HELD if self.high < 0 else UNDECIDED

    @property
    def words(self) -> str:
        """In numbers."""
        told = f"{self.name}: {self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        return told if self.agree else f"{told}, seeds disagree"


def difference(name: str, better: NDArray[np.floating], worse: NDArray[np.floating]) -> Difference:
    """Paired over pictures; arrays are ``[seeds, pictures]``."""
    gaps = better - worse
    found = bootstrap_ci(gaps.mean(0))
    signs = np.sign(gaps.mean(1))
    agree = bool((signs == np.sign(found.estimate)).all())
    return Difference(name, found.estimate, found.low, found.high, agree)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a run says about one finding; fields as `reproduction.findings.Found`."""

    name: str
    claim: str
    rule: str
    published: str
    outcome: str
    numbers: str


def judged_findings(cells: Cells, generators: Generators) -> list[Finding]:
    """All findings that the run has the cells for."""
    found = [_all(*claim[:4], claim[4](cells)) for claim in CLAIMS if _there(claim[5], cells)]
    return [*found, _transfer(generators)] if len(generators) > 1 else found


def _there(wanted: Sequence[tuple[str, str]], cells: Cells) -> bool:
    return all(cell in cells for cell in wanted)


def _all(name: str, claim: str, rule: str, published: str, parts: Sequence[Difference]) -> Finding:
    outcomes = {p.outcome for p in parts}
    outcome = (
        NOT_HELD if NOT_HELD in outcomes else outcomes.pop() if len(outcomes) == 1 else UNDECIDED
    )
    return Finding(name, claim, rule, published, outcome, "; ".join(p.words for p in parts))


def _masks_first(cells: Cells) -> list[Difference]:
    return [
        difference(f"{m} C - {s}", cells["C", m], cells[s, m]) for m in METHOD_NAMES for s in "AB"
    ]


def _patches_first(cells: Cells) -> list[Difference]:
    return [
        difference(f"{s} patches - {m}", cells[s, "patches"], cells[s, m])
        for s in "AB"
        for m in ("gradcam", "attention")
    ]


def _whole_first(cells: Cells) -> list[Difference]:
    return [difference("patches A - B", cells["A", "patches"], cells["B", "patches"])]


_WEAK = [(s, m) for s in "AB" for m in METHOD_NAMES]
_RULE = "every difference of mean IoU: interval above 0 and seeds agree; not held if one is below"
CLAIMS: list[
    tuple[str, str, str, str, Callable[[Cells], list[Difference]], list[tuple[str, str]]]
] = [
    (
        "masks_first", "Masks (C) beat labels (A, B) in every method", _RULE,
        "70.3 to 84.5 against 9.7 to 64.9", _masks_first,
        [*_WEAK, *(("C", m) for m in METHOD_NAMES)],
    ),
    (
        "patches_first", "Under labels Patches beats Grad-CAM and Attention", _RULE,
        "A 64.9 against 16.8 and 9.7; B 37.7 against 21.5 and 23.2", _patches_first, _WEAK,
    ),
    (
        "whole_first", "Patches learns better from whole fakes (A) than from spliced ones (B)",
        _RULE, "64.9 against 37.7", _whole_first, [("A", "patches"), ("B", "patches")],
    ),
]  # fmt: skip


def _transfer(generators: Generators) -> Finding:
    """Each generator against the mean of the others, on its own test pictures."""
    lost = {
        own: tested[own] - float(np.mean([v for other, v in tested.items() if other != own]))
        for own, tested in generators.items()
    }
    outcome = HELD if min(lost.values()) > 0 else NOT_HELD if max(lost.values()) < 0 else UNDECIDED
    return Finding(
        "transfer",
        "A localiser loses on generators that it was not trained on",
        "own generator minus the mean of the others, mean IoU: above 0 for each",
        "84.5 on its own, 30.8 on COCO Glide",
        outcome,
        "; ".join(f"{name} {gap:+.3f}" for name, gap in lost.items()),
    )
