"""Where on a photo the adapter helps: a heat map laid over it, for people to look at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WARM, COLD = (0.84, 0.29, 0.10), (0.10, 0.36, 0.70)


def overlay(pixels: Tensor, heat: Tensor) -> Tensor:
    """A grey photo, tinted red where the tuned model's error is lower and blue where it is higher.

    Colour is scaled to the photo's own largest difference (99th percentile): maps of two photos
    show places, not which photo is a member.

    Args:
        pixels: ``[3, H, W]`` in 0..1.
        heat: ``[h, w]`` mean base error minus tuned error; higher where the adapter helps.

    Returns:
        ``[3, H, W]`` in 0..1.
    """
    size = tuple(pixels.shape[-2:])
    full = F.interpolate(heat[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
    scale = full.abs().flatten().quantile(0.99).clamp_min(1e-12)
    strength = (full / scale).clamp(-1, 1)
    grey = pixels.mean(0).expand(3, -1, -1)
    warm, cold = (torch.tensor(c).view(3, 1, 1) for c in (WARM, COLD))
    tint = torch.where(strength > 0, warm, cold)
    weight = 0.7 * strength.abs()
    return (1 - weight) * grey + weight * tint


def tinted(pixels: Tensor, amount: Tensor) -> Tensor:
    """A grey photo, tinted red as far as a map says.

    The scale is absolute: an empty map leaves the photo grey.

    Args:
        pixels: ``[3, H, W]`` in 0..1.
        amount: ``[H, W]`` in 0..1.

    Returns:
        ``[3, H, W]`` in 0..1.
    """
    grey = pixels.mean(0).expand(3, -1, -1)
    weight = 0.7 * amount.clamp(0, 1)
    return (1 - weight) * grey + weight * torch.tensor(WARM).view(3, 1, 1)
