"""The white-box line: every signal on photos and controls, null models, and the evidence.

All images are measured together, so that photos and controls are treated alike in everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..images.sets import Sets
from ..protocols import ModelPair
from ..specs import MembershipSpec, ScreenSpec, VerdictSpec
from ..statistics.auc import auc
from ..storage import UNKEPT, Work
from ..verdicts.comparison import compare, effect_interval
from ..verdicts.evidence import (
    CaptionControls,
    LossCurve,
    MembershipEvidence,
    NullRank,
    SignalFinding,
)
from .findings import image_rows, possible, signal_findings, signal_spec
from .null_ranks import NullGroup, noise_group, rank_nulls
from .signals import Subjects, caption_dependent, gap_controls, measure
from .signals.paired import Losses, base_ratio, draw_halves, loss_score, pair_ratios
from .signals.queries import Embed

CAPTIONS = "membership/captions"
SIGNAL = "BaseRatio: log(sum of base losses / sum of tuned losses), shared noise"


@dataclass(frozen=True, slots=True, eq=False)
class WhiteBox:
    """The line's evidence and its exhibit.

    Attributes:
        evidence: what the verdict rests on.
        heat: ``[n, h, w]`` of each photo, mean base error minus tuned error: where the adapter
            helps most.
    """

    evidence: MembershipEvidence
    heat: Tensor


def planned_forwards(
    photos: int,
    controls: int,
    spec: ScreenSpec,
    nulls: Sequence[NullGroup] = (),
    *,
    captioned: bool = False,
) -> int:
    """Denoiser rows of the line at most; counterfactuals leave half of the controls out."""
    images, m = photos + controls, spec.membership
    whole = m.nulls + sum(len(g.models) for g in nulls if g.controls is None)
    asked = whole * images + m.counterfactuals * (images - controls // 2)
    captions = _caption_rows(m) * images if m.signals == "deep" and captioned else 0
    return image_rows(spec) * images + captions + asked * null_draws(m)


def _caption_rows(spec: MembershipSpec) -> int:
    return 5 * len(spec.timesteps) * spec.noises


def screen_membership(
    pair: ModelPair,
    sets: Sets,
    prompts: Sequence[str],
    spec: ScreenSpec,
    *,
    nulls: Sequence[NullGroup] = (),
    captions: Sequence[str] = (),
    embed: Embed | None = None,
    work: Work = UNKEPT,
) -> WhiteBox:
    """White-box membership of photos against controls, with null models if any are asked for.

    Args:
        pair: base and tuned model.
        sets: photos in question and controls.
        prompts: the first conditions every image.
        spec: settings of the line and of the verdict.
        nulls: trained null models; noise adapters come from the pair itself.
        captions: each image's own, photos first, for the prompt controls of the conditional gap;
            without captions that differ there is nothing to control.
        embed: pixels to unit vectors, for the deep signals.
        work: keeps finished parts, is told of steps.

    Raises:
        InputError: NON_FINITE.
    """
    n, settings, prompt = len(sets.photos), spec.membership, prompts[0]
    pixels, clusters = sets.pixels, sets.sessions
    subjects = Subjects(pixels, pair.encode(pixels), (prompt,) * len(pixels))
    names, left_out = possible(pair, subjects, settings, embed)
    measured = measure(
        pair, subjects, signal_spec(spec), names,
        work=work, unit="membership", embed=embed,
    )  # fmt: skip
    losses, heat = measured.losses, measured.heat
    assert losses is not None
    assert heat is not None
    ranks = [
        rank_nulls(group, losses, subjects.latents, n, prompt, settings, clusters=clusters,
                   work=work)
        for group in (noise_group(pair, settings), *nulls)
        if group.models
    ]  # fmt: skip
    checked = None
    if settings.signals == "deep" and "conditional_gap" in names and len(set(captions)) > 1:
        own = subjects.captioned(captions)
        checked = _caption_controls(pair, own, n, spec, prompt, clusters=clusters, work=work)
    evidence = membership_evidence(
        Losses(losses.base[:n], losses.tuned[:n]),
        Losses(losses.base[n:], losses.tuned[n:]),
        prompt,
        settings,
        spec.verdict,
        null_ranks=tuple(rank for rank in ranks if rank is not None),
        signals=signal_findings(measured.scores, n, spec, clusters=clusters),
        left_out=tuple(left_out.items()),
        captions=checked,
        clusters=clusters,
        forwards=measured.forwards + (_caption_rows(settings) * len(subjects) if checked else 0),
    )
    return WhiteBox(evidence, heat[:n])


def _caption_controls(
    pair: ModelPair,
    subjects: Subjects,
    photos: int,
    spec: ScreenSpec,
    trigger: str,
    *,
    clusters: tuple[str, ...],
    work: Work,
) -> CaptionControls:
    def measured() -> dict[str, Tensor]:
        gaps = gap_controls(pair, subjects, signal_spec(spec), trigger, spec.membership.seed)
        return {name: torch.from_numpy(v) for name, v in gaps.items()}

    gaps = {name: v.numpy() for name, v in work.tensors(CAPTIONS, measured).items()}
    check = caption_dependent(
        {k: v[:photos] for k, v in gaps.items()},
        {k: v[photos:] for k, v in gaps.items()},
        alpha=spec.verdict.alpha,
        permutations=spec.membership.permutations,
        clusters=clusters,
    )
    return CaptionControls(check.aucs, check.p, check.dependent)


def membership_evidence(
    photos: Losses,
    controls: Losses,
    prompt: str,
    spec: MembershipSpec,
    verdict: VerdictSpec,
    *,
    null_ranks: tuple[NullRank, ...] = (),
    signals: tuple[SignalFinding, ...] = (),
    left_out: tuple[tuple[str, str], ...] = (),
    captions: CaptionControls | None = None,
    forwards: int = 0,
    clusters: tuple[str, ...] | None = None,
) -> MembershipEvidence:
    """Judge white-box losses of photos and controls.

    Args:
        photos: losses of the photos in question.
        controls: losses of the controls.
        prompt: the conditioning used.
        spec: timesteps, draws, permutations.
        verdict: levels.
        null_ranks: rank among null models, one a kind; empty when none were run.
        signals: what the other signals say.
        left_out: signals that could not be measured, with the reason.
        captions: prompt controls of the conditional gap.
        forwards: denoiser rows spent without the null models; 0 counts the two losses.
        clusters: session of each photo, then of each control.

    Raises:
        InputError: a loss is not finite (NON_FINITE).
    """
    for losses in (photos, controls):
        if not (losses.base.isfinite().all() and losses.tuned.isfinite().all()):
            raise InputError(
                "NON_FINITE", "the model gave losses that are not finite; try --dtype float32"
            )
    x, y = base_ratio(photos), base_ratio(controls)
    comparison = compare(
        x, y, verdict, permutations=spec.permutations, seed=spec.seed, clusters=clusters
    )
    noise_floor = noise_of_ratio(Losses.cat([photos, controls]))
    shift = float(np.median(np.abs(np.concatenate([x, y]))))
    return MembershipEvidence(
        signal=SIGNAL,
        prompt=prompt,
        timesteps=spec.timesteps,
        draws=spec.noises,
        comparison=comparison,
        seed_effects=tuple(
            effect_interval(a, b)[0]
            for a, b in zip(pair_ratios(photos), pair_ratios(controls), strict=True)
        ),
        photo_curve=_curve(photos),
        control_curve=_curve(controls),
        base_only_auc=auc(loss_score(photos.base), loss_score(controls.base)),
        tuned_only_auc=auc(loss_score(photos.tuned), loss_score(controls.tuned)),
        noise_floor=noise_floor,
        control_shift=shift,
        too_weak=shift < noise_floor and comparison.permutation.p > verdict.alpha,
        null_ranks=null_ranks,
        forwards=(forwards or 2 * (photos.base.numel() + controls.base.numel()))
        + sum(null_forwards(rank, spec) for rank in null_ranks),
        signals=signals,
        left_out=left_out,
        captions=captions,
    )


def noise_of_ratio(losses: Losses) -> float:
    """Typical error of one image's BaseRatio: half the difference of two halves of its draws.

    Returns:
        Median over images; 0 with a single draw, whose error nobody can see.
    """
    if losses.base.shape[2] < 2:
        return 0.0
    first, second = draw_halves(losses)
    return float(np.median(np.abs(first - second)) / 2)


def null_forwards(rank: NullRank, spec: MembershipSpec) -> int:
    """Denoiser rows that one kind of null models cost."""
    images = rank.difference.first.n_members + rank.difference.first.n_nonmembers
    return len(rank.nulls) * images * null_draws(spec)


def null_draws(spec: MembershipSpec) -> int:
    """Denoiser rows of one image under one null model."""
    return len(spec.timesteps) * min(spec.noises, spec.null_noises)


def _curve(losses: Losses) -> LossCurve:
    base, tuned = (loss.mean((0, 2)).tolist() for loss in (losses.base, losses.tuned))
    return LossCurve(tuple(base), tuple(tuned))
