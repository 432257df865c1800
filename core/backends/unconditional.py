"""A pixel diffusion model without prompts (DDPM), as a model pair: both of its models are the base.

For RePaint in pixel space, such as P2-weighted face models: a diffusers folder with ``unet`` (a
UNet2DModel) and ``scheduler``. A network with learned variance answers in twice the channels, of
which the first half is the noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ..devices import torch_device
from ..errors import InputError
from ..lora.header import sha256_file
from ..protocols import Rows
from ..types import Conditioning, ModelHashes
from .folders import network_of
from .memory import RowLimit
from .networks import denoised, prediction_of, sigmas_of

WEIGHTS = "diffusion_pytorch_model.safetensors"


class UnconditionalPair:
    """`protocols.ModelPair` of a UNet2DModel on pixels; prompts and strengths change nothing.

    Args:
        unet: the network.
        scheduler: its scheduler's config.
        sha256: of its file.
    """

    family = "pixel"
    scalable = False

    def __init__(self, unet: UNet2DModel, scheduler: dict[str, Any], sha256: str) -> None:
        config: Any = unet.config
        if config.in_channels != 3:
            raise InputError(
                "UNSUPPORTED_MODEL", f"the network takes {config.in_channels} channels, not RGB"
            )
        side = config.sample_size
        self.unet = unet.eval().requires_grad_(False)
        self.resolution = int(side if isinstance(side, int) else side[0])
        self.latent_shape = (3, self.resolution, self.resolution)
        self.sigmas, self.prediction = sigmas_of(scheduler), prediction_of(scheduler)
        self.hashes = ModelHashes(sha256, sha256)
        self._limit = RowLimit()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.unet.parameters()).device

    def __call__(self, x: Tensor, sigma: Tensor, cond: Rows) -> Tensor:
        """Denoised pixels in -1..1, see `protocols.Denoiser`."""
        return self._limit.run(
            len(x),
            lambda rows: denoised(
                x[rows], sigma[rows], sigmas=self.sigmas, prediction=self.prediction,
                predict=self._predict,
            ),
        )  # fmt: skip

    def _predict(self, x: Tensor, time: Tensor) -> Tensor:
        out: Any = self.unet(x.to(self.device), time.to(self.device), return_dict=False)
        return out[0][:, :3]

    def condition(self, prompts: Sequence[str], strengths: Sequence[float]) -> Conditioning:
        """Empty rows."""
        strength = torch.tensor(strengths, dtype=torch.float32, device=self.device)
        return Conditioning(torch.zeros(len(prompts), 1, 1, device=self.device), strength)

    def encode(self, pixels: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in -1..1 of pixels in 0..1: there is no codec."""
        return pixels.float() * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels in 0..1 (clamped, CPU) of ``[N, 3, H, W]`` in -1..1."""
        return (latents.float().cpu() / 2 + 0.5).clamp(0, 1)

    def null(self, seed: int) -> None:
        """There is no adapter, so there is no null model."""

    def close(self) -> None:
        """Nothing is held."""


def load_unconditional(folder: Path, device: str = "cpu") -> UnconditionalPair:
    """A pixel model from a diffusers folder.

    Raises:
        InputError: no such model there (NOT_A_MODEL), or one that is not supported.
    """
    weights, config = folder / "unet" / WEIGHTS, folder / "scheduler" / "scheduler_config.json"
    for needed in (weights, config):
        if not needed.is_file():
            raise InputError(
                "NOT_A_MODEL",
                f"{needed} does not exist; a pixel model is a diffusers folder with unet and "
                "scheduler, weights as safetensors",
            )
    unet = network_of(folder / "unet", UNet2DModel).to(torch_device(device))
    return UnconditionalPair(unet, json.loads(config.read_bytes()), sha256_file(weights))
