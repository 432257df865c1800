"""All results of a study as the rates that reports cite, with the claims that it was to test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...errors import RunError
from ...membership.findings import PRIMARY as BASE_RATIO
from ...membership.signals import SIGNALS
from ...rates.facts import CaseRow, Claim, KnownRates, LetterRate, PValueCheck, SignalRate
from ...records import Reader
from ...storage import write_atomic
from .document import render
from .examine import ATTACK, EXTRACTION, FUSION, PRIMARY, RESIDUAL, Examined, read_examined
from .folders import PLAN, Plan, StudyFolder
from .rates import (
    LEVEL,
    PHOTO_P,
    PLACEBO_P,
    PRIMARY_P,
    STRONG,
    Method,
    Results,
    case_auc,
    check_p,
    estimate,
    factor_rates,
    letter_rates,
    p_values,
    signal_rates,
)
from .settings import CalibrationSpec
from .weighing import case_usage, likelihood_check, reference, usage_checks

RATES, DOCUMENT = "rates.json", "calibration.md"
LEAST_INNOCENT, GAIN = 30, 0.2
# Of the p-values that a verdict rests on.
DECISIVE = (PRIMARY_P, PHOTO_P, PLACEBO_P)
METHODS: dict[str, Method] = {
    PRIMARY: Method("BaseRatio, the primary test", "white box"),
    FUSION: Method("Fusion of BaseRatio, SimA and PIA", "white box"),
    RESIDUAL: Method("Residual of the tuned loss on the base's", "white box"),
    **{
        name: Method(s.title, "published" if s.published else "white box")
        for name, s in SIGNALS.items()
        if name != BASE_RATIO
    },
    ATTACK: Method("Black-box attack", "black box"),
    EXTRACTION: Method("Extraction, best similarity", "extraction"),
}


def summarise(folder: StudyFolder, *, command: str = "") -> KnownRates:
    """Rates of the cases that are finished, written as ``rates.json`` and ``calibration.md``.

    Args:
        folder: of the study.
        command: what made it, for the record.

    Raises:
        NotEnoughDataError: too few cases are finished (FEW_CASES).
    """
    files = map(folder.result, folder.plan.cases)
    examined = [read_examined(file) for file in files if file.exists()]
    rates = known_rates(examined, folder.plan, command=command)
    data = json.dumps(asdict(rates), indent=1, allow_nan=False) + "\n"
    write_atomic(folder.root / RATES, data.encode())
    write_atomic(folder.root / DOCUMENT, render(rates).encode())
    return rates


def read_study(root: Path) -> StudyFolder:
    """A study's folder as it was begun.

    Raises:
        RunError: there is none (NOT_A_STUDY).
        InputError: its plan was changed (BAD_STUDY).
    """
    path = root / PLAN
    if not path.exists():
        raise RunError("NOT_A_STUDY", f"{root} holds no {PLAN}; `calibrate` begins a study")
    reader = Reader(str(path), "BAD_STUDY", "give a new --out")
    return StudyFolder(root, reader.read(Plan, path.read_bytes()))


def known_rates(examined: Sequence[Examined], plan: Plan, *, command: str = "") -> KnownRates:
    """What the finished cases show.

    Args:
        examined: finished cases.
        plan: of the study.
        command: what made it.
    """
    results, settings = Results.of(examined), plan.settings
    letters, signals = letter_rates(results), signal_rates(results, METHODS)
    checks = tuple(check_p(name, cells) for name, cells in p_values(results, METHODS).items())
    return KnownRates(
        scale=plan.scale,
        tool=plan.tool,
        base=plan.base,
        family=plan.family,
        source=source_words(plan.source),
        command=command,
        seed=settings.seed,
        forwards=sum(e.forwards for e in examined),
        seconds=round(sum(e.seconds for e in examined)),
        ranges=ranges(results, settings),
        qualities=settings.qualities,
        guilty=len(results.guilty),
        innocent=len(results.innocent),
        partial=len(results.partial),
        shared_photos="pool" in plan.source,
        planned=len(plan.cases),
        letters=letters,
        signals=signals,
        p_values=checks,
        factors=factor_rates(results),
        usage=usage_checks(results),
        likelihood=likelihood_check(results),
        reference=reference(results),
        claims=claims(results, settings, letters, signals, checks),
        cases=tuple(case_row(e, results) for e in results.all()),
        settings=json.loads(json.dumps(asdict(settings))),
    )


def source_words(source: Mapping[str, str]) -> str:
    """Where the photos came from, for a sentence."""
    if "pool" in source:
        return f"photos of a pool of the user's, digest {source['pool'][:12]}"
    return "drawn faces of one institution on the embedded tiny model"


def ranges(results: Results, settings: CalibrationSpec) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each fact among the finished cases."""
    cases = [e.case for e in results.all()]
    values = {
        "rank": [c.rank for c in cases],
        "steps": [c.steps for c in cases],
        "exposure": [c.exposure(settings.batch) for c in cases],
        "photos": [c.photos for c in cases],
        "controls": [settings.controls],
        "learning_rate": [c.learning_rate for c in cases],
    }
    return {name: (float(min(v)), float(max(v))) for name, v in values.items()}


