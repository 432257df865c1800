"""Per-image membership signals from the two models' denoising losses, each with its direction.

Higher always means member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..protocols import ModelPair, Rows
from ..sampling import column, noise_of, noised, seed_of
from ..specs import MembershipSpec
from ..types import BASE, TUNED

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


def draws_of(spec: MembershipSpec, shape: Sequence[int]) -> Tensor:
    """Noise ``[T, K, C, h, w]`` shared by both models and all images, in pairs (e, -e)."""
    rows = []
    for t, _ in enumerate(spec.timesteps):
        pairs = [noise_of(seed_of(spec.seed, 1000 * t + k // 2), shape) for k in range(spec.noises)]
        rows.append(torch.stack([-e if k % 2 else e for k, e in enumerate(pairs)]))
    return torch.stack(rows)


@torch.no_grad()
def eps_losses(
    pair: ModelPair, latents: Tensor, prompt: str, spec: MembershipSpec, *, models: Sequence[float]
) -> Tensor:
    """Denoising losses ``|eps_hat - e|^2`` (mean over the latent) of each image.

    For flow models the loss is that of the velocity; see `sampling.noised`.

    Args:
        pair: the two models.
        latents: ``[N, C, h, w]`` clean latents.
        prompt: conditioning, the same for every image and model.
        spec: timesteps and draws.
        models: adapter strengths to ask, such as ``(BASE, TUNED)``; all in one batched forward.

    Returns:
        ``[len(models), N, T, K]`` float64.
    """
    noise = draws_of(spec, latents.shape[1:])
    cells = [(t, k) for t in range(len(spec.timesteps)) for k in range(spec.noises)]
    work = [(i, t, k) for i in range(len(latents)) for t, k in cells]
    out = torch.empty(len(models), len(latents), len(spec.timesteps), spec.noises).double()
    one_each = pair.condition([prompt] * len(models), list(models))
    size = max(1, spec.batch // len(models))
    for start in range(0, len(work), size):
        image, t, k = (torch.tensor(c) for c in zip(*work[start : start + size], strict=True))
        sigma = pair.sigmas[torch.tensor(spec.timesteps)[t]].float()
        x0, eps = latents[image].cpu().float(), noise[t, k]
        error = _eps_error(pair, one_each, x0, eps, sigma)
        out[:, image, t, k] = error.double()
    return out


def _eps_error(pair: ModelPair, one_each: Rows, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    models, n = len(one_each), len(x0)
    device = one_each.device
    x = noised(pair, x0, eps, sigma).to(device)
    rows = torch.cat([x] * models)
    denoised = pair(rows, sigma.to(device).repeat(models), one_each.repeat(n)).cpu().float()
    error = (torch.cat([x0] * models) - denoised) / column(sigma.repeat(models), denoised)
    return error.square().flatten(1).mean(1).view(models, n)


def paired_losses(pair: ModelPair, latents: Tensor, prompt: str, spec: MembershipSpec) -> Losses:
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


def timestep_halves(losses: Losses) -> tuple[Floats, Floats]:
    """`base_ratio` from even and from odd timesteps: two measurements with other noise."""
    return tuple(  # type: ignore[return-value]
        base_ratio(Losses(losses.base[:, start::2], losses.tuned[:, start::2])) for start in (0, 1)
    )
