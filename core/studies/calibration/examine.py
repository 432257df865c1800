"""One case through the whole pipeline: every line of evidence, every signal, the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...attack.line import planned_forwards as attack_forwards
from ...backends.loading import pair_of
from ...backends.networks import Networks
from ...casework.screening import Question, screen
from ...errors import InputError
from ...extraction.line import planned_forwards as extraction_forwards
from ...images.sets import set_twins_aside
from ...membership.findings import PRIMARY as BASE_RATIO
from ...membership.findings import SETS, image_rows, signal_spec
from ...membership.null_ranks import NullGroup, NullModel
from ...membership.signals import Measured, Subjects, fusion, measure, planned_rows, residual
from ...protocols import ImageEncoder
from ...records import Reader
from ...specs import PRESETS, AttackSpec, MembershipSpec, ScreenSpec
from ...statistics.permutation import permutation_test
from ...storage import Work
from ...verdicts.case import Findings
from ...verdicts.evidence import Comparison
from .cases import StudyCase
from .photos import Sets
from .settings import CalibrationSpec

PRIMARY, ATTACK, EXTRACTION = "primary", "attack", "extraction"
FUSION, RESIDUAL = "fusion", "residual"
# Signals of the screening itself, and those that are measured beside it.
SIGNAL_SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "quick": ("grid", ("sima_delta", "pia_delta", "pia")),
    "standard": ("standard", ("pfami",)),
    "deep": ("deep", ()),
}


@dataclass(frozen=True, slots=True)
class MethodScores:
    """Scores of one method, higher meaning member.

    Attributes:
        photos: one per photo.
        controls: one per control.
        p: permutation p of the mean rank.
        floor: smallest such p; all are its multiples.
    """

    photos: tuple[float, ...]
    controls: tuple[float, ...]
    p: float
    floor: float


@dataclass(frozen=True, slots=True)
class Nulls:
    """The suspect's effect among that of null models of one kind."""

    value: float
    nulls: tuple[float, ...]
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What the pipeline said of one case.

    Attributes:
        case: with its truth.
        letter: the verdict.
        decisive: why, in words.
        probe_auc: of the model-blind probe.
        probe_p: its p.
        too_weak: the adapter changes the loss less than the noise of the measurement.
        nulls: by kind.
        scores: by method.
        forwards: denoiser rows spent.
        seconds: of one core, spent by the last process that worked on it.
    """

    case: StudyCase
    letter: str
    decisive: str
    probe_auc: float
    probe_p: float
    too_weak: bool
    nulls: dict[str, Nulls]
    scores: dict[str, MethodScores]
    forwards: int
    seconds: float = 0.0

    def json(self, seconds: float) -> bytes:
        """The facts as JSON."""
        facts = {**asdict(self), "seconds": round(seconds, 1)}
        return json.dumps(facts, allow_nan=False).encode()


def read_examined(path: Path) -> Examined:
    """A result as `Examined.json` gave it.

    Raises:
        InputError: it is something else (BAD_RESULT, NON_FINITE).
    """
    reader = Reader(str(path), "BAD_RESULT", "remove the file and run `calibrate` again")
    return reader.read(Examined, path.read_bytes())


def screen_spec(case: StudyCase, spec: CalibrationSpec) -> ScreenSpec:
    """The settings of the whole screening: every case has its own noise."""
    return ScreenSpec(
        membership=MembershipSpec(
            noises=spec.noises,
            nulls=spec.noise_nulls,
            null_noises=spec.null_noises,
            signals=SIGNAL_SETS[spec.signals][0],
            seed=case.seed,
        ),
        extract=replace(
            PRESETS["quick"].extract,
            images=spec.images,
            pilot_images=spec.pilot_images,
            steps=spec.solver_steps,
            seed=case.seed,
        ),
        attack=AttackSpec(
            images=spec.attack_images,
            epochs=spec.attack_epochs,
            seeds=spec.attack_seeds,
            steps=spec.solver_steps,
            seed=case.seed,
        ),
    )


def signal_names(spec: CalibrationSpec) -> tuple[str, ...]:
    """Every signal that is measured, those of the screening first."""
    inside, beside = SIGNAL_SETS[spec.signals]
    return (*SETS[inside], *beside)


def forwards_of(case: StudyCase, spec: CalibrationSpec, prompt: str) -> int:
    """Denoiser rows that a case will spend at most."""
    settings, images = screen_spec(case, spec), case.photos + spec.controls
    member = settings.membership
    nulls = (spec.noise_nulls + spec.placebos) * min(spec.noises, spec.null_noises)
    signals = planned_rows(signal_names(spec), signal_spec(settings))
    return (
        images * (len(member.timesteps) * nulls + signals)
        + extraction_forwards([prompt], settings.extract)
        + attack_forwards([prompt], settings.attack)
    )


def examine(
    case: StudyCase,
    sets: Sets,
    *,
    base: Networks,
    encoder: ImageEncoder,
    adapter: Path,
    placebos: Mapping[str, Path],
    prompt: str,
    spec: CalibrationSpec,
    work: Work,
) -> Examined:
    """Ask everything about one case.

    Args:
        case: with its truth, which only the record sees.
        sets: its photos.
        base: the base.
        encoder: copy descriptor.
        adapter: the suspect.
        placebos: adapters of other cases, by name.
        prompt: the caption of all training.
        spec: budgets.
        work: finished and to be done.

    Raises:
        InputError: a photo is among the controls (DUPLICATE_PHOTOS).
    """
    compared = set_twins_aside(sets.asked, sets.controls)
    if compared.twins is not None:
        names = ", ".join(f.name for f in compared.twins.facts)
        raise InputError("DUPLICATE_PHOTOS", f"controls show photos of this case again: {names}")
    settings = screen_spec(case, spec)
    models = (
        NullModel(name, lambda path=path: pair_of(base, path)) for name, path in placebos.items()
    )
    question = Question(
        sets=compared,
        prompts=(prompt,),
        exchangeable=True,
        n0=case.photos,
        nulls=(NullGroup("placebo", tuple(models)),),
    )
    names, pixels = signal_names(spec), compared.pixels
    with closing(pair_of(base, adapter)) as pair:
        screened = screen(pair, encoder, question, settings, work=work)
        # What the screening measured is read from its own units, not measured again.
        measured = measure(
            pair,
            Subjects(pixels, pair.encode(pixels), (prompt,) * len(pixels)),
            signal_spec(settings),
            names,
            work=work,
            unit="membership",
            embed=encoder,
        )
    extra = planned_rows(names, signal_spec(settings)) - image_rows(settings)
    return _record(case, screened.findings, measured, extra * len(pixels))


def _all_scores(measured: Measured, n: int) -> dict[str, MethodScores]:
    raw = {**measured.scores, FUSION: fusion(measured.scores)}
    scores = {name: with_test(s[:n], s[n:]) for name, s in raw.items() if name != BASE_RATIO}
    return {**scores, RESIDUAL: _residual(measured, n)}


def _residual(measured: Measured, n: int) -> MethodScores:
    assert measured.losses is not None
    base, tuned = (loss.mean((1, 2)).numpy() for loss in (measured.losses.base,
                                                          measured.losses.tuned))  # fmt: skip
    fitted = residual(base[:n], tuned[:n], base[n:], tuned[n:])
    return with_test(fitted.photos, fitted.controls)


def with_test(
    photos: npt.ArrayLike, controls: npt.ArrayLike, *, permutations: int = 9999
) -> MethodScores:
    """Scores with their permutation test.

    Args:
        photos: ``[n]`` scores.
        controls: ``[m]`` scores.
        permutations: draws, where there are too many to enumerate.
    """
    x, y = (np.asarray(s, np.float64) for s in (photos, controls))
    test = permutation_test(x, y, "rank", permutations)
    return MethodScores(tuple(x.tolist()), tuple(y.tolist()), test.p, test.floor)


def _record(case: StudyCase, findings: Findings, measured: Measured, extra: int) -> Examined:
    m, x, a = findings.membership, findings.extraction, findings.attack
    assert m is not None
    assert x is not None
    assert a is not None
    lines = {PRIMARY: m.comparison, EXTRACTION: x.comparison, ATTACK: a.comparison}
    return Examined(
        case=case,
        letter=findings.verdict.letter,
        decisive=findings.verdict.reasons[0].text,
        probe_auc=findings.probe.auc if findings.probe else 0.5,
        probe_p=findings.probe.p if findings.probe else 1.0,
        too_weak=m.too_weak,
        nulls={r.kind: Nulls(r.value, r.nulls, r.p) for r in m.null_ranks},
        scores={
            **{name: _compared(c) for name, c in lines.items()},
            **_all_scores(measured, len(m.comparison.photo_scores)),
        },
        forwards=extra + m.forwards + x.forwards + a.forwards,
    )


def _compared(c: Comparison) -> MethodScores:
    return MethodScores(c.photo_scores, c.control_scores, c.permutation.p, c.permutation.floor)
