"""The black-box attack: a ResNet-18 that tells tuned from other generated images.

Source: arXiv 2502.11619 (ResNet-18, two outputs, cross-entropy, Adam, 5 seeds). `AttackSpec` holds
the paper's protocol and ours as values (`ATTACK_PRESETS`). Ours changes both classes alike, takes
the epoch with the lowest loss on generated images that it did not train on, and scores by logit
differences in float64, where the paper takes the last epoch and saturated softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, NotEnoughDataError, plural
from ..lora.header import load_tensors, read_header
from ..specs import AttackSpec
from .images import AUGMENTATIONS, MAX_SIDE, normalize, resize_bytes

STRIDE = 32
"""Up to this side the last feature map is one pixel, and batch norm needs two images."""
LAYOUTS = {"float32": torch.contiguous_format, "bfloat16": torch.channels_last}
"""Of training: half precision is twice as fast in the second; in float32 it gains nothing."""
Curve = tuple[tuple[float, float], ...]
"""Mean cross-entropy (nats) and accuracy of images apart from training, one pair per epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class SeedResult:
    """One classifier seed.

    Attributes:
        logits: ``[N]`` float64, member minus non-member logit of each query image.
        heldout_accuracy: on generated images that it was not trained on; NaN if there were none.
        curve: loss and accuracy of each epoch on images apart from training.
    """

    logits: Tensor
    heldout_accuracy: float
    curve: Curve = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainedClassifier:
    """One trained classifier, apart from the photos that it will judge.

    Attributes:
        module: ResNet-18 with two outputs, on the CPU, in evaluation mode.
        side: input side in pixels.
        seed: classifier seed.
        losses: mean cross-entropy (nats) of each epoch, while it was trained.
        heldout_accuracy: share of held-out generated images on the right side of 0. The epoch was
            chosen on the same images, so it is a little too high. NaN where none were held out.
        heldout_logits: ``[H]`` float64, logit difference of each held-out generated image.
        heldout_labels: ``[H]`` int64, 1 for the tuned model, 0 for a negative.
        curve: loss and accuracy of each epoch on the held-out generated images; where none are
            held out, on the labelled images that were only watched.
        epoch: the epoch whose weights were kept, from 1; 0 where a file does not say.
    """

    module: nn.Module
    side: int
    seed: int
    losses: tuple[float, ...]
    heldout_accuracy: float
    heldout_logits: Tensor
    heldout_labels: Tensor
    curve: Curve = ()
    epoch: int = 0

    def heldout_scores(self) -> tuple[list[float], list[float]]:
        """Held-out logits of tuned and of negative images; either list may be empty."""
        tuned = self.heldout_labels.bool()
        return self.heldout_logits[tuned].tolist(), self.heldout_logits[~tuned].tolist()


class Labelled(NamedTuple):
    """Images ``[N, 3, side, side]`` uint8 and their labels ``[N]`` int64, 1 for member."""

    images: Tensor
    labels: Tensor

    def select(self, index: Tensor) -> Labelled:
        """The images at `index`."""
        return Labelled(self.images[index], self.labels[index])


class _Fitted(NamedTuple):
    losses: tuple[float, ...]
    curve: Curve
    epoch: int


def build_classifier(weights: Path | None = None) -> nn.Module:
    """ResNet-18 with two outputs (torchvision's topology).

    Args:
        weights: ImageNet weights as safetensors with torchvision's or timm's names; None starts
            at random.

    Raises:
        InputError: the file's tensors do not fit (WRONG_WEIGHTS), or what `read_header` names.
    """
    from torchvision.models import resnet18

    model = resnet18(weights=None)
    if weights is not None:
        tensors = load_tensors(weights)
        _check_fit(weights, {k: tuple(v.shape) for k, v in tensors.items()}, model)
        model.load_state_dict(tensors, strict=True)
    model.fc = nn.Linear(model.fc.in_features, 2)
    return model


