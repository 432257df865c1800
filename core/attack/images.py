"""What the attack's classifier sees: resized bytes, normalised, and changed alike in both classes.

Source: arXiv 2502.11619 resizes to 224 x 224 (bilinear, aspect ignored), crops nothing, normalises
with ImageNet's mean and deviation, and changes nothing. Its images pass through 8 bits after the
resize, as here. Pillow rounds between its two passes as well, so a resized pixel may differ from
torchvision's PIL path by 2 of 255 levels; torchvision's tensor path differs by rounding alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..images.photos import to_tensor, to_uint8

MAX_SIDE = 224
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
REACH = 16
"""A shift reaches up to a sixteenth of the side."""
BLUR = 100
"""The widest blur has a deviation of a hundredth of the side."""
QUALITY = (50, 95)
_CHUNK = 256


def resize_bytes(pixels: Tensor, side: int) -> Tensor:
    """Bring images to ``side x side`` (bilinear, antialiased, aspect ignored) in 8 bits.

    Args:
        pixels: ``[N, 3, H, W]`` in 0..1.
        side: in pixels.

    Returns:
        ``[N, 3, side, side]`` uint8.
    """
    return torch.cat([_resized(chunk, side) for chunk in pixels.split(_CHUNK)])


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-2:] != (side, side):
        pixels = F.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
    return pixels.mul(255).round().clamp(0, 255).to(torch.uint8)


def normalize(images: Tensor) -> Tensor:
    """ImageNet-normalised float32 of images ``[N, 3, H, W]``, uint8 or in 0..1."""
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


def keep(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch as it is."""
    return x


def mirror_and_shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of a batch ``[N, 3, H, W]`` and shift each by up to a sixteenth of its side."""
    flip = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = torch.where(flip, x.flip(3), x)
    height, width = x.shape[-2:]
    reach = width // REACH
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * reach + 1, (len(x), 2), generator=generator).tolist()
    moved = [
        image[:, top : top + height, left : left + width]
        for image, (top, left) in zip(padded, corners, strict=True)
    ]
    return torch.stack(moved)


def blur_half(x: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian blur of half of a batch, each image with its own deviation."""
    widest = x.shape[-1] / BLUR
    sigma = torch.rand(len(x), generator=generator) * widest
    chosen = (torch.rand(len(x), generator=generator) < 0.5) & (sigma > 0)
    if not chosen.any():
        return x
    out = x.clone()
    out[chosen] = blur(x[chosen], sigma[chosen], math.ceil(3 * widest))
    return out


def blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur with mirrored borders.

    Args:
        x: ``[N, C, H, W]``.
        sigma: ``[N]`` deviations in pixels, above 0.
        radius: of the kernel in pixels, at most the side less one.
    """
    n, channels, height, width = x.shape
    radius = min(radius, height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma[:, None] ** 2), 1)
    kernel = kernel.repeat_interleave(channels, 0)[:, None]
    flat = F.pad(x, (radius,) * 4, mode="reflect").reshape(1, n * channels, *_grown(x, radius))
    flat = F.conv2d(flat, kernel[:, :, None], groups=n * channels)
    return F.conv2d(flat, kernel[..., None], groups=n * channels).reshape(x.shape)


def _grown(x: Tensor, radius: int) -> tuple[int, int]:
    return x.shape[-2] + 2 * radius, x.shape[-1] + 2 * radius


def jpeg_half(x: Tensor, generator: torch.Generator) -> Tensor:
    """JPEG at a random quality of 50 to 95 for half of a batch in 0..1."""
    low, high = QUALITY
    qualities = torch.randint(low, high + 1, (len(x),), generator=generator).tolist()
    chosen = torch.rand(len(x), generator=generator) < 0.5
    out = x.clone()
    for i in chosen.nonzero().flatten().tolist():
        out[i] = through_jpeg(x[i], qualities[i])
    return out


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """One image ``[3, H, W]`` in 0..1 after JPEG at a quality of 1 to 95."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(to_uint8(pixels))).save(file, "JPEG", quality=quality)
    return to_tensor(Image.open(file, formats=("JPEG",)))


def change_all(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, shift, blur and JPEG a batch ``[N, 3, H, W]`` in 0..1."""
    return jpeg_half(blur_half(mirror_and_shift(x, generator), generator), generator)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": keep,
    "shift": mirror_and_shift,
    "full": change_all,
}
