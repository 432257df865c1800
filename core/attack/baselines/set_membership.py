"""How many of the model's pictures lie close to an image?

Source: Hilprecht et al. 2019 (arXiv 1906.03006), Monte Carlo set membership: the share of generated
images within a radius of the image; the radius is the median, or a lower percentile, of the
distances from each image to its nearest generated one. Sets are compared by their mean. The radius
comes from all queries together, so photos and controls must be scored in one call.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from .vectors import nearest


@torch.no_grad()
def set_membership_scores(generated: Tensor, queries: Tensor, *, share: float = 0.5) -> Tensor:
    """Share of the generated images within the radius of each query, higher meaning member.

    Args:
        generated: ``[P, D]`` rows, `pixel_vectors` or descriptors.
        queries: ``[N, D]`` rows of photos and controls together, N >= 1.
        share: which quantile of the nearest distances is the radius; 0.5 is the median.

    Returns:
        ``[N]`` float64 in 0..1.

    Raises:
        InputError: BAD_SHAPE, NON_FINITE, or OUT_OF_RANGE (a share outside 0..1).

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [5.0]])
        >>> set_membership_scores(rows, torch.tensor([[0.5], [9.0], [5.5]]))
        tensor([0.6667, 0.0000, 0.3333], dtype=torch.float64)
    """
    if not 0 < share <= 1:
        raise InputError("OUT_OF_RANGE", f"the share is {share}; it must lie in 0..1, above 0")
    if not len(queries):
        raise InputError("BAD_SHAPE", "no query was given; the radius comes from the queries")
    distances = nearest(generated, queries, len(generated))
    radius = distances[:, 0].quantile(share)
    return (distances <= radius).double().mean(1)
