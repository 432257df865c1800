"""The black-box line: sample both arms, train the attack over seeds, score photos and controls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .attack import (
    MAX_SIDE,
    SeedResult,
    TrainedClassifier,
    average_logits,
    score_images,
    train_and_score,
    train_classifier,
)
from .attack_files import AttackModel
from .evidence import AttackEvidence
from .generation import generate
from .guidance import cfg
from .intervals import mean_seed_interval
from .membership import compare
from .metrics import auc
from .protocols import ModelPair, NoProgress, Progress
from .sampling import forwards, plan
from .specs import AttackSpec, SampleSpec, VerdictSpec
from .storage import CaseFolder
from .types import BASE, TUNED, ImageBatch


def sample_spec(spec: AttackSpec) -> SampleSpec:
    """The solver settings of both arms."""
    return SampleSpec(spec.sampler, spec.steps, spec.batch, spec.seed)


def draw_arm(
    pair: ModelPair,
    prompts: Sequence[str],
    model: float,
    spec: AttackSpec,
    *,
    case: CaseFolder | None = None,
    progress: Progress | None = None,
) -> ImageBatch:
    """Images of one arm; both arms share prompts, seeds, cfg and sampler.

    Args:
        pair: the models.
        prompts: used in turn.
        model: 0 base (negatives), 1 tuned (positives).
        spec: images and guidance scales; every noise is drawn at every scale.
        case: keeps images for resume.
        progress: long work.
    """
    per_scale = -(-spec.images // len(spec.cfgs))
    jobs = plan(prompts, [cfg(scale, model) for scale in spec.cfgs], per_scale, spec.seed)
    task = "attack: tuned images" if model == TUNED else "attack: base images"
    side = spec.side or MAX_SIDE
    return generate(
        pair, jobs, sample_spec(spec), case=case, progress=progress, task=task, max_side=side
    )


def planned_forwards(prompts: Sequence[str], spec: AttackSpec, arms: int = 2) -> int:
    """Denoiser rows of the arms that are sampled."""
    per_scale = -(-spec.images // len(spec.cfgs))
    jobs = plan(prompts, [cfg(scale) for scale in spec.cfgs], per_scale, spec.seed)
    return arms * forwards(jobs, spec.steps)


def train_seeds(
    positives: Tensor,
    negatives: Tensor,
    queries: Tensor,
    spec: AttackSpec,
    *,
    weights: Path | None = None,
    case: CaseFolder | None = None,
    progress: Progress | None = None,
) -> list[SeedResult]:
    """One classifier a seed, all applied to the same query images; finished seeds are kept."""
    progress = progress or NoProgress()
    done = sum(case.has(f"attack/seed-{s}") for s in range(spec.seeds)) if case else 0
    progress.start("attack: classifiers", spec.seeds * spec.epochs, done * spec.epochs)
    results = []
    for seed in range(spec.seeds):
        unit = f"attack/seed-{seed}"
        if case is not None and case.has(unit):
            kept = case.read_tensors(unit)
            results.append(SeedResult(kept["logits"], float(kept["accuracy"])))
            continue
        result = train_and_score(
            positives, negatives, queries, spec, seed, weights=weights, on_epoch=progress.step
        )
        if case is not None:
            accuracy = torch.tensor(result.heldout_accuracy, dtype=torch.float64)
            case.put_tensors(unit, {"logits": result.logits, "accuracy": accuracy})
        results.append(result)
    return results


def train_classifiers(
    positives: Tensor,
    negatives: Tensor,
    spec: AttackSpec,
    *,
    weights: Path | None = None,
    progress: Progress | None = None,
) -> tuple[TrainedClassifier, ...]:
    """One classifier a seed, kept whole, to be saved and to score photos later.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model.
        negatives: ``[M, 3, H, W]``.
        spec: seeds, epochs, step size, side.
        weights: ImageNet ResNet-18; None starts at random.
        progress: one step an epoch.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    progress = progress or NoProgress()
    progress.start("attack: classifiers", spec.seeds * spec.epochs, 0)
    return tuple(
        train_classifier(positives, negatives, spec, seed, weights=weights, on_epoch=progress.step)
        for seed in range(spec.seeds)
    )


