"""Sizes that networks want: padded by reflection, and back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def padded(x: Tensor, multiple: int) -> Tensor:
    """``[N, C, H, W]`` mirrored at the right and bottom up to a multiple of both sides.

    >>> import torch
    >>> padded(torch.zeros(1, 1, 9, 16), 8).shape
    torch.Size([1, 1, 16, 16])
    """
    down, right = (-s % multiple for s in x.shape[-2:])
    return F.pad(x.float(), (0, right, 0, down), mode="reflect") if down or right else x.float()


def trimmed(x: Tensor, like: Tensor) -> Tensor:
    """The part of `x` that `like` covers, from the top left."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def cells(mask: Tensor, size: tuple[int, int], rule: str = "any") -> Tensor:
    """A pixel mask on a latent grid.

    Args:
        mask: ``[N, 1, H, W]`` of 0 and 1.
        size: ``(h, w)`` of the grid.
        rule: ``any`` marks a cell that holds one marked pixel, so that nothing marked is kept;
            ``nearest`` takes the pixel at its centre, as diffusers does.
    """
    if rule == "any":
        return F.adaptive_max_pool2d(mask.float(), size)
    return F.interpolate(mask.float(), size, mode="nearest-exact")
