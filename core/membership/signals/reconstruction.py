"""Picture evidence: the base inverts a photo, both models draw it again from the same noise."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ...errors import InputError
from ...protocols import ModelPair
from ...sampling.plans import sample_ddim, schedule
from ...specs import SignalSpec
from ...types import BASE, TUNED
from .grid import Raw
from .queries import Ask, conditions, working


def ladder(pair: ModelPair, spec: SignalSpec) -> tuple[Tensor, Tensor]:
    """Noise levels of the inversion, rising, and of the regeneration, falling to 0.

    The regeneration uses a subset of the inversion's levels, its highest among them.

    Raises:
        InputError: more regeneration than inversion steps.
    """
    if spec.regeneration > spec.inversion:
        raise InputError(
            "BAD_SETTING",
            f"regeneration has {spec.regeneration} steps and the inversion {spec.inversion}; "
            "give it at most as many",
        )
    falling = schedule(pair.sigmas, spec.inversion, "leading")[:-1]
    keep = torch.linspace(0, len(falling) - 1, spec.regeneration).round().long()
    return falling.flip(0), torch.cat([falling[keep], falling.new_zeros(1)])


def invert(ask: Ask) -> Tensor:
    """Deterministic inversion with the base at guidance 1: ``[N, C, h, w]`` at the top level.

    The latent is taken for the state at the lowest level. Euler steps on the probability-flow
    equation are DDIM steps in ``x0 + sigma eps`` coordinates, and serve flow models as well.
    """
    rising, _ = ladder(ask.pair, ask.spec)
    x = working(ask.subjects.latents)
    model = _model(ask, (BASE,))
    for low, high in pairwise(rising):
        x = x + (x - model(x, low)) / low.to(x) * (high - low).to(x)
    return x


def _model(ask: Ask, models: tuple[float, ...]):
    rows = conditions(ask.pair, ask.subjects.captions, models)(torch.arange(len(ask.subjects)))
    size = ask.spec.batch

    @torch.no_grad()
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        parts = []
        for index in torch.arange(len(x)).split(size):
            picked, level = rows.select(index.tolist()), sigma.to(x).expand(len(index))
            device = picked.device
            parts.append(ask.pair(x[index].to(device), level.to(device), picked).cpu().to(x.dtype))
        return torch.cat(parts)

    return denoise


def reconstruction_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """Distance of each photo to what base and tuned model make of its inverted noise.

    Returns:
        ``distance`` ``[N, 2]``, ``1 - cosine`` of the embedding, base and tuned.

    Raises:
        InputError: BAD_SIGNAL without an embedding.
    """
    if ask.embed is None:
        raise InputError(
            "BAD_SIGNAL",
            "reconstruction compares pictures and no embedding was given; pass embed=, such as a "
            "copy descriptor, or leave the signal out",
        )
    noise, n = invert(ask), len(ask.subjects)
    _, falling = ladder(ask.pair, ask.spec)
    both = noise.repeat(2, *[1] * (noise.ndim - 1))
    drawn = sample_ddim(_model(ask, (BASE, TUNED)), both, falling.to(both))
    photos = ask.embed(ask.subjects.pixels).double().cpu()
    again = ask.embed(ask.pair.decode(drawn)).double().cpu().view(2, n, -1)
    return {"distance": (1 - (again * photos).sum(2)).T}


def reconstruction(raw: Raw, spec: SignalSpec) -> Tensor:
    """Distance to the base's picture minus distance to the tuned model's."""
    return raw["distance"][:, 0] - raw["distance"][:, 1]


def noise_probe(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the distance to the tuned model's picture (Noise as a Probe, 2601.21628).

    There the distance is of pixels and the regeneration runs at guidance 3.5; here it is the
    embedding's, at guidance 1.
    """
    return -raw["distance"][:, 1]