def score_classifiers(
    classifiers: Sequence[TrainedClassifier], queries: Tensor
) -> list[SeedResult]:
    """What each classifier says about the same query images ``[N, 3, H, W]`` in 0..1."""
    return [SeedResult(score_images(c, queries), c.heldout_accuracy) for c in classifiers]


def score_attack(
    model: AttackModel, photos: Tensor, controls: Tensor, verdict: VerdictSpec
) -> AttackEvidence:
    """Judge photos with an attack that was trained before.

    Args:
        model: from `train_classifiers` or from a file.
        photos: ``[n, 3, H, W]`` in 0..1, already through the codec of the model pair, as every
            generated image was; n >= 2.
        controls: ``[m, 3, H, W]``, treated alike, of the same size; m >= 2.
        verdict: levels.

    Raises:
        InputError: a set is too small, or a score is not finite.
    """
    results = score_classifiers(model.classifiers, torch.cat([photos, controls]))
    return attack_evidence(
        results,
        len(photos),
        model.spec,
        verdict,
        negatives_from=model.facts["negatives_from"],
        pretrained=model.facts["pretrained"],
        images=model.facts["images"],
        forwards=model.facts["forwards"],
    )


def attack(
    pair: ModelPair,
    photos: Tensor,
    controls: Tensor,
    prompts: Sequence[str],
    spec: AttackSpec,
    verdict: VerdictSpec,
    *,
    negatives: Tensor | None = None,
    negatives_from: str = "base",
    weights: Path | None = None,
    case: CaseFolder | None = None,
    progress: Progress | None = None,
) -> AttackEvidence:
    """Run the black-box attack.

    Photos and controls pass through the codec first, as every generated image did, so that codec
    traces do not tell real from generated.

    Args:
        pair: base and tuned model.
        photos: ``[n, 3, H, W]`` in 0..1.
        controls: ``[m, 3, H, W]``.
        prompts: for both arms.
        spec: budget and training.
        verdict: levels.
        negatives: label-0 images from a folder or a shadow model; None draws them from the base.
        negatives_from: ``base``, ``folder`` or ``shadow``, for the report.
        weights: ImageNet ResNet-18; None starts at random.
        case: keeps finished work.
        progress: long work.
    """
    positives = draw_arm(pair, prompts, TUNED, spec, case=case, progress=progress).pixels
    arms = 1
    if negatives is None:
        negatives = draw_arm(pair, prompts, BASE, spec, case=case, progress=progress).pixels
        arms = 2
    queries = pair.decode(pair.encode(torch.cat([photos, controls])))
    results = train_seeds(
        positives, negatives, queries, spec, weights=weights, case=case, progress=progress
    )
    return attack_evidence(
        results,
        len(photos),
        spec,
        verdict,
        negatives_from=negatives_from,
        pretrained=weights is not None,
        images=len(positives),
        forwards=planned_forwards(prompts, spec, arms),
    )


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
) -> AttackEvidence:
    """Judge what the classifiers said.

    Args:
        results: one a seed, over photos first and controls after them.
        n_photos: how many of the scores are photos'.
        spec: guidance scales of both arms.
        verdict: levels.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
        images: images an arm.
        forwards: denoiser rows spent.

    Raises:
        InputError: a set is too small, or a score is not finite.
    """
    n = n_photos
    scores = average_logits(results)
    aucs = [auc(r.logits[:n].numpy(), r.logits[n:].numpy()) for r in results]
    low, high = _seed_interval(aucs)
    return AttackEvidence(
        negatives_from,
        pretrained,
        images,
        spec.cfgs,
        compare(scores[:n], scores[n:], verdict),
        tuple(aucs),
        low,
        high,
        sum(r.heldout_accuracy for r in results) / len(results),
        float((scores[:n] > 0).mean()),
        float((scores[n:] > 0).mean()),
        forwards,
    )


def _seed_interval(aucs: Sequence[float]) -> tuple[float, float]:
    if len(aucs) < 2:
        return 0.0, 1.0
    interval = mean_seed_interval(aucs)
    return max(0.0, interval.low), min(1.0, interval.high)
