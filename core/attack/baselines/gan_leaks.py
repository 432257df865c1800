"""How near is an image to the nearest picture that the model made?

Source: GAN-Leaks, full black-box attack (Chen et al. 2020, arXiv 1909.03935, sections 4.2 and 4.6):
score = -min over generated images of a distance. Its released code compares flat pixels in -1..1
at 64 x 64 by Euclidean distance, keeps five neighbours and uses the first. The calibrated score
subtracts what a reference generator gives: here the base, with the same prompts, seeds and number
of images (`base_calibrated`). SecMI reports the plain distance as largely ineffective on diffusion
models.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .vectors import check_vectors, directions, nearest


@torch.no_grad()
def gan_leaks_scores(generated: Tensor, queries: Tensor, *, neighbours: int = 1) -> Tensor:
    """Minus the mean Euclidean distance to the nearest generated images, higher meaning member.

    Args:
        generated: ``[P, D]`` rows, `pixel_vectors` or descriptors.
        queries: ``[N, D]`` rows made alike.
        neighbours: how many of the nearest are averaged; the paper takes one.

    Returns:
        ``[N]`` float64, at most 0.

    Raises:
        InputError: BAD_SHAPE, NON_FINITE, or OUT_OF_RANGE (more neighbours than images).

    Example:
        >>> gan_leaks_scores(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([-4.], dtype=torch.float64)
    """
    return -nearest(generated, queries, neighbours).mean(1)


@torch.no_grad()
def gan_leaks_cosine_scores(generated: Tensor, queries: Tensor, *, neighbours: int = 1) -> Tensor:
    """The same by 1 - cosine of descriptors, for any encoder.

    Args:
        generated: ``[P, D]`` descriptors.
        queries: ``[N, D]`` descriptors by the same encoder.
        neighbours: how many of the nearest are averaged.

    Returns:
        ``[N]`` float64, -2 to 0.

    Raises:
        InputError: as in `gan_leaks_scores`; also a zero vector (OUT_OF_RANGE).

    Example:
        >>> gan_leaks_cosine_scores(torch.eye(2), torch.tensor([[0.6, 0.8], [-1.0, -1.0]]))
        tensor([-0.2000, -1.7071], dtype=torch.float64)
    """
    check_vectors(generated, queries)
    unit, asked = (directions(v, "a descriptor") for v in (generated, queries))
    distances = nearest(unit, asked, neighbours)  # of unit rows: 1 - cosine is half the square
    return -(distances**2 / 2).mean(1)
