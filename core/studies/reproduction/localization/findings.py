"""The paper's findings as rules that were fixed before the run.

A difference of mean IoU is *held* where its interval over test pictures lies above 0 and every
seed agrees, *not held* where it lies below 0, else *undecided*. The interval knows nothing of other
trainings: that is what the seeds are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....localization.settings import METHOD_NAMES
from ....statistics.intervals import bootstrap_ci
from ...rules import HELD, NOT_HELD, UNDECIDED, PaperFinding, Rule, RuleAnswer, above, every
from ...tables import signed
from .published import PUBLISHED

Cells = Mapping[tuple[str, str], NDArray[np.floating]]
"""IoU ``[seeds, pictures]`` on the main test by setup and method."""
Generators = Mapping[str, Mapping[str, float]]
"""Mean IoU of Patches C by the generator trained on, then by the one tested on."""
_EVERY = "every difference of mean IoU: interval above 0 and seeds agree; not held if one is below"
Pair = tuple[str, tuple[str, str], tuple[str, str]]
"""Name of a difference, the cell that should be better, the other."""


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
        outcome = above(self)
        return UNDECIDED if outcome == HELD and not self.agree else outcome

    @property
    def words(self) -> str:
        """In numbers."""
        text = f"{self.name}: {signed(self.mean, self.low, self.high)}"
        return text if self.agree else f"{text}, seeds disagree"


def difference(name: str, better: NDArray[np.floating], worse: NDArray[np.floating]) -> Difference:
    """Paired over pictures; arrays are ``[seeds, pictures]``."""
    gaps = better - worse
    interval = bootstrap_ci(gaps.mean(0))
    signs = np.sign(gaps.mean(1))
    agree = bool((signs == np.sign(interval.estimate)).all())
    return Difference(name, interval.estimate, interval.low, interval.high, agree)


def judged_findings(cells: Cells, generators: Generators) -> list[PaperFinding]:
    """All findings that the run has the cells for."""
    findings = [rule.judge(cells, cells) for rule in RULES if cells.keys() >= set(rule.needs)]
    return [*findings, TRANSFER.judge(generators, ())] if len(generators) > 1 else findings


def _all_above(pairs: Iterable[Pair]) -> Callable[[Cells], RuleAnswer]:
    def decide(cells: Cells) -> RuleAnswer:
        parts = [difference(name, cells[better], cells[worse]) for name, better, worse in pairs]
        return RuleAnswer(every(p.outcome for p in parts), "; ".join(p.words for p in parts))

    return decide


def _rule(name: str, claim: str, published: str, pairs: list[Pair]) -> Rule[Cells]:
    needs = tuple(dict.fromkeys(cell for _, *both in pairs for cell in both))
    return Rule(name, claim, _EVERY, published, needs, _all_above(pairs))


def _transfer(generators: Generators) -> RuleAnswer:
    """Each generator against the mean of the others, on its own test pictures."""
    lost = {
        own: tested[own] - float(np.mean([v for other, v in tested.items() if other != own]))
        for own, tested in generators.items()
    }
    outcome = HELD if min(lost.values()) > 0 else NOT_HELD if max(lost.values()) < 0 else UNDECIDED
    return RuleAnswer(outcome, "; ".join(f"{name} {gap:+.3f}" for name, gap in lost.items()))


_A, _B, _C = (
    {method: cell.iou for method, cell in PUBLISHED.table[setup].items()} for setup in "ABC"
)
_LABELS, (_OWN, _FOREIGN) = [*_A.values(), *_B.values()], PUBLISHED.foreign["Patches, setup C"]
RULES: tuple[Rule[Cells], ...] = (
    _rule(
        "masks_first",
        "Masks (C) beat labels (A, B) in every method",
        f"{min(_C.values())} to {max(_C.values())} against {min(_LABELS)} to {max(_LABELS)}",
        [(f"{m} C - {s}", ("C", m), (s, m)) for m in METHOD_NAMES for s in "AB"],
    ),
    _rule(
        "patches_first",
        "Under labels Patches beats Grad-CAM and Attention",
        "; ".join(
            f"{s} {own['patches']} against {own['gradcam']} and {own['attention']}"
            for s, own in (("A", _A), ("B", _B))
        ),
        [
            (f"{s} patches - {m}", (s, "patches"), (s, m))
            for s in "AB"
            for m in ("gradcam", "attention")
        ],
    ),
    _rule(
        "whole_first",
        "Patches learns better from whole fakes (A) than from spliced ones (B)",
        f"{_A['patches']} against {_B['patches']}",
        [("patches A - B", ("A", "patches"), ("B", "patches"))],
    ),
)
TRANSFER: Rule[Generators] = Rule(
    "transfer",
    "A localizer loses on generators that it was not trained on",
    "own generator minus the mean of the others, mean IoU: above 0 for each",
    f"{_OWN} on its own, {_FOREIGN} on COCO Glide",
    (),
    _transfer,
)
