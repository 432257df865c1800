"""SSCD disc_mixup: the copy descriptor of the field (Pizzi et al., CVPR 2022).

A ResNet-50 body, generalised-mean pooling with p = 3, a linear layer to 512, unit norm. Input:
short side 288, ImageNet mean and deviation. Cosine above 0.75 means "copy" at 90% precision on
DISC (its authors' figure); FineXtract's A-ESR uses 0.7 and 0.6.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, MissingWeightsError
from ..types import EncoderId

FILE = "sscd_disc_mixup.safetensors"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class SscdNetwork(nn.Module):
    """ResNet-50, GeM (p = 3), Linear(2048, 512), unit norm."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.backbone = resnet50(weights=None)
        self.backbone.fc = nn.Identity()  # type: ignore[assignment]
        self.backbone.avgpool = nn.Identity()  # type: ignore[assignment]
        self.embeddings = nn.Linear(2048, 512)

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors ``[N, 512]`` of normalised images ``[N, 3, H, W]``."""
        body = self.backbone
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        for layer in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = layer(x)
        pooled = x.clamp_min(1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        return F.normalize(self.embeddings(pooled))


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published archive nests its linear layer as ``embeddings.1`` beside the pooling."""
    return {k.replace("embeddings.1.", "embeddings."): v for k, v in state.items()}


class SscdEncoder:
    """SSCD as an `ImageEncoder`."""

    def __init__(self, path: Path):
        self.network = SscdNetwork().eval()
        try:
            self.network.load_state_dict(_renamed(load_file(path)), strict=True)
        except RuntimeError as error:
            raise InputError("WRONG_WEIGHTS", f"{path} is not SSCD: {str(error)[:200]}") from error
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.id = EncoderId("sscd_disc_mixup", sha256, 512, 0.7, 0.6)

    @staticmethod
    def available(models: Path | None) -> bool:
        """Whether the weights are in the models folder."""
        return models is not None and (models / FILE).is_file()

    @classmethod
    def find(cls, models: Path | None) -> SscdEncoder:
        """Load from the models folder.

        Raises:
            MissingWeightsError: the file is not there.
        """
        if models is None or not cls.available(models):
            raise MissingWeightsError(
                "MISSING_WEIGHTS",
                f"{FILE} (about 98 MB, MIT licence) is not in {models or 'a --models folder'}. Get "
                "sscd_disc_mixup from the SSCD authors' release, save its state dict as "
                "safetensors, and put it there; or use --encoder tiny",
            )
        return cls(models / FILE)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Unit-norm descriptors ``[N, 512]`` of pixels ``[N, 3, H, W]`` in 0..1."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        scale = 288 / min(pixels.shape[-2:])
        size = [round(s * scale) for s in pixels.shape[-2:]]
        resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        return self.network((resized - mean) / std)
