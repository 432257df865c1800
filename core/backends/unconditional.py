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
from ..sampling.plans import timestep_of
from ..types import Conditioning, ModelHashes
from .memory import RowLimit
from .networks import prediction_of, sigmas_of

WEIGHTS = "diffusion_pytorch_model.safetensors"


class UnconditionalPair:
    """`protocols.ModelPair` of a UNet2DModel on pixels; prompts and strengths change nothing.

    Args:
        unet: the network.
        scheduler: its scheduler's config.
        sha256: of its file.
    """

    family = "pixel"

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
        return self._limit.run(len(x), lambda rows: self._denoise(x[rows], sigma[rows]))

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.double().cpu()
        time = timestep_of(level, self.sigmas).float().to(self.device)
        s = level.float().to(x.device).view(-1, 1, 1, 1)
        root = (s * s + 1).sqrt()
        made: Any = self.unet((x.float() / root).to(self.device), time, return_dict=False)[0]
        out = made[:, :3].float().to(x.device)
        if self.prediction == "epsilon":
            return x.float() - s * out
        return x.float() / (root * root) - out * s / root

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
    unet = UNet2DModel.from_pretrained(
        folder / "unet", local_files_only=True, use_safetensors=True
    ).to(torch_device(device))  # type: ignore[arg-type]
    return UnconditionalPair(unet, json.loads(config.read_bytes()), sha256_file(weights))
