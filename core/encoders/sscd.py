"""SSCD disc_mixup: the copy descriptor of the field (Pizzi et al., CVPR 2022).

A ResNet-50 body, generalised-mean pooling with p = 3, a linear layer to 512, unit norm; no
whitening. Input: short side 288, ImageNet mean and deviation. Cosine above 0.75 means "copy" at
90% precision on DISC (its authors' figure); FineXtract's A-ESR uses 0.7 and 0.6.

Its authors release one set of weights under two names for the body: torchvision's, with the linear
layer as ``backbone.fc``, and Classy Vision's, with the linear layer as ``embeddings.1``. All their
512-wide ResNet-50 releases share these names and shapes; the report's SHA-256 tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import device_of
from ..errors import InputError, MissingWeightsError
from ..lora.header import load_tensors, sha256_file
from ..types import EncoderId

FILE = "sscd_disc_mixup.safetensors"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
EXPECTED = (
    "a ResNet-50 named as by torchvision (`backbone.layer1.0.conv1.weight`) or by Classy Vision "
    "(`backbone.blocks.0.block0-0.convolutional_block.0.weight`), and one linear layer 2048 to 512 "
    "as `backbone.fc`, `embeddings` or `embeddings.1`"
)
_SHOWN = 4
_DEPTHS = (3, 4, 6, 3)
_RENAMES = (  # part of a published name -> part of ours; the parts of one name never overlap
    ("backbone.fc.", "embeddings."),
    ("embeddings.1.", "embeddings."),
    ("backbone.initial_block._module.0.", "backbone.conv1."),
    ("backbone.initial_block._module.1.", "backbone.bn1."),
    *(
        (f"backbone.blocks.{i}.block{i}-{j}.", f"backbone.layer{i + 1}.{j}.")
        for i, depth in enumerate(_DEPTHS)
        for j in range(depth)
    ),
    (".convolutional_block.0.", ".conv1."),
    (".convolutional_block.1.", ".bn1."),
    (".convolutional_block.3.", ".conv2."),
    (".convolutional_block.4.", ".bn2."),
    (".convolutional_block.6.", ".conv3."),
    (".bn.", ".bn3."),
)


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


def sscd_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of `SscdNetwork`.

    Args:
        state: weights under torchvision's or Classy Vision's names; batch counters may be absent.

    Raises:
        InputError: keys are missing, unknown, of another shape, or name one weight twice
            (WRONG_WEIGHTS); the message shows a few of them.
    """
    with torch.device("meta"):
        expected = {k: v.shape for k, v in SscdNetwork().state_dict().items()}
    names = {key: _renamed(key) for key in state}
    found = list(names.values())
    counters = {k for k in expected if k.endswith("num_batches_tracked")}
    problems = {
        "unknown": [k for k, name in names.items() if name not in expected],
        "missing": sorted(set(expected) - set(found) - counters),
        "given twice": [k for k, name in names.items() if found.count(name) > 1],
        "of another shape": [
            f"{k} {list(state[k].shape)}"
            for k, name in names.items()
            if state[k].shape != expected.get(name, state[k].shape)
        ],
    }
    if any(problems.values()):
        said = "; ".join(f"{_few(keys)} {what}" for what, keys in problems.items() if keys)
        raise InputError(
            "WRONG_WEIGHTS", f"this is not SSCD disc_mixup: {said}. Wanted: {EXPECTED}"
        )
    return {names[k]: v for k, v in state.items()}


def _renamed(key: str) -> str:
    for theirs, ours in _RENAMES:
        key = key.replace(theirs, ours)
    return key


def _few(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(repr(k[:80]) for k in keys[:_SHOWN]) + more


class SscdEncoder:
    """SSCD as an `ImageEncoder`.

    Raises:
        InputError: the file is not a safetensors file, or holds other weights (WRONG_WEIGHTS).
    """

    def __init__(self, path: Path):
        state = sscd_state(load_tensors(path))
        self.network = SscdNetwork().eval()
        self.network.load_state_dict(state)  # a plain dict: absent batch counters are allowed
        self.id = EncoderId("sscd_disc_mixup", sha256_file(path), 512, 0.7, 0.6)

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
                "sscd_disc_mixup.torchvision.pt or .classy.pt (state dicts) from its authors' "
                "release (torch.load with weights_only=True), save it as safetensors under that "
                "name, and put it there; or use --encoder tiny",
            )
        return cls(models / FILE)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Unit-norm descriptors ``[N, 512]`` of pixels ``[N, 3, H, W]`` in 0..1."""
        pixels = pixels.to(device_of(self.network))
        mean, std = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        scale = 288 / min(pixels.shape[-2:])
        size = [round(s * scale) for s in pixels.shape[-2:]]
        resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        return self.network((resized - mean) / std)
