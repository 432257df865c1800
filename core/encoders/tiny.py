"""The embedded copy descriptor: a small convolution net that says whether two pictures are copies.

It is trained on drawn faces and on textures (``core/demo/making/descriptor.py``), so that the demo
and the tests need no download. It is no match for SSCD on real photographs.
"""

import hashlib
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import MissingWeightsError

ASSET = Path(__file__).resolve().parents[1] / "demo" / "assets" / "descriptor.safetensors"
WIDTHS = (24, 48, 64, 96)
SIDE = 64


class Block(nn.Module):
    """A residual pair of convolutions with group normalisation."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        return x + self.second(F.gelu(self.first(self.norm(x))))


class TinyDescriptor(nn.Module):
    """Pictures to unit vectors; the inner product of two is their copy similarity.

    Attributes:
        name: of the encoder, for provenance.
        dim: length of a descriptor.
        sha256: of the weights file; empty while untrained.
        copy_threshold: 99.9% of pairs of different photos of one institution stay below.
        lenient_threshold: 99% of them stay below.
    """

    name = "tiny-copy"

    def __init__(self, dim: int = 128):
        super().__init__()
        self.dim = dim
        self.sha256 = ""
        self.copy_threshold = float("nan")
        self.lenient_threshold = float("nan")
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2)]
        for here, after in pairwise(WIDTHS):
            layers += [Block(here), nn.Conv2d(here, after, 3, stride=2, padding=1)]
        layers += [Block(WIDTHS[-1]), nn.GroupNorm(8, WIDTHS[-1]), nn.GELU()]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1] * 16, dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describes pictures.

        Args:
            pixels: float32 ``[N, 3, H, W]`` in 0..1, of any size.

        Returns:
            float32 ``[N, dim]`` of unit length.
        """
        if pixels.shape[-2:] != (SIDE, SIDE):
            pixels = F.interpolate(
                pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
            )
        grid = self.trunk((pixels - 0.5) / 0.25)
        return F.normalize(self.head(grid.flatten(1)).float(), dim=1)


def load_tiny(path: Path | None = None) -> TinyDescriptor:
    """Loads the descriptor, ready for inference.

    Args:
        path: a file written by ``core/demo/making/descriptor.py``; None means the embedded one.

    Raises:
        MissingWeightsError: there is no such file.
    """
    path = path or ASSET
    if not path.is_file():
        raise MissingWeightsError(
            "TINY_DESCRIPTOR", f"{path} is missing: rebuild it with the demo recipe"
        )
    with safe_open(path, "pt") as file:
        facts = file.metadata() or {}
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    model = TinyDescriptor(int(facts.get("dim", 128)))
    model.load_state_dict(weights)
    model.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model.copy_threshold = float(facts.get("copy_threshold", "nan"))
    model.lenient_threshold = float(facts.get("lenient_threshold", "nan"))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def describe(model: TinyDescriptor, pixels: Tensor, batch: int = 256) -> Tensor:
    """Descriptors ``[N, dim]`` of many pictures, in batches."""
    return torch.cat([model(part) for part in pixels.split(batch)])
