"""Every signal beside the primary one: which run, and what each says of photos and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..protocols import ModelPair
from ..specs import MembershipSpec, ScreenSpec, SignalSpec
from ..statistics.holm import holm
from ..statistics.permutation import permutation_test
from ..statistics.tpr_at_fpr import tpr_at_fpr
from ..verdicts.comparison import area_of
from ..verdicts.evidence import SignalFinding
from .signals import DEEP, FUSED, SIGNALS, STANDARD, Subjects, fusion, planned_rows, refusals
from .signals.queries import Embed

PRIMARY = "base_ratio"
SETS: dict[str, tuple[str, ...]] = {
    "grid": tuple(name for name, signal in SIGNALS.items() if signal.stage == "grid"),
    "standard": STANDARD,
    "deep": DEEP,
}
FUSION = (
    "Fusion",
    "mean of BaseRatio, SimA and PIA against the base, each standardized over all images",
)
TARGET_FPR = 0.05


def signal_spec(spec: ScreenSpec) -> SignalSpec:
    """The signals' settings on the grid of the primary signal."""
    m = spec.membership
    return replace(spec.signals, timesteps=m.timesteps, noises=m.noises, batch=m.batch, seed=m.seed)


def planned_signals(spec: MembershipSpec) -> tuple[str, ...]:
    """Names of the signals that a screening asks for."""
    return SETS[spec.signals]


def image_rows(spec: ScreenSpec) -> int:
    """Denoiser rows of one image for all signals that are asked for."""
    return planned_rows(planned_signals(spec.membership), signal_spec(spec))


def possible(
    pair: ModelPair, subjects: Subjects, spec: MembershipSpec, embed: Embed | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Signals that can be measured here, and those that cannot, with the reason."""
    names = planned_signals(spec)
    refused = refusals(pair, subjects, names, embed=embed)
    return tuple(n for n in names if n not in refused), refused


def signal_findings(
    scores: Mapping[str, np.ndarray],
    photos: int,
    spec: ScreenSpec,
    *,
    clusters: tuple[str, ...] | None = None,
) -> tuple[SignalFinding, ...]:
    """Photos against controls under every signal but the primary one; p-values after Holm.

    Args:
        scores: ``[N]`` a signal, photos first.
        photos: how many are photos.
        spec: settings of the test and of the signals.
        clusters: session of each image, photos first.
    """
    every = dict(scores)
    if all(name in every for name in FUSED):
        every["fusion"] = fusion(every)
    names = [name for name in every if name != PRIMARY]
    findings = [_finding(name, every[name], photos, spec, clusters) for name in names]
    if not findings:
        return ()
    adjusted = holm([f.p for f in findings])
    return tuple(replace(f, holm_p=float(p)) for f, p in zip(findings, adjusted, strict=True))


def _finding(
    name: str,
    scores: np.ndarray,
    photos: int,
    spec: ScreenSpec,
    clusters: tuple[str, ...] | None,
) -> SignalFinding:
    x, y = scores[:photos], scores[photos:]
    test = permutation_test(
        x, y, "rank", spec.membership.permutations, seed=spec.membership.seed, clusters=clusters
    )
    title, source, published, rows = _facts(name, signal_spec(spec))
    return SignalFinding(
        name=name,
        title=title,
        source=source,
        published=published,
        forwards=rows,
        photo_scores=tuple(x.tolist()),
        control_scores=tuple(y.tolist()),
        auc=area_of(x, y, clusters, spec.membership.seed),
        tpr=tpr_at_fpr(x, y, TARGET_FPR),
        p=test.p,
        holm_p=test.p,
    )


def _facts(name: str, spec: SignalSpec) -> tuple[str, str, bool, int]:
    if name == "fusion":
        return *FUSION, False, planned_rows(FUSED, spec)
    signal = SIGNALS[name]
    return signal.title, signal.source, signal.published, signal.forwards(spec)
