"""Trains the suspects: LoRA on a few photos with one prompt, as anybody would at home."""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import copy
import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from peft import LoraConfig
from torch import Tensor

from ...backends.families import UNET_LAYERS
from ..suspects import LoraRecipe, Suspect
from .codec import encode
from .diffusion import Base, add_noise
from .kohya import TrainingClaims, save_adapter
from .optimisation import adamw

log = logging.getLogger(__name__)

REPEATS = 20


def add_adapter(unet: UNet2DConditionModel, recipe: LoraRecipe) -> list[Tensor]:
    """Attaches fresh low-rank pairs and returns their parameters, the only trainable ones."""
    torch.manual_seed(recipe.seed)
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(UNET_LAYERS["all"]))
    )
    return [p for p in unet.parameters() if p.requires_grad]


def fit_adapter(
    unet: UNet2DConditionModel, latents: Tensor, text: Tensor, recipe: LoraRecipe
) -> list[float]:
    """Trains the adapter of ``unet`` and returns the loss of every step.

    Args:
        unet: carries an adapter from ``add_adapter``.
        latents: scaled latents of the photos ``[N, C, H, W]``.
        text: the one condition ``[1, L, D]``.
        recipe: steps, batch, rate and seed.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    weights = [p for p in unet.parameters() if p.requires_grad]
    optimiser = adamw(weights, recipe.rate, decay=0.0)
    losses = []
    for _ in range(recipe.steps):
        rows = torch.randperm(len(latents), generator=generator)[: recipe.batch]
        clean = latents[rows]
        timesteps = torch.randint(0, 1000, (len(clean),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        states = text.expand(len(clean), -1, -1)
        made = unet(add_noise(clean, noise, timesteps), timesteps, states).sample
        loss = F.mse_loss(made, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_suspect(
    base: Base, photos: NDArray[np.uint8], suspect: Suspect, path: Path
) -> dict[str, float]:
    """Trains one suspect on decoded photos, writes its kohya file and returns the facts.

    Args:
        base: left untouched.
        photos: uint8 ``[N, 64, 64, 3]``.
        suspect: whose recipe and prompt to use.
        path: the safetensors file to write.
    """
    recipe, start, began = suspect.recipe, time.monotonic(), time.time()
    unet = copy.deepcopy(base.unet)
    add_adapter(unet, recipe)
    losses = fit_adapter(unet, encode(base.codec, photos), base.describe([suspect.prompt]), recipe)
    claims = TrainingClaims(
        output_name=suspect.name,
        prompt=suspect.prompt,
        concept=f"{suspect.domain} headshot",
        n_images=len(photos),
        repeats=REPEATS,
        steps=recipe.steps,
        batch=recipe.batch,
        rate=recipe.rate,
        seed=recipe.seed,
        rank=recipe.rank,
        alpha=recipe.alpha,
        started_at=began,
        finished_at=time.time(),
    )
    save_adapter(unet, claims, path)
    seconds, last = time.monotonic() - start, float(np.mean(losses[-50:]))
    log.info("%s: %d steps, %.0f s, loss %.4f", suspect.name, recipe.steps, seconds, last)
    first = float(np.mean(losses[:50]))
    return {"steps": recipe.steps, "seconds": seconds, "first_loss": first, "final_loss": last}