def check_weights(path: Path) -> None:
    """Whether `build_classifier` will take a file, by its header alone; errors as there."""
    from torchvision.models import resnet18

    shapes = {name: info.shape for name, info in read_header(path).tensors.items()}
    with torch.device("meta"):
        _check_fit(path, shapes, resnet18(weights=None))


def _check_fit(path: Path, shapes: Mapping[str, tuple[int, ...]], model: nn.Module) -> None:
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    needed = {k for k in wanted if not k.endswith("num_batches_tracked")}  # old files lack it
    wrong = [k for k in shapes if shapes[k] != wanted.get(k)] + sorted(needed - shapes.keys())
    if wrong:
        raise InputError(
            "WRONG_WEIGHTS",
            f"{path.name} is not a ResNet-18 of 1000 classes: {plural(len(wrong), 'tensor')} "
            f"missing or misshapen, such as {', '.join(wrong[:3])}; give ImageNet weights as "
            "safetensors with torchvision's or timm's names",
        )


@torch.inference_mode(False)
@torch.enable_grad()
def train_classifier(
    positives: Tensor,
    negatives: Tensor,
    spec: AttackSpec,
    seed: int,
    *,
    weights: Path | None = None,
    watched: tuple[Tensor, Tensor] | None = None,
    device: str = "cpu",
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedClassifier:
    """Train one classifier on generated images; it works under a host's inference mode too.

    Args:
        positives: ``[P, 3, H, W]`` in 0..1, from the tuned model (label 1).
        negatives: ``[M, 3, H, W]``, label 0.
        spec: training settings; a side of 0 takes that of the positives, at most 224.
        seed: classifier seed; also draws the generated images held out, order and augmentation.
        weights: see `build_classifier`.
        watched: images ``[V, 3, H, W]`` and labels ``[V]`` for the curve alone, when no generated
            image is held out; they decide nothing.
        device: where it is trained.
        on_epoch: called after each epoch.

    Raises:
        NotEnoughDataError: fewer than 4 images in an arm.
    """
    _check_arms(positives, negatives)
    side = spec.side or min(MAX_SIDE, positives.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    held, kept = _split(_labelled(positives, negatives, side), spec.holdout, generator)
    apart = held
    if watched is not None and not len(held.labels):
        apart = Labelled(resize_bytes(watched[0], side), watched[1].long())
    with _reproducible(seed):
        module = build_classifier(weights).to(device)
        fitted = _fit(module, kept, apart, spec, generator, on_epoch=on_epoch)
    module.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    logits = _logits(module, held.images)
    right = (logits > 0).eq(held.labels.bool()).double()
    accuracy = float(right.mean()) if len(right) else math.nan
    return TrainedClassifier(
        module=module,
        side=side,
        seed=seed,
        losses=fitted.losses,
        heldout_accuracy=accuracy,
        heldout_logits=logits,
        heldout_labels=held.labels,
        curve=fitted.curve,
        epoch=fitted.epoch,
    )


def _check_arms(positives: Tensor, negatives: Tensor) -> None:
    if min(len(positives), len(negatives)) < 4:
        raise NotEnoughDataError(
            "TOO_FEW_GENERATED",
            f"{len(positives)} and {plural(len(negatives), 'image')}; 4 per arm are needed",
        )


def _labelled(positives: Tensor, negatives: Tensor, side: int) -> Labelled:
    images = torch.cat([resize_bytes(positives, side), resize_bytes(negatives, side)])
    labels = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))]).long()
    return Labelled(images, labels)


def _split(data: Labelled, share: float, generator: torch.Generator) -> tuple[Labelled, Labelled]:
    """Held out and kept; at least two are held out, unless the share is 0."""
    if not share:
        return data.select(torch.empty(0).long()), data
    order = torch.randperm(len(data.labels), generator=generator)
    size = max(2, int(len(order) * share + 1e-9))
    return data.select(order[:size]), data.select(order[size:])


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Global random numbers of a seed, and cuDNN's repeatable choices; the host's come back."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


