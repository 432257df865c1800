"""Is one picture a copy of another: perceptual hash to find, aligned thumbnails to confirm.

A hash of 64 bits finds candidates under crops and mirroring. Among photos of one institution it
also finds different people, so that every candidate must agree as a picture.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy import fft
from torch import Tensor
from torch.nn.functional import interpolate

SIDE = 32  # of a thumbnail
WORK = 160  # crops of 5% are 8 pixels of it
CROPS = (0.05, 0.10)  # share of the side that a copy may have lost
MAX_BITS = 10  # of 64 that may differ in a candidate
MIN_CORRELATION = 0.96  # of aligned thumbnails; different demo photos stay below 0.945
_GREY = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def phash(grey: np.ndarray) -> np.ndarray:
    """Perceptual hash of grey thumbnails.

    Args:
        grey: ``[..., 32, 32]`` numbers of any scale.

    Returns:
        ``[..., 64]`` bits: which low frequencies exceed their median.

    Source:
        DCT hash as in the `imagehash` package (Zauner 2010).

    Example:
        >>> phash(np.arange(1024).reshape(32, 32)).shape
        (64,)
    """
    waves = np.asarray(fft.dct(fft.dct(grey, axis=-2), axis=-1))[..., :8, :8]
    waves = waves.reshape(*waves.shape[:-2], 64)
    return waves > np.median(waves, axis=-1, keepdims=True)


def hash_views(thumbnails: Tensor) -> np.ndarray:
    """Hashes ``[..., 64]`` of colour thumbnails ``[..., 3, 32, 32]``."""
    return phash((thumbnails.float() * _GREY).sum(-3).double().numpy())


def views(pixels: Tensor) -> Tensor:
    """Thumbnails ``[V, N, 3, 32, 32]`` (uint8) of pictures as they are, mirrored, and cropped.

    Args:
        pixels: ``[N, 3, H, W]`` in 0..1. View 0 is the picture itself.
    """
    work = interpolate(pixels.float(), (WORK, WORK), mode="bilinear", antialias=True)
    views = [work]
    for lost in (round(WORK * c) for c in CROPS):
        size = WORK - lost
        for top, left in product((0, lost // 2, lost), repeat=2):
            views.append(work[..., top : top + size, left : left + size])
    small = (interpolate(v, (SIDE, SIDE), mode="bilinear", antialias=True) for v in views)
    plain = torch.stack([v.clamp(0, 1).mul(255).round().to(torch.uint8) for v in small])
    return torch.cat([plain, plain.flip(-1)])  # the crops lie symmetrically


def same_pictures(a: Tensor, b: Tensor) -> list[tuple[int, int]]:
    """Pairs of pictures that are one picture but for size, compression, crop or mirroring.

    Args:
        a: ``[N, 3, H, W]`` in 0..1.
        b: ``[M, 3, H, W]`` in 0..1.

    Returns:
        Index pairs, rising; crops of up to 10% of a side are looked for.
    """
    if not len(a) or not len(b):
        return []
    views_a, views_b = views(a), views(b)
    same = _matches(views_a, views_b[0]) | _matches(views_b, views_a[0]).T
    return [(int(i), int(j)) for i, j in same.nonzero()]


def _matches(cropped: Tensor, whole: Tensor) -> Tensor:
    """Which pictures ``[N, M]`` have a view ``[V, N, ...]`` that is a whole one ``[M, ...]``."""
    same = torch.zeros(cropped.shape[1], len(whole), dtype=torch.bool)
    signs = torch.from_numpy(hash_views(whole)).float() * 2 - 1
    for view in cropped:
        own = torch.from_numpy(hash_views(view)).float() * 2 - 1
        i, j = ((64 - own @ signs.T) / 2 <= MAX_BITS).nonzero(as_tuple=True)
        agree = (_centred(view[i]) * _centred(whole[j])).sum(1) >= MIN_CORRELATION
        same[i[agree], j[agree]] = True
    return same


def _centred(thumbnails: Tensor) -> Tensor:
    flat = thumbnails.flatten(1).float()
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)
