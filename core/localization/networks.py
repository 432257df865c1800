"""The four networks: patch scores, a classifier for Grad-CAM, a map head, an attention map.

Label 1 and a mask of 1 mean *repainted* everywhere. Networks take pixels in -1..1 and answer in
logits of "repainted"; two-way softmax over (real, fake) is the sigmoid of their difference.

Source: arXiv 2311.04584 (Tantaru, Oneata, Oneata; WACV 2024) and the methods that it builds on:
Patch-Forensics (Chai et al., ECCV 2020), Grad-CAM (Selvaraju et al., ICCV 2017), attention maps
(Dang et al., CVPR 2020); specification localization.md, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .xception import STEM, WHOLE, Xception, channels

PATCH_DEPTH, CAM_DEPTH, ATTENTION_DEPTH = 2, 11, 7
CAM_LAYER = "block11"
CLASSES = 2  # real, fake
LANES = 16
LAYOUTS = {True: torch.channels_last, False: torch.contiguous_format}


class NetworkAnswer(NamedTuple):
    """What a network says of a batch; None where it has no such branch.

    Attributes:
        cells: ``[N, h, w]`` logit of each cell that it was repainted.
        image: ``[N, 2]`` logits of the whole image, real and fake.
    """

    cells: Tensor | None
    image: Tensor | None


class PatchesNetwork(Xception):
    """Xception cut after block 2 and a 1x1 convolution: 191,330 weights, 37 x 37 cells at 299."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(PATCH_DEPTH, width)
        self.convout = nn.Conv2d(self.features, CLASSES, 1)

    def forward(self, x: Tensor) -> NetworkAnswer:
        """Cells only."""
        return NetworkAnswer(_difference(self.convout(self.body(x))), None)


class ClassifierNetwork(Xception):
    """Xception with two outputs; its map is Grad-CAM's, at block 11."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(WHOLE, width)
        self.fc = nn.Linear(self.features, CLASSES)

    def forward(self, x: Tensor) -> NetworkAnswer:
        """The image only."""
        return NetworkAnswer(None, self.fc(self.body(x).mean((2, 3))))


class FcnNetwork(Xception):
    """Blocks 1 to 11 and a fully convolutional head, where masks are there to learn from."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(CAM_DEPTH, width)
        inside = self.features // 4
        self.fcn = nn.Sequential(
            nn.Conv2d(self.features, inside, 3, padding=1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(inside, CLASSES, 1),
        )

    def forward(self, x: Tensor) -> NetworkAnswer:
        """Cells only."""
        return NetworkAnswer(_difference(self.fcn(self.body(x))), None)


class MapHead(nn.Module):
    """A separable convolution to one channel; no bias."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, h, w]`` to ``[N, h, w]``."""
        return self.pointwise(self.c(x))[:, 0]


class AttentionNetwork(Xception):
    """Xception whose features after block 7 are multiplied by a map that it predicts."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(WHOLE, width)
        self.map = MapHead(self.get_submodule("block7").rep[-1].num_features)  # type: ignore[union-attr]
        self.fc = nn.Linear(self.features, CLASSES)

    def forward(self, x: Tensor) -> NetworkAnswer:
        """Cells and the image."""
        x = self.blocks(self.stem(x), 1, ATTENTION_DEPTH)
        cells = self.map(x)
        x = x * torch.sigmoid(cells)[:, None]
        x = self.exit(self.blocks(x, ATTENTION_DEPTH + 1, self.depth))
        return NetworkAnswer(cells, self.fc(x.mean((2, 3))))


Network = PatchesNetwork | ClassifierNetwork | FcnNetwork | AttentionNetwork


def build(method: str, supervision: str, width: float = 1.0) -> Network:
    """The network of a method, with random weights.

    Args:
        method: ``patches``, ``gradcam`` or ``attention``.
        supervision: ``labels`` or ``masks``; Grad-CAM needs another head to learn from masks.
        width: see `Xception`.

    Example:
        >>> sum(w.numel() for w in build("patches", "labels").parameters())
        191330
    """
    masks_for_cam = method == "gradcam" and supervision == "masks"
    network = FcnNetwork(width) if masks_for_cam else NETWORKS[method](width)
    return network.to(memory_format=layout(width))  # type: ignore[call-overload]


def layout(width: float) -> torch.memory_format:
    """How weights and pixels lie in memory: channels last is faster on CPUs.

    Not for thin networks: with few channels torch 2.14's backward pass of a strided 1x1
    convolution in that layout writes beyond its memory.
    """
    return LAYOUTS[channels(STEM[1], width) % LANES == 0]


NETWORKS: dict[str, type[PatchesNetwork | ClassifierNetwork | AttentionNetwork]] = {
    "patches": PatchesNetwork,
    "gradcam": ClassifierNetwork,
    "attention": AttentionNetwork,
}


def _difference(logits: Tensor) -> Tensor:
    return logits[:, 1] - logits[:, 0]


__all__ = [
    "NETWORKS",
    "AttentionNetwork",
    "ClassifierNetwork",
    "FcnNetwork",
    "Network",
    "NetworkAnswer",
    "PatchesNetwork",
    "build",
    "channels",
    "layout",
]
