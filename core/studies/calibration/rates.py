"""Results of cases with known truth -> rates: pure, no model, no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import NotEnoughDataError
from ...rates.facts import Estimate, FactorRate, LetterRate, PValueCheck, Share, SignalRate
from ...statistics.auc import auc
from ...statistics.intervals import bootstrap_ci, clopper_pearson
from ...statistics.ranks import conformal_p
from ...statistics.uniformity import uniformity
from ...verdicts.comparison import standardized as by_controls
from .cases import GUILTY, INNOCENT
from .examine import PRIMARY, Examined, MethodScores

LETTERS = ("A", "B", "A or B", "C", "D")
FACTORS = ("rank", "steps", "learning_rate", "photos", "quality")
LEVEL, STRONG = 0.05, 0.01
PROBE_CELLS = 100  # 199 relabellings, doubled for two probes
PRIMARY_P, PHOTO_P = "permutation test of the primary signal", "conformal p of one photo per case"
PLACEBO_P = "rank among placebo adapters"
Cell = tuple[float, int]  # a p-value and the number of values that it can take
Floats = npt.NDArray[np.float64]


class Method(NamedTuple):
    """A method's title for people; ``white box``, ``published``, ``black box``, ``extraction``."""

    title: str
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Finished cases by truth."""

    guilty: tuple[Examined, ...]
    innocent: tuple[Examined, ...]
    partial: tuple[Examined, ...]

    @staticmethod
    def of(examined: Sequence[Examined]) -> Results:
        """Sorted by truth, in order of their numbers.

        Raises:
            NotEnoughDataError: fewer than two guilty or two innocent cases (FEW_CASES).
        """
        rows = sorted(examined, key=lambda e: e.case.number)
        guilty = tuple(e for e in rows if e.case.used == GUILTY)
        innocent = tuple(e for e in rows if e.case.used == INNOCENT)
        if min(len(guilty), len(innocent)) < 2:
            raise NotEnoughDataError(
                "FEW_CASES",
                f"{len(guilty)} guilty and {len(innocent)} innocent cases are finished; rates need "
                "two of each at least, run `calibrate` on the folder again",
            )
        partial = tuple(e for e in rows if e.case.used not in (GUILTY, INNOCENT))
        return Results(guilty, innocent, partial)

    def all(self) -> tuple[Examined, ...]:
        """Every case, in order of its number."""
        every = (*self.guilty, *self.innocent, *self.partial)
        return tuple(sorted(every, key=lambda e: e.case.number))


def share(hits: int, trials: int) -> Share:
    """Hits among trials with their Clopper-Pearson interval.

    Example:
        >>> print(share(0, 36))
        0 of 36 (0.0% to 9.7%)
    """
    interval = clopper_pearson(hits, trials)
    return Share(hits, trials, interval.low, interval.high)


def counted(cases: Sequence[Examined], hit: Callable[[Examined], bool]) -> Share:
    """Share of cases for which something holds."""
    return share(sum(hit(e) for e in cases), len(cases))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean over cases with a bootstrap interval; one case has no interval but 0 to 1."""
    if len(values) < 2:
        return Estimate(float(np.mean(values)), 0.0, 1.0, len(values))
    interval = bootstrap_ci(values)
    return Estimate(interval.estimate, interval.low, interval.high, len(values))


def letter_rates(results: Results) -> tuple[LetterRate, ...]:
    """How often each verdict came up among innocent and guilty adapters."""
    return tuple(_letter_rate(letter, results) for letter in LETTERS)


def _letter_rate(letter: str, results: Results) -> LetterRate:
    parts = (results.innocent, results.guilty)
    rates = [counted(part, lambda e: e.letter in letter.split(" or ")) for part in parts]
    return LetterRate(letter, *rates)


def accused(e: Examined) -> bool:
    """Verdict A or B."""
    return e.letter in ("A", "B")


def case_auc(e: Examined, name: str) -> float:
    """Photos against controls of one case."""
    s = e.scores[name]
    return auc(s.photos, s.controls)


def standardized(s: MethodScores) -> tuple[Floats, Floats]:
    """Photos and controls in control standard deviations from the control mean."""
    every = by_controls(np.array([*s.photos, *s.controls]), len(s.photos))
    return every[: len(s.photos)], every[len(s.photos) :]