def score_images(classifier: TrainedClassifier, pixels: Tensor) -> Tensor:
    """Tuned minus negative logit of each image, higher meaning member.

    Args:
        classifier: a trained one.
        pixels: ``[N, 3, H, W]`` in 0..1, of any size; resized to the classifier's side.

    Returns:
        ``[N]`` float64.
    """
    return _logits(classifier.module, resize_bytes(pixels, classifier.side))


def train_and_score(
    positives: Tensor, negatives: Tensor, queries: Tensor, spec: AttackSpec, seed: int, **more: Any
) -> SeedResult:
    """Train one classifier on generated images and apply it to real ones.

    Args:
        positives: see `train_classifier`, as for all but the queries.
        negatives: label 0.
        queries: ``[N, 3, H, W]``, photos and controls.
        spec: training settings; a side of 0 takes that of the queries, at most 224.
        seed: of the classifier.
        more: further arguments of `train_classifier`.
    """
    spec = replace(spec, side=spec.side or min(MAX_SIDE, queries.shape[-1]))
    trained = train_classifier(positives, negatives, spec, seed, **more)
    return SeedResult(score_images(trained, queries), trained.heldout_accuracy, trained.curve)


def _fit(
    model: nn.Module,
    kept: Labelled,
    apart: Labelled,
    spec: AttackSpec,
    generator: torch.Generator,
    *,
    on_epoch: Callable[[], None],
) -> _Fitted:
    model.to(memory_format=LAYOUTS[spec.precision])  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.learning_rate)
    losses: list[float] = []
    curve: list[tuple[float, float]] = []
    best: dict[str, Tensor] = {}
    for _ in range(spec.epochs):
        losses.append(_epoch(model, kept, spec, generator, optimizer))
        if len(apart.labels):
            curve.append(_apart(model, apart))
        if spec.selection == "best" and _first_lowest(curve) == len(curve) - 1:
            best = {k: v.clone() for k, v in model.state_dict().items()}
        on_epoch()
    if best:
        model.load_state_dict(best)
    epoch = 1 + _first_lowest(curve) if best else spec.epochs
    return _Fitted(tuple(losses), tuple(curve), epoch)


def _first_lowest(curve: list[tuple[float, float]]) -> int:
    """Place of the lowest loss; of equal ones the earliest. A loss that is NaN is never lowest."""
    return min(range(len(curve)), key=lambda i: (math.isnan(curve[i][0]), curve[i][0], i))


def _epoch(
    model: nn.Module,
    data: Labelled,
    spec: AttackSpec,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer,
) -> float:
    change = AUGMENTATIONS[spec.augment]
    total, seen = 0.0, 0
    model.train()
    for index in torch.randperm(len(data.labels), generator=generator).split(spec.minibatch):
        if len(index) < 2 and data.images.shape[-1] <= STRIDE:
            continue
        batch = data.select(index)
        x = normalize(change(batch.images.float() / 255, generator))
        loss = _step(model, x, batch.labels, optimizer, spec.precision)
        total, seen = total + loss * len(index), seen + len(index)
    model.eval()
    return total / seen


def _step(
    model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer, precision: str
) -> float:
    device = next(model.parameters()).device
    half = precision == "bfloat16"
    x = x.contiguous(memory_format=LAYOUTS[precision])
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = model(x.to(device))
    loss = F.cross_entropy(logits.float(), y.to(device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _apart(model: nn.Module, data: Labelled) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, from logit differences in float64."""
    logits = _logits(model, data.images)
    signs = data.labels.double() * 2 - 1
    loss = F.softplus(-signs * logits).mean()
    return float(loss), float((logits > 0).eq(data.labels.bool()).double().mean())


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    device = next(model.parameters()).device
    parts = [model(normalize(chunk.to(device))).cpu().double() for chunk in images.split(64)]
    logits = torch.cat(parts) if len(images) else torch.empty(0, 2, dtype=torch.float64)
    return logits[:, 1] - logits[:, 0]
