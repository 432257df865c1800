"""The embedded tiny descriptor as an `ImageEncoder`: works with no download, on drawn faces."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import device_of
from ..types import EncoderId
from .tiny import load_tiny

NOTE = (
    "trained on drawn faces and textures; on real photographs its thresholds are not validated: "
    "bring SSCD weights for those"
)


class TinyEncoder:
    """The embedded copy descriptor."""

    def __init__(self) -> None:
        self.network = load_tiny()
        net = self.network
        self.id = EncoderId(
            net.name, net.sha256, net.dim, net.copy_threshold, net.lenient_threshold, NOTE
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Unit-norm descriptors ``[N, D]`` of pixels ``[N, 3, H, W]`` in 0..1."""
        return self.network(pixels.to(device_of(self.network)))
