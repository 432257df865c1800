"""Per-image membership signals from the two models' denoising losses, each with its direction.

Higher always means member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...protocols import ModelPair
from ...specs import MembershipSpec
from ...types import BASE, TUNED
from .queries import draws_of, squared_errors

Floats = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Mean squared eps (flow models: velocity) errors of both models on the same noise.

    Attributes:
        base: ``[N, T, K]`` float64, T timesteps, K noise draws.
        tuned: ``[N, T, K]`` float64.
    """

    base: Tensor
    tuned: Tensor

    def __len__(self) -> int:
        return len(self.base)

    @staticmethod
    def cat(parts: Sequence[Losses]) -> Losses:
        """Images of all parts, one after another."""
        return Losses(torch.cat([p.base for p in parts]), torch.cat([p.tuned for p in parts]))


def eps_losses(
    pair: ModelPair,
    latents: Tensor,
    prompt: str | Sequence[str],
    spec: MembershipSpec,
    *,
    models: Sequence[float],
) -> Tensor:
    """Denoising losses ``|eps_hat - e|^2`` (mean over the latent) of each image.

    For flow models the loss is that of the velocity; see `sampling.noised`.

    Args:
        pair: the two models.
        latents: ``[N, C, h, w]`` clean latents.
        prompt: conditioning: one for every image, or one per image.
        spec: timesteps and draws.
        models: adapter strengths to ask, such as ``(BASE, TUNED)``; all in one batched forward.

    Returns:
        ``[len(models), N, T, K]`` float64.
    """
    prompts = [prompt] * len(latents) if isinstance(prompt, str) else list(prompt)
    out = torch.empty(len(models), len(latents), len(spec.timesteps), spec.noises).double()
    for image, t, k, error in squared_errors(pair, latents, prompts, spec, models=models):
        out[:, image, t, k] = error.flatten(2).mean(2).double()
    return out


def paired_losses(
    pair: ModelPair, latents: Tensor, prompt: str | Sequence[str], spec: MembershipSpec
) -> Losses:
    """Base and tuned losses of the same images on the same noise."""
    base, tuned = eps_losses(pair, latents, prompt, spec, models=(BASE, TUNED))
    return Losses(base, tuned)


def base_ratio(losses: Losses) -> Floats:
    """``log(sum L_base / sum L_tuned)`` over timesteps and draws: the primary signal.

    Source: specification of white-box membership, score s1 (ratio of sums). The base term removes
    how hard an image is in general.

    Returns:
        ``[N]`` float64; 0 when the adapter changes nothing.
    """
    ratio = losses.base.sum((1, 2)).log() - losses.tuned.sum((1, 2)).log()
    return ratio.numpy()


def loss_score(loss: Tensor) -> Floats:
    """Minus the mean loss of one model, ``[N]``: the classical attack, and on the base a probe."""
    return -loss.mean((1, 2)).numpy()


def pair_ratios(losses: Losses) -> Floats:
    """`base_ratio` from each antithetic pair alone, ``[pairs, N]``; one pair may be single."""
    k = losses.base.shape[2]
    groups = [slice(i, i + 2) for i in range(0, k, 2)]
    return np.stack([base_ratio(Losses(losses.base[..., g], losses.tuned[..., g])) for g in groups])


def draw_halves(losses: Losses) -> tuple[Floats, Floats]:
    """`base_ratio` from two halves of the noise draws of each timestep: independent measurements.

    Halves are made of whole antithetic pairs; a single pair is halved itself, which overstates the
    noise.
    """
    draws = torch.arange(losses.base.shape[2])
    half = (draws // 2 if len(draws) >= 4 else draws) % 2 == 0
    return tuple(  # type: ignore[return-value]
        base_ratio(Losses(losses.base[..., keep], losses.tuned[..., keep]))
        for keep in (half, ~half)
    )


__all__ = [
    "Floats",
    "Losses",
    "base_ratio",
    "draw_halves",
    "draws_of",
    "eps_losses",
    "loss_score",
    "pair_ratios",
    "paired_losses",
]
