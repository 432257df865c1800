"""Any image classifier that a user brings, for Grad-CAM: torchvision's or timm's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from ..devices import torch_device
from ..errors import InputError, MissingDependencyError
from ..images.photos import to_tensor
from ..lora.header import load_tensors
from .files import misfits
from .gradcam import grad_cam

MEANS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and deviation that pixels are normalized by."""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A network and how it wants its pictures.

    Attributes:
        network: in evaluation mode.
        layer: whose output Grad-CAM weighs.
        side: input pixels.
        normalisation: key of `MEANS`.
    """

    network: nn.Module
    layer: str
    side: int
    normalisation: str


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """What a classifier looks at.

    Attributes:
        map: ``[H, W]`` in 0..1; relative: its peak is 1 whatever the picture.
        logit: of the class.
        probability: of the class, softmax over all.
    """

    map: Tensor
    logit: float
    probability: float


@torch.inference_mode(False)  # Grad-CAM needs weights that autograd may keep
def load_classifier(
    path: Path,
    architecture: str,
    layer: str,
    *,
    side: int = 224,
    normalisation: str = "imagenet",
    device: str = "cpu",
) -> Classifier:
    """A classifier from weights.

    Args:
        path: safetensors under the names of `architecture`; the number of classes is read off.
        architecture: of torchvision, such as ``resnet50``, or ``timm/NAME`` such as
            ``timm/legacy_xception``.
        layer: such as ``layer4`` of a ResNet, ``block11`` of an Xception.
        side: input pixels.
        normalisation: key of `MEANS`.
        device: where it is.

    Raises:
        InputError: an unknown architecture or normalisation (BAD_SETTING), weights of another
            network (WRONG_WEIGHTS).
        MissingDependencyError: timm is not installed (MISSING_TIMM).
    """
    if normalisation not in MEANS:
        raise InputError(
            "BAD_SETTING", f"no normalisation {normalisation!r}; choose {' or '.join(MEANS)}"
        )
    tensors = load_tensors(path)
    network = _built(architecture, _classes(architecture, tensors, path))
    _fill(network, tensors, path, architecture)
    network.to(torch_device(device)).eval().requires_grad_(False)
    return Classifier(network, layer, side, normalisation)


def _built(architecture: str, classes: int) -> nn.Module:
    maker: Callable[..., Any]
    if architecture.startswith("timm/"):
        try:
            import timm
        except ImportError as error:
            raise MissingDependencyError(
                "MISSING_TIMM", f"{architecture} needs timm: pip install timm"
            ) from error
        maker, known = timm.create_model, set(timm.list_models())
        name, more = architecture.removeprefix("timm/"), {"pretrained": False}
    else:
        maker, known = models.get_model, set(models.list_models(module=models))
        name, more = architecture, {"weights": None}
    if name not in known:
        raise InputError(
            "BAD_SETTING",
            f"no architecture {architecture!r}; give a name of torchvision such as resnet50, or "
            "one of timm's as timm/legacy_xception",
        )
    return maker(name, num_classes=classes, **more)


def _classes(architecture: str, tensors: Mapping[str, Tensor], path: Path) -> int:
    """Rows of the last linear layer, which all these networks end in."""
    with torch.device("meta"):
        network = _built(architecture, 2)
    linear = [name for name, m in network.named_modules() if isinstance(m, nn.Linear)]
    last = tensors.get(f"{linear[-1]}.weight") if linear else None
    if last is None or last.ndim != 2:
        raise InputError("WRONG_WEIGHTS", f"{path} has no last layer of a {architecture}")
    return len(last)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, architecture: str) -> None:
    wrong = misfits(network.state_dict(), tensors)
    if wrong:
        raise InputError(
            "WRONG_WEIGHTS",
            f"{path} is not a {architecture}: {len(wrong)} tensors do not fit, such as "
            f"{wrong[0]!r}",
        )
    network.load_state_dict(dict(tensors))


def explain(classifier: Classifier, picture: Image.Image, target: int) -> Explained:
    """Grad-CAM of one class on one picture, at the picture's size.

    Args:
        classifier: of `load_classifier`.
        picture: RGB of any size; it is resized without regard to its shape.
        target: class number, from 0.

    Raises:
        InputError: see `grad_cam`.
    """
    device = next(classifier.network.parameters()).device
    small = picture.resize((classifier.side, classifier.side), Image.Resampling.BILINEAR)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in MEANS[classifier.normalisation])
    x = ((to_tensor(small) - mean) / deviation)[None].to(device)
    cells = grad_cam(classifier.network, classifier.layer, x, target)[0].cpu()
    with torch.no_grad():
        logits = classifier.network(x)[0].float().cpu()
    # Cells cover equal shares of the picture; each stands at its middle.
    size = (picture.height, picture.width)
    return Explained(
        F.interpolate(cells[None, None], size, mode="bilinear")[0, 0],
        float(logits[target]),
        float(logits.softmax(0)[target]),
    )
