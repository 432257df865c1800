"""What happens to a picture between a photo and its copy, and pictures that are not faces.

Pixels are float ``[N, 3, H, W]`` in 0..1.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ..datasets import jpeg_round_trip, to_unit


def geometry(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """A crop of up to 10% with a shift of a few pixels, resized back."""
    n = len(pixels)
    zoom = 1 - 0.10 * torch.rand(n, generator=rng)
    shift = (torch.rand(n, 2, generator=rng) * 2 - 1) * (0.04 + (1 - zoom))[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def colors(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast and a tint."""
    n = len(pixels)
    gain = 1 + 0.15 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    contrast = 1 + 0.5 * (torch.rand(n, 1, 1, 1, generator=rng) - 0.5)
    lift = 0.16 * (torch.rand(n, 1, 1, 1, generator=rng) - 0.5)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return (((pixels - mean) * contrast + mean) * gain + lift).clamp(0, 1)


def softness(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Blur of random strength by mixing with a blurred version, then noise of random strength."""
    n = len(pixels)
    padded = F.pad(pixels, (2, 2, 2, 2), mode="replicate")
    blurred = F.avg_pool2d(F.avg_pool2d(padded, 3, 1), 3, 1)
    mix = torch.rand(n, 1, 1, 1, generator=rng)
    noise = 0.06 * torch.rand(n, 1, 1, 1, generator=rng).square()
    noisy = noise * torch.randn(pixels.shape, generator=rng)
    return (pixels + mix * (blurred - pixels) + noisy).clamp(0, 1)


def compression(pixels: Tensor, rng: Generator) -> Tensor:
    """A real JPEG round trip for half of the pictures."""
    planes = (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [
        jpeg_round_trip(p, int(rng.integers(30, 95))) if rng.random() < 0.5 else p for p in planes
    ]
    return to_unit(np.stack(rows))


def copies(pixels: Tensor, seed: int) -> Tensor:
    """One altered copy of each picture."""
    torch_rng, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    altered = geometry(pixels, torch_rng)
    altered = softness(colors(altered, torch_rng), torch_rng)
    return compression(altered, rng)


def textures(n: int, seed: int, *, size: int = 64) -> NDArray[np.uint8]:
    """Gradients, waves and blots: uint8 ``[N, size, size, 3]`` that are not faces."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * 2 - 1
    out = np.empty((n, size, size, 3), np.float32)
    for i in range(n):
        low, high = rng.uniform(0, 1, (2, 3))
        field = np.zeros((size, size), np.float32)
        for _ in range(rng.integers(1, 6)):
            angle, rate, phase = rng.uniform(0, 6.28), rng.gamma(2, 2.5), rng.uniform(0, 6.28)
            field += np.sin(rate * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        for _ in range(rng.integers(0, 5)):
            cx, cy, width = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.05, 0.4)
            blot = ((x - cx) ** 2 + (y - cy) ** 2 < width**2).astype(np.float32)
            field += rng.uniform(-2, 2) * blot
        mix = 1 / (1 + np.exp(-rng.uniform(0.5, 4) * field))[..., None]
        out[i] = low * (1 - mix) + high * mix
    return (out * 255 + 0.5).astype(np.uint8)