def pooled_auc(cases: Sequence[Examined], name: str) -> float:
    """AUC of all cases' photos against all their controls, after `standardized`."""
    sets = [standardized(e.scores[name]) for e in cases]
    photos, controls = (np.concatenate(part) for part in zip(*sets, strict=True))
    return auc(photos, controls)


def photo_alarms(e: Examined, name: str) -> float:
    """Share of photos with a conformal p of at most 0.05."""
    s = e.scores[name]
    return float((conformal_p(s.photos, s.controls) <= LEVEL).mean())


def signal_rate(results: Results, name: str, method: Method) -> SignalRate:
    """One method over all cases of full truth."""
    guilty, innocent = results.guilty, results.innocent
    return SignalRate(
        name=name,
        title=method.title,
        group=method.group,
        auc=estimate([case_auc(e, name) for e in guilty]),
        pooled=pooled_auc(guilty, name),
        innocent_auc=estimate([case_auc(e, name) for e in innocent]),
        false_alarm=counted(innocent, lambda e: e.scores[name].p <= LEVEL),
        power=counted(guilty, lambda e: e.scores[name].p <= LEVEL),
        photo_alarm=estimate([photo_alarms(e, name) for e in innocent]),
        photo_power=estimate([photo_alarms(e, name) for e in guilty]),
    )


def signal_rates(results: Results, methods: Mapping[str, Method]) -> tuple[SignalRate, ...]:
    """Every method that was run in every case, the strongest first."""
    names = [n for n in methods if all(n in e.scores for e in results.all())]
    rates = [signal_rate(results, name, methods[name]) for name in names]
    return tuple(sorted(rates, key=lambda r: -r.auc.value))


def p_values(results: Results, methods: Mapping[str, Method]) -> dict[str, list[Cell]]:
    """Every p-value of the pipeline over the innocent cases, with the cells it can fall in.

    One photo per case stands for the conformal p: photos of one case share their controls.
    """
    innocent = results.innocent
    cells = {
        PRIMARY_P: [_set_p(e, PRIMARY) for e in innocent],
        PHOTO_P: [first_photo_p(e) for e in innocent],
        "blind probe": [(e.probe_p, PROBE_CELLS) for e in innocent],
    }
    for kind in ("placebo", "noise"):
        if all(kind in e.nulls for e in innocent):
            ranks = [e.nulls[kind] for e in innocent]
            cells[f"rank among {kind} adapters"] = [(r.p, len(r.nulls) + 1) for r in ranks]
    others = [n for n in methods if n != PRIMARY and all(n in e.scores for e in innocent)]
    titles = {name: f"permutation test: {methods[name].title}" for name in others}
    return cells | {title: [_set_p(e, name) for e in innocent] for name, title in titles.items()}


def _set_p(e: Examined, name: str) -> Cell:
    s = e.scores[name]
    return s.p, round(1 / s.floor)


def first_photo_p(e: Examined) -> Cell:
    """Conformal p of a case's first photo; photos come in random order."""
    s = e.scores[PRIMARY]
    return float(conformal_p(s.photos[:1], s.controls)[0]), len(s.controls) + 1


def check_p(name: str, cells: Sequence[Cell]) -> PValueCheck:
    """Whether p-values of innocent cases are uniform on the grid that they can take."""
    p, grid = np.array([c[0] for c in cells]), [c[1] for c in cells]
    test = uniformity(p, grid)
    at = {r.level: share(int((p <= r.level + 1e-12).sum()), len(p)) for r in test.rates}
    return PValueCheck(
        name=name,
        cases=len(p),
        uniform_p=test.ks_p,
        too_small_p=test.excess_p,
        at_05=at[LEVEL],
        at_01=at[STRONG],
        verdict=test.verdict,
    )


def factor_rates(results: Results) -> tuple[FactorRate, ...]:
    """Accusations, power and the primary signal at each level of each factor."""
    rows = []
    for factor in FACTORS:
        for level in sorted({getattr(e.case, factor) for e in results.guilty}):
            at = [[e for e in part if getattr(e.case, factor) == level]
                  for part in (results.innocent, results.guilty)]  # fmt: skip
            if all(at):
                areas = estimate([case_auc(e, PRIMARY) for e in at[1]])
                false, power = (counted(part, accused) for part in at)
                rows.append(FactorRate(factor, str(level), false, power, areas))
    return tuple(rows)
