"""Made-up results and small studies for the tests of calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from lora_forensics.core.rates.scope import CaseFacts
from lora_forensics.core.studies.calibration.cases import StudyCase
from lora_forensics.core.studies.calibration.examine import (
    ATTACK,
    EXTRACTION,
    PRIMARY,
    Examined,
    MethodScores,
    Nulls,
    with_test,
)
from lora_forensics.core.studies.calibration.folders import Plan
from lora_forensics.core.studies.calibration.settings import CalibrationSpec

SMALL = CalibrationSpec(
    controls=10,
    placebos=2,
    noise_nulls=1,
    noises=1,
    signals="quick",
    images=4,
    pilot_images=4,
    solver_steps=3,
    attack_images=8,
    attack_epochs=1,
    attack_seeds=1,
)


def study_case(number: int, used: float, **changes) -> StudyCase:
    plain = StudyCase(
        number=number, used=used, rank=4, steps=100, photos=8, quality="clean", seed=70_000 + number
    )
    return replace(plain, **changes)


def scores(rng, gap: float, n: int = 8, m: int = 40) -> MethodScores:
    return with_test(rng.normal(gap, 1, n), rng.normal(0, 1, m), permutations=199)


def examined(number: int, used: float, letter: str = "D", gap: float = 0.0, **changes) -> Examined:
    rng = np.random.default_rng(number)
    found = {
        PRIMARY: scores(rng, gap),
        "loss": scores(rng, gap / 3),
        ATTACK: scores(rng, 0.0),
        EXTRACTION: scores(rng, gap / 2),
    }
    ps = dict.fromkeys(("placebo", "noise"), (number % 20 + 1) / 20)
    nulls = {k: Nulls(0.1, tuple([0.0] * 19), p) for k, p in ps.items()}
    return Examined(
        case=study_case(number, used, **changes),
        letter=letter,
        decisive="why",
        probe_auc=0.5,
        probe_p=0.5,
        too_weak=False,
        nulls=nulls,
        scores=found,
        forwards=1000,
        seconds=2.0,
    )


def many(guilty: int = 36, innocent: int = 36, partial: int = 0, gap: float = 2.0):
    rows = [examined(i, 1.0, "A" if i % 2 else "D", gap) for i in range(guilty)]
    rows += [examined(100 + i, 0.0, "B" if i == 0 else "D") for i in range(innocent)]
    return [*rows, *(examined(200 + i, 0.5, "D", gap / 2) for i in range(partial))]


PLAN = Plan(
    tool="0.1.0",
    scale="tiny",
    base="ab" * 32,
    family="sd1",
    encoder="cd" * 32,
    source={"drawn": "faces"},
    settings=CalibrationSpec(seed=1, qualities=("clean",)),
    cases=tuple(study_case(i, 1.0) for i in range(81)),
)

INSIDE = CaseFacts(
    base="ab" * 32, family="sd1", photos=8, controls=40, rank=4.0, steps=100.0, exposure=100.0,
    learning_rate=5e-4,
)  # fmt: skip
"""Of a case that the made-up results cover."""