def case_row(e: Examined, results: Results) -> CaseRow:
    """One case in brief."""
    usage, c = case_usage(e, results), e.case
    ranks = {kind: e.nulls[kind].p if kind in e.nulls else -1.0 for kind in ("placebo", "noise")}
    return CaseRow(
        number=c.number,
        used=c.used,
        rank=c.rank,
        steps=c.steps,
        photos=c.photos,
        quality=c.quality,
        letter=e.letter,
        auc=round(case_auc(e, PRIMARY), 4),
        permutation_p=e.scores[PRIMARY].p,
        placebo_p=ranks["placebo"],
        noise_p=ranks["noise"],
        attack_auc=round(case_auc(e, ATTACK), 4),
        extraction_auc=round(case_auc(e, EXTRACTION), 4),
        usage=-1.0 if usage is None else round(usage.share, 3),
    )


def claims(
    results: Results,
    settings: CalibrationSpec,
    letters: Sequence[LetterRate],
    signals: Sequence[SignalRate],
    checks: Sequence[PValueCheck],
) -> tuple[Claim, ...]:
    """What the study was to show, each held or not held."""
    both = next(r for r in letters if r.letter == "A or B").innocent
    enough = both.trials >= LEAST_INNOCENT and both.hits <= LEVEL * both.trials
    decisive = [c for c in checks if c.name in DECISIVE]
    accusation = Claim(
        f"Verdicts A and B together accuse at most {LEVEL:.0%} of at least {LEAST_INNOCENT} "
        "innocent adapters (the observed share; its interval is beside it)",
        str(both),
        enough,
    )
    uniform = Claim(
        "No test finds the p-values that a verdict rests on other than uniform when nothing was "
        f"used (level {STRONG:g})",
        "; ".join(f"{c.name}: p = {c.uniform_p:.2g}, {c.at_05} at or below 0.05" for c in decisive),
        all(c.verdict == "uniform" for c in decisive),
    )
    return (accusation, uniform, *_comparisons(results, settings, signals))


def _comparisons(
    results: Results, settings: CalibrationSpec, signals: Sequence[SignalRate]
) -> list[Claim]:
    """The best white-box signal, chosen for each case on the other cases, against the rest.

    A gain holds if the lower end of its interval does.
    """
    own = [s.name for s in signals if s.group == "white box"]
    best = chosen_elsewhere({name: [case_auc(e, name) for e in results.guilty] for name in own})
    black = estimate((best - [case_auc(e, ATTACK) for e in results.guilty]).tolist())
    budget = (
        f"{settings.attack_images} images per arm, {settings.attack_epochs} epochs, "
        f"{settings.attack_seeds} seeds, random start"
    )
    gains = [
        Claim(
            f"The best signal's per-photo AUC exceeds the black-box attack's ({budget}) by at "
            f"least {GAIN}",
            f"{estimate(best.tolist())}, {black} more",
            black.low >= GAIN,
        )
    ]
    for s in (s for s in signals if s.group == "published"):
        gain = estimate((best - [case_auc(e, s.name) for e in results.guilty]).tolist())
        text = f"It exceeds the published {s.title} on average"
        gains.append(Claim(text, f"{gain} more", gain.low > 0))
    return gains


def chosen_elsewhere(areas: Mapping[str, Sequence[float]]) -> np.ndarray:
    """AUC of the best signal in each case, where best is what is best over all other cases.

    Choosing and judging on the same cases would flatter the choice.

    Example:
        >>> chosen_elsewhere({"a": [0.9, 0.8, 0.1], "b": [0.6, 0.6, 0.6]}).tolist()
        [0.6, 0.6, 0.1]
    """
    table = np.array(list(areas.values()))
    others = table.sum(1, keepdims=True) - table
    return table[others.argmax(0), np.arange(table.shape[1])]
