"""The paper's qualitative findings and two of the specification's, as rules fixed beforehand.

A finding is *held* or *not held* only where the interval says so; else it is *undecided*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...statistics.intervals import Interval
from .estimates import Scores, Sound, difference, sound_interval

NEAR_CHANCE, NEAR_ONE = 0.60, 0.95
MARK_HELP, MIXING_LOSS = 0.05, 0.10
ACCUSED = 0.05
HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"


@dataclass(frozen=True, slots=True)
class Found:
    """What one run says about one finding.

    Attributes:
        name: short and stable.
        claim: the finding in words.
        rule: when it counts as held, and when as not held.
        rows: keys of the rows it rests on.
        outcome: ``held``, ``not held``, ``undecided``, or ``not run``.
        numbers: what was compared with the rule.
        published: the same numbers of the paper.
    """

    name: str
    claim: str
    rule: str
    rows: tuple[str, ...]
    outcome: str
    numbers: str = ""
    published: str = ""


class Answer(NamedTuple):
    """Outcome and its numbers in words."""

    outcome: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule. `decide` takes scores and conviction rates at K = 50 by row key."""

    name: str
    claim: str
    rule: str
    rows: tuple[str, ...]
    published: str
    decide: Callable[[Mapping[str, Scores], Mapping[str, float | None]], Answer]


Rates = Mapping[str, float | None]
ByRow = Mapping[str, Scores]


def above(value: Interval | Sound, bound: float) -> str:
    """Held when all of the interval lies above `bound`, not held when all lies below."""
    if value.low > bound:
        return HELD
    return NOT_HELD if value.high < bound else UNDECIDED


def _told(name: str, value: Interval) -> str:
    return f"{name} {value.estimate:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _auc(name: str, value: Sound) -> str:
    return f"{name} {value.auc:.3f} ({value.low:.3f} to {value.high:.3f})"


def generated_negatives(scores: ByRow, rates: Rates) -> Answer:
    """Row 7 minus row 2: the same test photos, generated against real label-0 images."""
    gain = difference(scores["7"], scores["2"], paired=True)
    return Answer(above(gain, 0.0), _told("row 7 minus row 2:", gain))


def near_chance(scores: ByRow, rates: Rates) -> Answer:
    """Row 8 below 0.60, or at least not shown to be above it."""
    area = sound_interval(scores["8"])
    below = area.auc < NEAR_CHANCE and area.low < NEAR_CHANCE
    outcome = HELD if below else NOT_HELD if area.low >= NEAR_CHANCE else UNDECIDED
    return Answer(outcome, _auc("row 8:", area))


def visible_mark(scores: ByRow, rates: Rates) -> Answer:
    """Row 11 above 0.95."""
    area = sound_interval(scores["11"])
    return Answer(above(area, NEAR_ONE), _auc("row 11:", area))


def faint_mark(scores: ByRow, rates: Rates) -> Answer:
    """Row 12 no more than 0.05 above row 4/400; not held when above it for certain."""
    gain = difference(scores["12"], scores["4/400"], paired=True)
    outcome = HELD if gain.high < MARK_HELP else NOT_HELD if gain.low > 0 else UNDECIDED
    return Answer(outcome, _told("row 12 minus row 4/400:", gain))


def middle_guidance(scores: ByRow, rates: Rates) -> Answer:
    """The mean of points 4, 8 and 12 above each end of the figure."""
    points = [f"6/{k}" for k in ("4", "8", "12")]
    gains = {end: _mean_gain(scores, points, f"6/{end}") for end in ("0", "16")}
    outcomes = {above(gain, 0.0) for gain in gains.values()}
    outcome = HELD if outcomes == {HELD} else NOT_HELD if NOT_HELD in outcomes else UNDECIDED
    told = [_told(f"middle minus {end}:", gain) for end, gain in gains.items()]
    return Answer(outcome, "; ".join(told))


def _mean_gain(scores: ByRow, points: list[str], end: str) -> Interval:
    """Mean of paired gains; its width is the mean width, as if the gains moved together."""
    gains = [difference(scores[p], scores[end], paired=True) for p in points]
    low, middle, high = (
        sum(values) / len(gains)
        for values in zip(*((g.low, g.estimate, g.high) for g in gains), strict=True)
    )
    return Interval(middle, low, high, gains[0].level, "mean of paired differences")


