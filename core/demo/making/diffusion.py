"""The demo's base model: SD 1.5's conventions at a hundredth of the size, trained from nothing.

Latents ``[N, 16, 8, 8]`` are already scaled; ``eps`` is the noise that the UNet predicts.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import json
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from .optimization import Recipe, fit, late_ramp
from .saving import save_half
from .text import WIDTH, build_text_encoder, load_tokenizer, tokenize

BASE = Recipe(steps=13_000, batch=32, rate=1e-3, seed=202)
EMPTY_SHARE = 0.1
"""Share of captions replaced by the empty one, so that CFG works."""


def build_unet() -> UNet2DConditionModel:
    """An untrained UNet with SD 1.5's block types on two levels."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def noise_schedule() -> DDIMScheduler:
    """SD 1.5's schedule: 1,000 steps of epsilon prediction on scaled linear betas."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def train_base(latents: Tensor, tokens: Tensor, recipe: Recipe, folder: Path) -> dict[str, float]:
    """Trains UNet and text encoder together, saves them as fp16 and returns the facts.

    Args:
        latents: scaled latents of the public faces ``[N, 16, 8, 8]``.
        tokens: their captions int64 ``[N, 20]``.
        recipe: steps and rates.
        folder: pipeline folder with a ``tokenizer``; ``unet`` and ``text_encoder`` are written.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = load_tokenizer(folder / "tokenizer")
    unet, text = build_unet(), build_text_encoder(tokenizer)
    empty = tokenize(tokenizer, [""])

    def loss_of(_: float) -> Tensor:
        rows = torch.randint(len(latents), (recipe.batch,))
        without = torch.rand(recipe.batch, 1) < EMPTY_SHARE
        return _loss(unet, text, latents[rows], torch.where(without, empty, tokens[rows]))

    save = partial(_save, unet, text, folder)
    weights = [*unet.parameters(), *text.parameters()]
    facts = fit(
        weights, loss_of, recipe, label="base", curve=late_ramp, decay=0.01, checkpoint=save
    )
    save()
    return facts


def _loss(unet: UNet2DConditionModel, text: CLIPTextModel, clean: Tensor, tokens: Tensor) -> Tensor:
    timesteps = torch.randint(0, 1000, (len(clean),))
    noise = torch.randn_like(clean)
    states = text(tokens).last_hidden_state
    noisy = noise_schedule().add_noise(clean, noise, timesteps)
    made = unet(noisy, timesteps, states).sample
    return F.mse_loss(made, noise)


def _save(unet: UNet2DConditionModel, text: CLIPTextModel, folder: Path) -> None:
    save_half(unet, folder / "unet")
    half_text = CLIPTextModel(text.config)
    half_text.load_state_dict(text.state_dict())
    half_text.half().save_pretrained(folder / "text_encoder")


def write_pipeline_files(folder: Path) -> None:
    """Writes ``model_index.json`` and the scheduler, for StableDiffusionPipeline."""
    noise_schedule().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.32.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
