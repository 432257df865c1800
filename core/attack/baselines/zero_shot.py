"""The baseline that asks no model of the case: does CLIP find the member prompt more fitting?

True zero-shot classification (Radford et al. 2021, section 3.1): the softmax over the scaled
cosines of an image with a prompt for members and one for the others. The membership paper
(arXiv 2502.11619) uses that name for a centroid without text (`centroid`). Nothing of the tuned
model enters, so an AUC away from 0.5 says that the sets differ, and never that photos were used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError, plural
from .vectors import check_vectors, directions

OPENAI_SCALE = 100.0
"""What OpenAI's CLIPs learnt, and were clipped at."""


@torch.no_grad()
def zero_shot_scores(prompts: Tensor, queries: Tensor, *, scale: float = OPENAI_SCALE) -> Tensor:
    """Probability of the member prompt for each query, higher meaning member.

    Args:
        prompts: ``[2, D]`` descriptors of the member prompt, then of the other.
        queries: ``[N, D]`` descriptors of photos and controls, by the same encoder.
        scale: of the encoder, above 0.

    Returns:
        ``[N]`` float64 in 0..1.

    Raises:
        InputError: BAD_SHAPE, NON_FINITE, or OUT_OF_RANGE (a zero vector, a scale below 0).

    Example:
        >>> zero_shot_scores(torch.eye(2), torch.tensor([[2.0, 2.0], [1.0, 0.0]]), scale=1.0)
        tensor([0.5000, 0.7311], dtype=torch.float64)
    """
    check_vectors(prompts, queries)
    if len(prompts) != 2:
        raise InputError(
            "BAD_SHAPE", f"{plural(len(prompts), 'prompt')}; give one for members, one other"
        )
    if not scale > 0:
        raise InputError("OUT_OF_RANGE", f"the scale is {scale}; it must lie above 0")
    cosines = directions(queries, "a query") @ directions(prompts, "a prompt").T
    return torch.softmax(scale * cosines, 1)[:, 0]
