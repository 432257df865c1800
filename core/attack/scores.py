"""What the attack's classifiers said, judged: scores, areas over seeds, notes for the reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import NotEnoughDataError, plural
from ..specs import AttackSpec, VerdictSpec
from ..statistics.auc import auc
from ..statistics.intervals import mean_seed_interval, paper_seed_interval
from ..verdicts.comparison import Floats, compare
from ..verdicts.evidence import AttackEvidence
from .classifier import SeedResult

THRESHOLDS = {"logits": 0.0, "softmax": 0.5}


def judged_rows(
    n_photos: int, n_controls: int, spec: AttackSpec, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which queries (photos first) a seed's AUC is taken on, and which it only watches.

    The paper's code draws with torch's seeded ``random_split`` over controls, then photos; this
    draws the same.

    Returns:
        Indices judged and indices watched; all are judged when the spec leaves none out.
    """
    total = n_photos + n_controls
    if not spec.test_holdout:
        return np.arange(total), np.arange(0)
    judged = total - int(spec.test_holdout * total + 1e-9)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).numpy()
    rows = np.where(order < n_controls, order + n_photos, order - n_controls)
    return rows[:judged], rows[judged:]


def attack_evidence(
    results: list[SeedResult],
    n_photos: int,
    spec: AttackSpec,
    verdict: VerdictSpec,
    *,
    negatives_from: str,
    pretrained: bool,
    images: int,
    forwards: int,
    clusters: tuple[str, ...] | None = None,
) -> AttackEvidence:
    """Judge what the classifiers said.

    Args:
        results: one per seed, over photos first and controls after them.
        n_photos: how many of the scores are photos'.
        spec: guidance scales of both arms.
        verdict: levels.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
        images: images per arm.
        forwards: denoiser rows spent.
        clusters: session of each photo, then of each control.

    Raises:
        InputError: a set is too small, or a score is not finite.
    """
    n = n_photos
    per_seed = np.stack([member_scores(r.logits, spec) for r in results])
    scores = per_seed.mean(0)
    aucs = [_seed_auc(row, n, spec, seed) for seed, row in enumerate(per_seed)]
    low, high = _seed_interval(aucs)
    paper = paper_seed_interval(aucs)
    bar = THRESHOLDS[spec.scores]
    return AttackEvidence(
        negatives=negatives_from,
        pretrained=pretrained,
        images=images,
        cfgs=spec.cfgs,
        comparison=compare(scores[:n], scores[n:], verdict, clusters=clusters),
        seed_aucs=tuple(aucs),
        seed_low=low,
        seed_high=high,
        heldout_accuracy=sum(r.heldout_accuracy for r in results) / len(results),
        flagged_photos=float((scores[:n] > bar).mean()),
        flagged_controls=float((scores[n:] > bar).mean()),
        forwards=forwards,
        paper_low=paper.low,
        paper_high=paper.high,
        scores=spec.scores,
        notes=attack_notes(spec, per_seed, negatives_from=negatives_from, pretrained=pretrained),
    )


def member_scores(logits: Tensor, spec: AttackSpec) -> Floats:
    """Scores ``[N]`` float64 of logit differences, higher meaning member.

    ``softmax`` is P(member) as a float32 network gives it: above a difference of about 16.6 it is
    exactly 1, so that the surest images tie.
    """
    if spec.scores == "logits":
        return logits.double().numpy()
    pair = torch.stack([torch.zeros_like(logits), logits], 1).float()
    return torch.softmax(pair, 1)[:, 1].double().numpy()


def attack_notes(
    spec: AttackSpec, scores: Floats, *, negatives_from: str, pretrained: bool
) -> tuple[str, ...]:
    """What a reader must know about how the attack was run.

    Args:
        spec: its settings.
        scores: ``[S, N]``, one row per seed.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
    """
    tied = max(int((row == 1.0).sum()) for row in scores) if spec.scores == "softmax" else 0
    notes = {
        "The network started at random: no ImageNet weights were given, and the paper's attack "
        "starts from them.": not pretrained,
        f"Negatives come from a {negatives_from}: part of the AUC may tell sources apart with no "
        "use of the photos; the same attack on an untouched base shows how much.": (
            negatives_from != "base"
        ),
        "The last epoch was kept without a look at held-out images.": spec.selection == "last",
        f"Scores saturate: P(member) is exactly 1 for up to {tied} of "
        f"{plural(scores.shape[1], 'image')} of a seed.": tied > 0,
        f"Each seed's AUC leaves out another {spec.test_holdout:.0%} of the photos and controls; "
        "the pooled comparison takes all.": spec.test_holdout > 0,
        "Photos and controls did not pass through the codec, generated images did.": (
            spec.codec == "off"
        ),
    }
    return tuple(note for note, holds in notes.items() if holds)


def _seed_auc(scores: Floats, n: int, spec: AttackSpec, seed: int) -> float:
    rows, _ = judged_rows(n, len(scores) - n, spec, seed)
    photos, controls = scores[rows[rows < n]], scores[rows[rows >= n]]
    if not (len(photos) and len(controls)):
        raise NotEnoughDataError(
            "TOO_FEW_PHOTOS",
            f"seed {seed} keeps {plural(len(photos), 'photo')} and "
            f"{plural(len(controls), 'control')} for its AUC; "
            "give more of both, or set test_holdout to 0",
        )
    return auc(photos, controls)


def _seed_interval(aucs: Sequence[float]) -> tuple[float, float]:
    if len(aucs) < 2:
        return 0.0, 1.0
    interval = mean_seed_interval(aucs)
    return max(0.0, interval.low), min(1.0, interval.high)
