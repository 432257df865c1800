"""The black-box line: sample both arms, train the attack over seeds, score photos and controls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..protocols import QUIET, ModelPair, Progress
from ..sampling.generation import generate
from ..sampling.guidance import cfg
from ..sampling.plans import forwards, plan
from ..specs import AttackSpec, SampleSpec, VerdictSpec
from ..storage import UNKEPT, Work
from ..types import BASE, TUNED, ImageBatch
from ..verdicts.evidence import AttackEvidence
from .classifier import (
    SeedResult,
    TrainedClassifier,
    score_images,
    train_and_score,
    train_classifier,
)
from .files import AttackModel
from .images import MAX_SIDE
from .scores import attack_evidence, judged_rows


def sample_spec(spec: AttackSpec) -> SampleSpec:
    """The solver settings of both arms."""
    return SampleSpec(spec.sampler, spec.steps, spec.batch, spec.seed)


def draw_arm(
    pair: ModelPair,
    prompts: Sequence[str],
    model: float,
    spec: AttackSpec,
    *,
    work: Work = UNKEPT,
) -> ImageBatch:
    """Images of one arm; both arms share prompts, seeds, cfg and sampler.

    Args:
        pair: the models.
        prompts: used in turn.
        model: 0 base (negatives), 1 tuned (positives).
        spec: images and guidance scales; every noise is drawn at every scale.
        work: keeps finished parts, is told of steps.
    """
    per_scale = -(-spec.images // len(spec.cfgs))
    jobs = plan(prompts, [cfg(scale, model) for scale in spec.cfgs], per_scale, spec.seed)
    task = "attack: tuned images" if model == TUNED else "attack: base images"
    side = spec.side or MAX_SIDE
    return generate(pair, jobs, sample_spec(spec), work=work, task=task, max_side=side)


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
    n_photos: int | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    work: Work = UNKEPT,
) -> list[SeedResult]:
    """One classifier per seed, all applied to the same query images; finished seeds are kept.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model.
        negatives: ``[M, 3, H, W]``.
        queries: ``[N, 3, H, W]``, photos first and controls after them.
        spec: seeds and training.
        n_photos: how many of the queries are photos; with it the paper's protocol draws its
            validation curves.
        weights: ImageNet ResNet-18; None starts at random.
        device: where the classifiers are trained.
        work: keeps finished parts, is told of steps.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    done = sum(work.has(f"attack/seed-{s}") for s in range(spec.seeds))
    work.progress.start("attack: classifiers", spec.seeds * spec.epochs, done * spec.epochs)
    results = []
    for seed in range(spec.seeds):
        train = partial(
            _train_seed, positives, negatives, queries, spec, seed,
            n_photos=n_photos, weights=weights, device=device, on_epoch=work.progress.step,
        )  # fmt: skip
        results.append(_kept(work.tensors(f"attack/seed-{seed}", train)))
    return results


def _train_seed(
    positives: Tensor,
    negatives: Tensor,
    queries: Tensor,
    spec: AttackSpec,
    seed: int,
    *,
    n_photos: int | None,
    **more: Any,
) -> dict[str, Tensor]:
    watched = None if n_photos is None else _watched(queries, n_photos, spec, seed)
    result = train_and_score(positives, negatives, queries, spec, seed, watched=watched, **more)
    return _tensors(result)


def _tensors(result: SeedResult) -> dict[str, Tensor]:
    accuracy = torch.tensor(result.heldout_accuracy, dtype=torch.float64)
    curve = torch.tensor(result.curve, dtype=torch.float64).reshape(-1, 2)
    return {"logits": result.logits, "accuracy": accuracy, "curve": curve}


def _kept(tensors: dict[str, Tensor]) -> SeedResult:
    curve = tensors.get("curve", torch.empty(0, 2)).tolist()
    return SeedResult(
        tensors["logits"], float(tensors["accuracy"]), tuple((a, b) for a, b in curve)
    )


def _watched(
    queries: Tensor, n_photos: int, spec: AttackSpec, seed: int
) -> tuple[Tensor, Tensor] | None:
    rows = torch.from_numpy(judged_rows(n_photos, len(queries) - n_photos, spec, seed)[1])
    return (queries[rows], (rows < n_photos).long()) if len(rows) else None


def train_classifiers(
    positives: Tensor,
    negatives: Tensor,
    spec: AttackSpec,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    progress: Progress = QUIET,
) -> tuple[TrainedClassifier, ...]:
    """One classifier per seed, kept whole, to be saved and to score photos later.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model.
        negatives: ``[M, 3, H, W]``.
        spec: seeds, epochs, step size, side.
        weights: ImageNet ResNet-18; None starts at random.
        device: where they are trained.
        progress: one step an epoch.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    progress.start("attack: classifiers", spec.seeds * spec.epochs, 0)
    more: dict[str, Any] = {"weights": weights, "device": device, "on_epoch": progress.step}
    return tuple(
        train_classifier(positives, negatives, spec, seed, **more) for seed in range(spec.seeds)
    )


def score_classifiers(
    classifiers: Sequence[TrainedClassifier], queries: Tensor
) -> list[SeedResult]:
    """What each classifier says about the same query images ``[N, 3, H, W]`` in 0..1."""
    return [SeedResult(score_images(c, queries), c.heldout_accuracy, c.curve) for c in classifiers]


def score_attack(
    model: AttackModel,
    photos: Tensor,
    controls: Tensor,
    verdict: VerdictSpec,
    *,
    clusters: tuple[str, ...] | None = None,
) -> AttackEvidence:
    """Judge photos with an attack that was trained before.

    Args:
        model: from `train_classifiers` or from a file.
        photos: ``[n, 3, H, W]`` in 0..1, already through the codec of the model pair, as every
            generated image was; n >= 2.
        controls: ``[m, 3, H, W]``, treated alike, of the same size; m >= 2.
        verdict: levels.
        clusters: session of each photo, then of each control.

    Raises:
        InputError: a set is too small, or a score is not finite.
    """
    results = score_classifiers(model.classifiers, torch.cat([photos, controls]))
    return attack_evidence(
        results,
        len(photos),
        model.spec,
        verdict,
        negatives_from=model.facts.negatives_from,
        pretrained=model.facts.pretrained,
        images=model.facts.images,
        forwards=model.facts.forwards,
        clusters=clusters,
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
    device: str = "cpu",
    clusters: tuple[str, ...] | None = None,
    work: Work = UNKEPT,
) -> AttackEvidence:
    """Run the black-box attack.

    Photos and controls pass through the codec first (unless ``spec.codec`` is off), as every
    generated image did, so that codec traces do not tell real from generated.

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
        device: where the classifiers are trained.
        clusters: session of each photo, then of each control.
        work: keeps finished parts, is told of steps.
    """
    positives = draw_arm(pair, prompts, TUNED, spec, work=work).pixels
    arms = 1
    if negatives is None:
        negatives = draw_arm(pair, prompts, BASE, spec, work=work).pixels
        arms = 2
    queries = torch.cat([photos, controls])
    if spec.codec == "on":
        queries = pair.decode(pair.encode(queries))
    results = train_seeds(
        positives, negatives, queries, spec,
        n_photos=len(photos), weights=weights, device=device, work=work,
    )  # fmt: skip
    return attack_evidence(
        results,
        len(photos),
        spec,
        verdict,
        negatives_from=negatives_from,
        pretrained=weights is not None,
        images=len(positives),
        forwards=planned_forwards(prompts, spec, arms),
        clusters=clusters,
    )
