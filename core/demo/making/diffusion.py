"""The demo's base model: SD 1.5's conventions at a hundredth of the size, trained from nothing.

Latents ``[N, 16, 8, 8]`` are already scaled; ``eps`` is the noise that the UNet predicts.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .optimisation import fit, late_ramp
from .text import WIDTH, build_text_encoder, load_tokenizer, tokenize

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy latents, timesteps ``[N]`` and text ``[N, 20, 64]`` to predicted noise."""


@dataclass(frozen=True)
class BaseRecipe:
    """How UNet and text encoder are trained.

    Attributes:
        steps: optimiser steps. batch: faces a step. rate: peak learning rate.
        empty_share: share of captions replaced by the empty one, so that CFG works.
        seed: of everything.
        seconds: stop after this wall time (0: never); the facts record the steps done.
    """

    steps: int = 13_000
    batch: int = 32
    rate: float = 1e-3
    empty_share: float = 0.1
    seed: int = 202
    seconds: float = 0


@dataclass(frozen=True)
class Base:
    """The loaded base model, float32 and in eval mode."""

    codec: AutoencoderKL
    unet: UNet2DConditionModel
    text: CLIPTextModel
    tokenizer: CLIPTokenizer

    @torch.no_grad()
    def describe(self, captions: list[str]) -> Tensor:
        """Text conditions ``[N, 20, 64]``."""
        return self.text(tokenize(self.tokenizer, captions)).last_hidden_state

    def predict(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Noise predicted by the UNet as it stands, adapter included."""
        return self.unet(latents, timesteps, text).sample


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


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Noisy latents at ``timesteps`` ``[N]``."""
    return noise_schedule().add_noise(latents, noise, timesteps)


def train_base(
    latents: Tensor, tokens: Tensor, recipe: BaseRecipe, folder: Path
) -> dict[str, float]:
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
        without = torch.rand(recipe.batch, 1) < recipe.empty_share
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
    made = unet(add_noise(clean, noise, timesteps), timesteps, states).sample
    return F.mse_loss(made, noise)


def _save(unet: UNet2DConditionModel, text: CLIPTextModel, folder: Path) -> None:
    half = UNet2DConditionModel.from_config(unet.config)
    half.load_state_dict(unet.state_dict())
    half.half().save_pretrained(folder / "unet")
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


def load_base(folder: Path) -> Base:
    """Loads a pipeline folder in float32."""
    codec = AutoencoderKL.from_pretrained(
        folder / "vae", torch_dtype=torch.float32, local_files_only=True
    )
    unet = UNet2DConditionModel.from_pretrained(
        folder / "unet", torch_dtype=torch.float32, local_files_only=True
    )
    text = CLIPTextModel.from_pretrained(
        folder / "text_encoder", torch_dtype=torch.float32, local_files_only=True
    )
    for model in (codec, unet, text):
        model.eval().requires_grad_(False)
    return Base(codec, unet, text, load_tokenizer(folder / "tokenizer"))


@torch.no_grad()
def sample(
    predict: Predict, text: Tensor, shape: tuple[int, ...], *, steps: int = 20, seed: int = 0
) -> Tensor:
    """Deterministic DDIM: scaled latents ``shape`` from the noise of ``seed``.

    Args:
        predict: the guided noise prediction.
        text: conditions ``[N, 20, 64]`` or ``[1, 20, 64]``.
        shape: of the latents, ``(N, 16, 8, 8)``.
        steps: of DDIM.
        seed: of the starting noise.
    """
    scheduler = noise_schedule()
    scheduler.set_timesteps(steps)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    states = text.expand(shape[0], -1, -1)
    for t in scheduler.timesteps:
        eps = predict(x, t.expand(shape[0]), states)
        x = scheduler.step(eps, t, x).prev_sample
    return x


def with_cfg(predict: Predict, empty: Tensor, weight: float) -> Predict:
    """Classifier-free guidance against the same model's empty prompt ``[1, 20, 64]``."""

    def guided(x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        without = predict(x, t, empty.expand(len(x), -1, -1))
        return without + weight * (predict(x, t, text) - without)

    return guided