def mixing(scores: ByRow, rates: Rates) -> Answer:
    """Row 13 less than 0.10 below row 4/400."""
    change = difference(scores["13"], scores["4/400"], paired=True)
    return Answer(above(change, -MIXING_LOSS), _told("row 13 minus row 4/400:", change))


def base_is_not_chance(scores: ByRow, rates: Rates) -> Answer:
    """Row 9 away from 0.5; not held when its interval lies within 0.45 to 0.55."""
    area = sound_interval(scores["9"])
    if area.low > 0.5 or area.high < 0.5:
        return Answer(HELD, _auc("row 9:", area))
    near = area.low > 0.45 and area.high < 0.55
    return Answer(NOT_HELD if near else UNDECIDED, _auc("row 9:", area))


def convicts_the_innocent(scores: ByRow, rates: Rates) -> Answer:
    """Row 9, K = 50: more than 5% of textbook tests convict the untouched base."""
    return _rate("9", rates, lambda rate: rate > ACCUSED)


def base_negatives_spare(scores: ByRow, rates: Rates) -> Answer:
    """Row 10, K = 50: at most 5% do when label 0 is the base too."""
    return _rate("10", rates, lambda rate: rate <= ACCUSED)


def _rate(row: str, rates: Rates, good: Callable[[float], bool]) -> Answer:
    rate = rates.get(row)
    if rate is None:
        return Answer(UNDECIDED, "fewer than 50 photos on a side")
    return Answer(HELD if good(rate) else NOT_HELD, f"row {row}, K = 50: {rate:.3f}")


FINDINGS: tuple[Finding, ...] = (
    Finding(
        "generated negatives",
        "Generated negatives beat real ones",
        "row 7 minus row 2 (same test photos): interval above 0; not held if below 0",
        ("2", "7"),
        ".89 minus .71; row 4/400 .86",
        generated_negatives,
    ),
    Finding(
        "near chance",
        "Seen against unseen photos of one institution is near chance",
        "row 8 below .60; not held if its whole interval is at .60 or above",
        ("8",),
        ".53",
        near_chance,
    ),
    Finding(
        "visible mark",
        "A visible mark brings the AUC near 1",
        "row 11: interval above .95; not held if below",
        ("11",),
        "1.00",
        visible_mark,
    ),
    Finding(
        "faint mark",
        "A faint mark is no help",
        "row 12 minus row 4/400: interval below +.05; not held if above 0",
        ("12", "4/400"),
        ".83 minus .86",
        faint_mark,
    ),
    Finding(
        "middle guidance",
        "Middle guidance is best",
        "mean of points 4, 8, 12 minus each end: both intervals above 0; not held if one is below",
        ("6/0", "6/4", "6/8", "6/12", "6/16"),
        ".70 .87 .89 .85 .58",
        middle_guidance,
    ),
    Finding(
        "mixing",
        "Mixing in other photos does not hurt much",
        "row 13 minus row 4/400: interval above -.10; not held if below",
        ("13", "4/400"),
        ".83 minus .86",
        mixing,
    ),
    Finding(
        "untouched base",
        "The untouched base is not at .5",
        "row 9: interval without .5; not held if within .45 to .55",
        ("9",),
        ".66",
        base_is_not_chance,
    ),
    Finding(
        "false accusation",
        "A textbook test on its scores convicts the untouched base",
        "row 9, K = 50: rate above .05; not held otherwise",
        ("9",),
        ".67",
        convicts_the_innocent,
    ),
    Finding(
        "base negatives",
        "Negatives from the base remove that",
        "row 10, K = 50: rate at most .05; not held otherwise",
        ("10",),
        ".004",
        base_negatives_spare,
    ),
)


def judge(scores: ByRow, rates: Rates) -> tuple[Found, ...]:
    """Every finding, with what this run says; ``not run`` where a row is missing.

    Args:
        scores: of the rows that were run, by key.
        rates: conviction rates at K = 50 by row key.
    """
    return tuple(_judged(finding, scores, rates) for finding in FINDINGS)


def _judged(finding: Finding, scores: ByRow, rates: Rates) -> Found:
    missing = [key for key in finding.rows if key not in scores]
    if missing:
        answer = Answer("not run", f"needs row {', '.join(missing)}")
    else:
        answer = finding.decide(scores, rates)
    f = finding
    return Found(f.name, f.claim, f.rule, f.rows, answer.outcome, answer.numbers, f.published)
