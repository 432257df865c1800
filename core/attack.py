"""The black-box attack: a ResNet-18 that tells tuned from other generated images.

Source: arXiv 2502.11619 (architecture, two outputs, cross-entropy, Adam, 224 pixels, 5 seeds);
scores are logit differences, seeds are averaged on identical held-out images, and both classes
get the same augmentation, where the paper used saturated softmax of a single run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InputError, NotEnoughDataError
from .specs import AttackSpec

MAX_SIDE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class SeedResult:
    """One classifier seed.

    Attributes:
        logits: ``[N]`` float64, member minus non-member logit of each query image.
        heldout_accuracy: on generated images that it was not trained on.
    """

    logits: Tensor
    heldout_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClassifier:
    """One trained classifier, apart from the photos that it will judge.

    Attributes:
        module: ResNet-18 with two outputs, on the CPU, in evaluation mode.
        side: input side in pixels.
        seed: classifier seed.
        losses: mean cross-entropy (nats) of each epoch, while it was trained.
        heldout_accuracy: share of held-out generated images on the right side of 0.
        heldout_logits: ``[H]`` float64, logit difference of each held-out generated image.
        heldout_labels: ``[H]`` int64, 1 for the tuned model, 0 for a negative.
    """

    module: nn.Module
    side: int
    seed: int
    losses: tuple[float, ...]
    heldout_accuracy: float
    heldout_logits: Tensor
    heldout_labels: Tensor

    def heldout_scores(self) -> tuple[list[float], list[float]]:
        """Held-out logits of tuned and of negative images; either list may be empty."""
        tuned = self.heldout_labels.bool()
        return self.heldout_logits[tuned].tolist(), self.heldout_logits[~tuned].tolist()


def build_classifier(weights: Path | None = None) -> nn.Module:
    """ResNet-18 with two outputs (torchvision's topology).

    Args:
        weights: ImageNet weights as safetensors with torchvision's or timm's names; None starts
            at random.

    Raises:
        InputError: the file's tensors do not fit.
    """
    from torchvision.models import resnet18

    model = resnet18(weights=None)
    if weights is not None:
        try:
            model.load_state_dict(load_file(weights), strict=True)
        except RuntimeError as error:
            raise InputError(
                "WRONG_WEIGHTS", f"{weights} is no ResNet-18: {str(error)[:200]}"
            ) from error
    model.fc = nn.Linear(model.fc.in_features, 2)
    return model


def prepare(pixels: Tensor, side: int) -> Tensor:
    """Resize ``[N, 3, H, W]`` in 0..1 to ``side x side`` (bilinear) and normalise."""
    if pixels.shape[-1] != side or pixels.shape[-2] != side:
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


@torch.inference_mode(False)
@torch.enable_grad()
def train_classifier(
    positives: Tensor,
    negatives: Tensor,
    spec: AttackSpec,
    seed: int,
    *,
    weights: Path | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedClassifier:
    """Train one classifier on generated images; it works under a host's inference mode too.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model (label 1).
        negatives: ``[M, 3, H, W]``, label 0.
        spec: epochs, step size, side; a side of 0 takes that of the positives, at most 224.
        seed: classifier seed; also draws the 15% of generated images held out.
        weights: see `build_classifier`.
        on_epoch: called after each epoch.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    if min(len(positives), len(negatives)) < 4:
        raise NotEnoughDataError(
            "TOO_FEW_GENERATED",
            f"{len(positives)} and {len(negatives)} images; 4 an arm are needed",
        )
    side = spec.side or min(MAX_SIDE, positives.shape[-1])
    x = torch.cat([prepare(positives, side), prepare(negatives, side)])
    y = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))]).long()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    held, kept = order[: max(2, len(x) * 15 // 100)], order[max(2, len(x) * 15 // 100) :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_classifier(weights)
        losses = _fit(module, x[kept], y[kept], spec, generator, on_epoch=on_epoch)
    logits = _logits(module, x[held])
    accuracy = float((logits > 0).eq(y[held].bool()).float().mean())
    return TrainedClassifier(module, side, seed, losses, accuracy, logits, y[held])


def score_images(classifier: TrainedClassifier, pixels: Tensor) -> Tensor:
    """Tuned minus negative logit of each image, higher meaning member.

    Args:
        classifier: a trained one.
        pixels: ``[N, 3, H, W]`` in 0..1, of any size; resized to the classifier's side.

    Returns:
        ``[N]`` float64.
    """
    return _logits(classifier.module, prepare(pixels, classifier.side))


def train_and_score(
    positives: Tensor,
    negatives: Tensor,
    queries: Tensor,
    spec: AttackSpec,
    seed: int,
    *,
    weights: Path | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> SeedResult:
    """Train one classifier on generated images and apply it to real ones.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model (label 1).
        negatives: ``[M, 3, H, W]``, label 0.
        queries: ``[N, 3, H, W]``, photos and controls.
        spec: epochs, step size, side; a side of 0 takes that of the queries, at most 224.
        seed: see `train_classifier`.
        weights: see `build_classifier`.
        on_epoch: called after each epoch.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    spec = replace(spec, side=spec.side or min(MAX_SIDE, queries.shape[-1]))
    classifier = train_classifier(
        positives, negatives, spec, seed, weights=weights, on_epoch=on_epoch
    )
    return SeedResult(score_images(classifier, queries), classifier.heldout_accuracy)


def _fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    spec: AttackSpec,
    generator: torch.Generator,
    *,
    on_epoch: Callable[[], None],
) -> tuple[float, ...]:
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), lr=spec.learning_rate)
    losses = []
    for _ in range(spec.epochs):
        total, seen = 0.0, 0
        for index in torch.randperm(len(x), generator=generator).split(spec.minibatch):
            if len(index) < 2:
                continue  # batch norm needs two
            loss = _step(model, augment(x[index], generator), y[index], optimiser)
            total, seen = total + loss * len(index), seen + len(index)
        losses.append(total / seen)
        on_epoch()
    model.eval()
    return tuple(losses)


def _step(model: nn.Module, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer) -> float:
    loss = F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of a batch ``[N, 3, H, W]`` and shift it by up to a sixteenth of its side."""
    flip = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = torch.where(flip, x.flip(3), x)
    reach = x.shape[-1] // 16
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    return padded[..., dy : dy + x.shape[-2], dx : dx + x.shape[-1]]


@torch.no_grad()
def _logits(model: nn.Module, x: Tensor) -> Tensor:
    parts = [model(chunk).double() for chunk in x.split(64)]
    logits = torch.cat(parts)
    return logits[:, 1] - logits[:, 0]


def average_logits(results: list[SeedResult]) -> np.ndarray:
    """Mean logit difference over seeds, ``[N]``."""
    return torch.stack([r.logits for r in results]).mean(0).numpy()
