"""Null models: adapters of random noise that change each layer as strongly as the suspect does.

A statistic that such a model reaches too says nothing about the photos.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..lora.operators import Full, LowRank, Operator, delta, rank

Weights = Callable[[str, str], Tensor]


def noise_like(op: Operator, weight: Tensor, generator: torch.Generator) -> Operator:
    """A random operator with the suspect's rank and Frobenius norm on one layer.

    Args:
        op: the suspect's change of the layer.
        weight: the layer's weight ``[out, in, ...]``.
        generator: source of the noise.

    Returns:
        A low-rank operator when the suspect's is one, else a dense difference.
    """
    norm = float(delta(op, weight).norm())
    if not isinstance(op, LowRank):
        noise = torch.randn(weight.shape, generator=generator)
        return Full(noise * (norm / float(noise.norm())), None)
    r = rank(op) or 1
    out, inner = weight.shape[0], weight.shape[1:]
    tail = (1,) * (weight.ndim - 2)
    down = torch.randn((r, *inner), generator=generator)
    up = torch.randn((out, r, *tail), generator=generator)
    change = up.flatten(1) @ down.flatten(1)
    return LowRank(down, up, None, norm / float(change.norm()))
