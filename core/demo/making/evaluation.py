"""How good the demo is, in figures: white-box separation and a first look at extraction."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from .diffusion import Base, Predict, add_noise, sample, with_cfg
from .kohya import merge_adapter

TIMESTEPS = tuple(range(50, 800, 100))
NOISE_PAIRS = 2


def tuned_unet(base: Base, adapter: Path) -> UNet2DConditionModel:
    """A copy of the base UNet with the adapter merged in."""
    unet = copy.deepcopy(base.unet)
    merge_adapter(unet, adapter)
    return unet


def predictor(unet: UNet2DConditionModel) -> Predict:
    """The plain noise prediction of a UNet."""
    return lambda x, t, text: unet(x, t, text).sample


@torch.no_grad()
def summed_losses(predict: Predict, latents: Tensor, text: Tensor, *, seed: int = 7) -> Tensor:
    """Denoising loss a photo ``[N]``, summed over shared timesteps and antithetic noise pairs."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(len(latents))
    states = text.expand(len(latents), -1, -1)
    for t in TIMESTEPS:
        timesteps = torch.full((len(latents),), t)
        for _ in range(NOISE_PAIRS):
            one = torch.randn(latents.shape[1:], generator=generator)
            for noise in (one, -one):
                eps = noise.expand_as(latents)
                made = predict(add_noise(latents, eps, timesteps), timesteps, states)
                total += (made - eps).square().mean((1, 2, 3))
    return total


def auc(members: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """Chance that a member scores above another, ties counted half."""
    above = members[:, None] > others[None]
    equal = members[:, None] == others[None]
    return float((above + 0.5 * equal).mean())


def white_box_auc(
    base: Base, adapter: Path, members: Tensor, controls: Tensor, prompt: str
) -> dict[str, float]:
    """AUC of log(base loss / tuned loss), and that of the base alone to check the set-up.

    Args:
        base: the base model. adapter: the suspect's file.
        members: scaled latents of the queried photos. controls: of exchangeable unseen photos.
        prompt: the condition.
    """
    text = base.describe([prompt])
    tuned = predictor(tuned_unet(base, adapter))
    before = [summed_losses(base.predict, z, text) for z in (members, controls)]
    after = [summed_losses(tuned, z, text) for z in (members, controls)]
    ratio = [torch.log(b / a).numpy() for b, a in zip(before, after, strict=True)]
    return {
        "auc": auc(ratio[0], ratio[1]),
        "model_blind_auc": auc(-before[0].numpy(), -before[1].numpy()),
        "mean_query": float(ratio[0].mean()),
        "mean_controls": float(ratio[1].mean()),
    }


def with_model_guidance(tuned: Predict, base: Predict, base_text: Tensor, weight: float) -> Predict:
    """FineXtract's guidance: away from what the base predicts for ``base_text`` ``[1, 20, 64]``."""

    def guided(x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        before = base(x, t, base_text.expand(len(x), -1, -1))
        return before + weight * (tuned(x, t, text) - before)

    return guided


def guidance_arms(base: Base, adapter: Path) -> dict[str, Predict]:
    """The ways to sample a suspect that are compared."""
    tuned, empty = predictor(tuned_unet(base, adapter)), base.describe([""])
    arms: dict[str, Predict] = {"plain": tuned}
    arms |= {f"cfg {w}": with_cfg(tuned, empty, w) for w in (2.0, 3.0)}
    for w in (1.5, 2.0, 3.0):
        arms[f"model guidance {w}"] = with_model_guidance(tuned, base.predict, empty, w)
    return arms


def best_similarity(queries: Tensor, generated: Tensor) -> Tensor:
    """Best similarity of each query ``[N, D]`` to any generated ``[M, D]``: ``[N]``."""
    return (queries @ generated.T).max(1).values


def generate(base: Base, predict: Predict, prompt: str, n: int, *, seed: int = 1) -> Tensor:
    """Scaled latents of ``n`` pictures of one prompt."""
    latent = base.unet.config
    shape = (n, latent["in_channels"], latent["sample_size"], latent["sample_size"])
    return sample(predict, base.describe([prompt]), shape, seed=seed)


def compare_guidance(
    base: Base,
    adapter: Path,
    prompt: str,
    score: Callable[[Tensor], dict[str, float]],
    *,
    n: int = 60,
) -> dict[str, dict[str, float]]:
    """Generates ``n`` pictures a guidance arm from the same noise and scores each arm."""
    arms = guidance_arms(base, adapter)
    return {name: score(generate(base, arm, prompt, n)) for name, arm in arms.items()}
