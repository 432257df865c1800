"""The paper's qualitative findings and two of the specification's, as rules fixed beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ...statistics.intervals import Interval
from ..rules import HELD, NOT_HELD, UNDECIDED, PaperFinding, Rule, RuleAnswer, above, every
from ..tables import figure, signed, span
from .estimates import SeedScores, Sound, difference, sound_interval
from .rows import POINTS, PUBLISHED

NEAR_CHANCE, NEAR_ONE = 0.60, 0.95
MARK_HELP, MIXING_LOSS = 0.05, 0.10
ACCUSED = 0.05


class RunResults(NamedTuple):
    """What the rules look at.

    Attributes:
        scores: by key of the row.
        rates: conviction rates at K = 50 by key of the row.
    """

    scores: Mapping[str, SeedScores]
    rates: Mapping[str, float | None]

    def gain(self, first: str, second: str) -> Interval:
        """AUC of one row minus another's, on the same photos."""
        return difference(self.scores[first], self.scores[second], paired=True)


Decide = Callable[[RunResults], RuleAnswer]


def _of_gain(first: str, second: str, outcome: Callable[[Interval], str]) -> Decide:
    """A rule about a difference of two rows."""

    def decide(run: RunResults) -> RuleAnswer:
        gain = run.gain(first, second)
        return RuleAnswer(outcome(gain), _told(f"row {first} minus row {second}:", gain))

    return decide


def _of_area(row: str, outcome: Callable[[Sound], str]) -> Decide:
    """A rule about the AUC of one row."""

    def decide(run: RunResults) -> RuleAnswer:
        area = sound_interval(run.scores[row])
        return RuleAnswer(outcome(area), f"row {row}: {span(area.auc, area.low, area.high)}")

    return decide


def _of_rate(row: str, good: Callable[[float], bool]) -> Decide:
    """A rule about how often a textbook test convicts."""

    def decide(run: RunResults) -> RuleAnswer:
        rate = run.rates.get(row)
        if rate is None:
            return RuleAnswer(UNDECIDED, "fewer than 50 photos on a side")
        return RuleAnswer(HELD if good(rate) else NOT_HELD, f"row {row}, K = 50: {rate:.3f}")

    return decide


def _told(name: str, value: Interval) -> str:
    return f"{name} {signed(value.estimate, value.low, value.high)}"


def _near_chance(area: Sound) -> str:
    if area.low >= NEAR_CHANCE:
        return NOT_HELD
    return HELD if area.auc < NEAR_CHANCE else UNDECIDED


def _no_help(gain: Interval) -> str:
    return HELD if gain.high < MARK_HELP else NOT_HELD if gain.low > 0 else UNDECIDED


def _not_chance(area: Sound) -> str:
    if area.low > 0.5 or area.high < 0.5:
        return HELD
    return NOT_HELD if area.low > 0.45 and area.high < 0.55 else UNDECIDED


def _middle_guidance(run: RunResults) -> RuleAnswer:
    """The mean of points 4, 8 and 12 above each end of the figure."""
    gains = {end: _mean([run.gain(f"6/{p}", f"6/{end}") for p in POINTS[1:-1]])
             for end in (POINTS[0], POINTS[-1])}  # fmt: skip
    words = [_told(f"middle minus {end}:", gain) for end, gain in gains.items()]
    return RuleAnswer(every(map(above, gains.values())), "; ".join(words))


def _mean(gains: Sequence[Interval]) -> Interval:
    """Mean of paired gains; its width is the mean width, as if the gains moved together."""
    ends = [(g.estimate, g.low, g.high) for g in gains]
    middle, low, high = (sum(values) / len(gains) for values in zip(*ends, strict=True))
    return Interval(middle, low, high, gains[0].level, "mean of paired differences")


def _printed(*keys: str, between: str = " ") -> str:
    """The published AUC of rows."""
    return between.join(figure(PUBLISHED[key].auc) for key in keys)


RULES: tuple[Rule[RunResults], ...] = (
    Rule(
        "generated negatives",
        "Generated negatives beat real ones",
        "row 7 minus row 2 (same test photos): interval above 0; not held if below 0",
        f"{_printed('7', '2', between=' minus ')}; row 4/400 {_printed('4/400')}",
        ("2", "7"),
        _of_gain("7", "2", above),
    ),
    Rule(
        "near chance",
        "Seen against unseen photos of one institution is near chance",
        "row 8 below .60; not held if its whole interval is at .60 or above",
        _printed("8"),
        ("8",),
        _of_area("8", _near_chance),
    ),
    Rule(
        "visible mark",
        "A visible mark brings the AUC near 1",
        "row 11: interval above .95; not held if below",
        _printed("11"),
        ("11",),
        _of_area("11", lambda area: above(area, NEAR_ONE)),
    ),
    Rule(
        "faint mark",
        "A faint mark is no help",
        "row 12 minus row 4/400: interval below +.05; not held if above 0",
        _printed("12", "4/400", between=" minus "),
        ("12", "4/400"),
        _of_gain("12", "4/400", _no_help),
    ),
    Rule(
        "middle guidance",
        "Middle guidance is best",
        "mean of points 4, 8, 12 minus each end: both intervals above 0; not held if one is below",
        _printed(*(f"6/{p}" for p in POINTS)),
        tuple(f"6/{p}" for p in POINTS),
        _middle_guidance,
    ),
    Rule(
        "mixing",
        "Mixing in other photos does not hurt much",
        "row 13 minus row 4/400: interval above -.10; not held if below",
        _printed("13", "4/400", between=" minus "),
        ("13", "4/400"),
        _of_gain("13", "4/400", lambda change: above(change, -MIXING_LOSS)),
    ),
    Rule(
        "untouched base",
        "The untouched base is not at .5",
        "row 9: interval without .5; not held if within .45 to .55",
        _printed("9"),
        ("9",),
        _of_area("9", _not_chance),
    ),
    Rule(
        "false accusation",
        "A textbook test on its scores convicts the untouched base",
        "row 9, K = 50: rate above .05; not held otherwise",
        figure(PUBLISHED["9"].convicted["50"]),
        ("9",),
        _of_rate("9", lambda rate: rate > ACCUSED),
    ),
    Rule(
        "base negatives",
        "Negatives from the base remove that",
        "row 10, K = 50: rate at most .05; not held otherwise",
        figure(PUBLISHED["10"].convicted["50"], 3),
        ("10",),
        _of_rate("10", lambda rate: rate <= ACCUSED),
    ),
)


def judge(
    scores: Mapping[str, SeedScores], rates: Mapping[str, float | None]
) -> tuple[PaperFinding, ...]:
    """Every finding, with what this run says; ``not run`` where a row is missing.

    Args:
        scores: of the rows that were run, by key.
        rates: conviction rates at K = 50 by row key.
    """
    return tuple(rule.judge(RunResults(scores, rates), scores) for rule in RULES)
