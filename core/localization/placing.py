"""Cells to pixels: each cell's value stands at the pixel that it is centred on."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def upsampled(cells: Tensor, size: tuple[int, int], stride: float, offset: float) -> Tensor:
    """Linear interpolation between the cells' centres; beyond the outermost it is constant.

    Args:
        cells: ``[h, w]``.
        size: ``(H, W)`` of the picture.
        stride: picture pixels between two cells.
        offset: pixel that the first cell is centred on.

    Returns:
        ``[H, W]``.

    Example:
        >>> upsampled(torch.tensor([[0.0, 1.0]]), (1, 5), stride=4, offset=0).tolist()
        [[0.0, 0.25, 0.5, 0.75, 1.0]]
    """
    down, across = (_weights(n, m, stride, offset) for n, m in zip(size, cells.shape, strict=True))
    return _rows(across, _rows(down, cells.float()).T).T


def _weights(pixels: int, cells: int, stride: float, offset: float) -> tuple[Tensor, Tensor]:
    place = ((torch.arange(pixels).double() - offset) / stride).clamp(0, cells - 1)
    low = place.floor().long().clamp_max(max(cells - 2, 0))
    return low, (place - low).float()


def _rows(weights: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    low, share = weights
    high = (low + 1).clamp_max(len(values) - 1)
    return torch.lerp(values[low], values[high], share[:, None])


def resized_as_published(cells: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A map at ``(H, W)`` as the authors resize it: PIL's bicubic filter on floats.

    It may leave 0..1 by about 0.1.
    """
    picture = Image.fromarray(cells.float().numpy())
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))
