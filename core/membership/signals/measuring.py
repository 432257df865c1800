"""Measure any set of signals in one go: shared work is done once, chunk by chunk, and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...protocols import ModelPair
from ...specs import SignalSpec
from ...storage import UNKEPT, Work
from .catalogue import SIGNALS, STAGES, STANDARD, planned_rows, planned_stages
from .paired import Floats, Losses
from .queries import Ask, Embed
from .subjects import Subjects
from .variants import curve_strengths

CHUNK = 8  # images in one resumable unit


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Scores of every subject under every signal.

    Attributes:
        scores: ``[N]`` float64 a signal, higher meaning member.
        forwards: denoiser rows that they cost.
        losses: the shared loss grid, where both models were asked.
        heat: ``[N, h, w]`` mean base error minus tuned error: where the adapter helps most.
        curve: ``[N, S]`` BaseRatio at `strengths`, where the strength curve was measured.
        strengths: adapter strengths of `curve`.
    """

    scores: dict[str, Floats]
    forwards: int
    losses: Losses | None = None
    heat: Tensor | None = None
    curve: Tensor | None = None
    strengths: tuple[float, ...] = ()


def refusals(
    pair: ModelPair, subjects: Subjects, names: Sequence[str], *, embed: Embed | None = None
) -> dict[str, str]:
    """Signals that cannot be measured here, each with the reason; `measure` would raise.

    Args:
        pair: the two models.
        subjects: photos and controls.
        names: keys of `SIGNALS`.
        embed: as for `measure`.
    """
    planned_stages(names)
    reasons = {}
    blank = any(not c.strip() for c in subjects.captions)
    for name in names:
        signal = SIGNALS[name]
        if pair.prediction == "flow" and not signal.flow:
            reasons[name] = "its formula is not defined for flow models"
        elif signal.captions and blank:
            reasons[name] = "a caption is blank"
        elif signal.stage == "reconstruction" and embed is None:
            reasons[name] = "no embedding was given"
        elif signal.stage == "strengths" and not pair.scalable:
            reasons[name] = "a full checkpoint has no adapter whose strength could vary"
    return reasons


def measure(
    pair: ModelPair,
    subjects: Subjects,
    spec: SignalSpec,
    names: Sequence[str] = STANDARD,
    *,
    work: Work = UNKEPT,
    unit: str = "signals",
    embed: Embed | None = None,
) -> Measured:
    """Score photos and controls under several signals without doing any work twice.

    Args:
        pair: base and tuned model.
        subjects: photos and controls together, so that pooled scalings see both.
        spec: all settings.
        names: keys of `SIGNALS`.
        work: keeps finished parts, is told of steps.
        unit: folder of the kept files below the case; another subject set needs another.
        embed: pixels to unit vectors, for reconstruction.

    Raises:
        InputError: BAD_SIGNAL for an unknown signal or one that this model or these captions
            cannot have; NON_FINITE when the model's answers are.
    """
    stages = planned_stages(names)
    refused = refusals(pair, subjects, names, embed=embed)
    if refused:
        told = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise InputError("BAD_SIGNAL", f"not measurable here, leave them out: {told}")
    staged = _Staged(pair, spec, stages, work, unit, embed)
    work.progress.start("white-box signals", len(subjects) * len(stages), staged.done(subjects))
    parts = [staged.chunk(i, chunk) for i, chunk in enumerate(subjects.chunks(CHUNK))]
    raw = {k: torch.cat([p[k] for p in parts]) for k in parts[0] if not k.startswith("_")}
    scores = {name: SIGNALS[name].score(raw, spec).numpy() for name in names}
    _finite(scores)
    return Measured(
        scores,
        planned_rows(names, spec) * len(subjects),
        Losses(raw["base"], raw["tuned"]) if "base" in raw else None,
        raw.get("heat"),
        raw.get("curve"),
        curve_strengths(spec) if "curve" in raw else (),
    )


@dataclass(frozen=True, slots=True)
class _Staged:
    pair: ModelPair
    spec: SignalSpec
    stages: Mapping[str, tuple[float, ...]]
    work: Work
    unit: str
    embed: Embed | None

    def path(self, stage: str, index: int) -> str:
        kind = "both" if len(self.stages[stage]) == 2 else "tuned"
        return f"{self.unit}/{stage}-{kind}-{index:04d}"

    def done(self, subjects: Subjects) -> int:
        return sum(
            len(chunk)
            for i, chunk in enumerate(subjects.chunks(CHUNK))
            for stage in self.stages
            if self.work.has(self.path(stage, i))
        )

    def chunk(self, index: int, subjects: Subjects) -> dict[str, Tensor]:
        raw: dict[str, Tensor] = {}
        for stage, models in self.stages.items():
            path = self.path(stage, index)
            known = self.work.has(path)
            ask = Ask(self.pair, subjects, self.spec, models, self.embed)
            raw |= self.work.tensors(path, partial(STAGES[stage].run, ask, raw))
            if not known:
                self.work.progress.step(len(subjects))
        return raw


def _finite(scores: Mapping[str, Floats]) -> None:
    bad = [name for name, values in scores.items() if not np.isfinite(values).all()]
    if bad:
        raise InputError(
            "NON_FINITE",
            f"{', '.join(bad)}: the model's answers are not finite; try --dtype float32",
        )
