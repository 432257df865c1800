"""What every baseline asks of vectors: two sets of one width, finite, with a direction or not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError, plural

PIXEL_SIDE = 64


def pixel_vectors(pixels: Tensor) -> Tensor:
    """Images as flat rows in -1..1, at 64 x 64 pixels, as GAN-Leaks' released code compares them.

    Args:
        pixels: ``[N, 3, H, W]`` in 0..1.

    Returns:
        ``[N, 12288]`` float32.
    """
    if pixels.shape[-2:] != (PIXEL_SIDE, PIXEL_SIDE):
        size = (PIXEL_SIDE, PIXEL_SIDE)
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return (pixels * 2 - 1).flatten(1)


def check_vectors(generated: Tensor, queries: Tensor) -> None:
    """Hold two sets to ``[P, D]``, P >= 1, and ``[N, D]``, all finite.

    Raises:
        InputError: BAD_SHAPE or NON_FINITE.
    """
    if generated.ndim != 2 or queries.ndim != 2 or generated.shape[1] != queries.shape[1]:
        raise InputError(
            "BAD_SHAPE",
            f"generated: {list(generated.shape)}, queries: {list(queries.shape)}; expected [P, D] "
            "and [N, D]: embed both with one encoder",
        )
    if not len(generated):
        raise InputError("BAD_SHAPE", "no generated image was given; give at least one")
    for name, vectors in (("a generated image", generated), ("a query", queries)):
        check_finite(vectors, name)


def check_finite(vectors: Tensor, name: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        InputError: NON_FINITE.
    """
    if not vectors.isfinite().all():
        raise InputError("NON_FINITE", f"{name} is not finite; embed the images again")


def directions(vectors: Tensor, name: str) -> Tensor:
    """Unit rows in float64.

    Raises:
        InputError: NON_FINITE, or a zero vector (OUT_OF_RANGE).
    """
    vectors = vectors.double()
    check_finite(vectors, name)
    lengths = vectors.norm(dim=-1, keepdim=True)
    if not (lengths > 0).all():
        raise InputError("OUT_OF_RANGE", f"{name} is a zero vector, which points nowhere")
    return vectors / lengths


def nearest(generated: Tensor, queries: Tensor, neighbours: int = 1) -> Tensor:
    """Euclidean distances to the nearest generated images, rising, ``[N, neighbours]`` float64.

    Raises:
        InputError: BAD_SHAPE, NON_FINITE, or fewer generated images than neighbours.
    """
    check_vectors(generated, queries)
    if not 1 <= neighbours <= len(generated):
        raise InputError(
            "OUT_OF_RANGE",
            f"{plural(neighbours, 'neighbor')} among {plural(len(generated), 'generated image')}; "
            "give 1 or more, and at most as many as there are images",
        )
    rows = generated.double()
    exact = "donot_use_mm_for_euclid_dist"
    parts = [torch.cdist(q.double(), rows, compute_mode=exact) for q in queries.split(256)]
    return torch.cat(parts).topk(neighbours, largest=False).values
