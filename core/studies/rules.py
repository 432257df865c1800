"""Findings of a paper as rules that were fixed before a run, and what the run says of them.

A finding is *held* or *not held* only where an interval says so; else it is *undecided*.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..records import Reader

HELD, NOT_HELD, UNDECIDED, NOT_RUN = "held", "not held", "undecided", "not run"
Data = TypeVar("Data")
Kind = TypeVar("Kind")


class Bounded(Protocol):
    """An interval."""

    @property
    def low(self) -> float: ...  # noqa: D102

    @property
    def high(self) -> float: ...  # noqa: D102


class RuleAnswer(NamedTuple):
    """An outcome, and the numbers it rests on in words."""

    outcome: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Rule(Generic[Data]):
    """A finding, and when it counts as held.

    Attributes:
        name: short and stable.
        claim: the finding in words.
        rule: when it counts as held, and when as not held.
        published: the paper's numbers.
        needs: keys of the results that it rests on.
        decide: what a run's results say.
    """

    name: str
    claim: str
    rule: str
    published: str
    needs: tuple[Any, ...]
    decide: Callable[[Data], RuleAnswer]

    def judge(self, data: Data, known: Container[Any]) -> PaperFinding:
        """What a run says; ``not run`` where one of its keys is not among the known."""
        missing = [str(key) for key in self.needs if key not in known]
        not_run = RuleAnswer(NOT_RUN, f"needs row {', '.join(missing)}")
        answer = not_run if missing else self.decide(data)
        return PaperFinding(self.name, self.claim, self.rule, self.published, *answer)


@dataclass(frozen=True, slots=True)
class PaperFinding:
    """What a run says about a finding: of its `Rule`, and the answer."""

    name: str
    claim: str
    rule: str
    published: str
    outcome: str
    numbers: str


def above(interval: Bounded, bound: float = 0.0) -> str:
    """Held when all of the interval lies above `bound`, not held when all lies below."""
    if interval.low > bound:
        return HELD
    return NOT_HELD if interval.high < bound else UNDECIDED


def every(outcomes: Iterable[str]) -> str:
    """Held when all are, not held when one is not held."""
    answers = set(outcomes)
    return HELD if answers == {HELD} else NOT_HELD if NOT_HELD in answers else UNDECIDED


def printed(kind: type[Kind], path: Path) -> Kind:
    """The numbers that a paper printed, from their file in the package."""
    reader = Reader(str(path), "BROKEN_INSTALL", "install the package again")
    return reader.read(kind, path.read_bytes())
