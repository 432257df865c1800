"""A base model in memory: its networks, tokenizers and noise schedule, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from ..errors import InputError
from ..sampling.plans import training_sigmas

# The last level of a zero-terminal-SNR schedule is infinite; diffusers' value for its abar.
_TERMINAL_ABAR = 2**-24
_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """A base model.

    Attributes:
        unet: UNet2DConditionModel.
        vae: AutoencoderKL, always fp32: SDXL's overflows in fp16.
        text_encoders: one, or two for SDXL.
        tokenizers: one a text encoder.
        sigmas: ``[T]`` float64, rising.
        prediction: ``epsilon`` or ``v_prediction``.
        family: ``sd1``, ``sd2`` or ``sdxl``.
        sha256: of the file, or over the folder's model files.
    """

    unet: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    tokenizers: tuple[Any, ...]
    sigmas: Tensor
    prediction: str
    family: str
    sha256: str

    def __post_init__(self) -> None:
        for encoder, tokenizer in zip(self.text_encoders, self.tokenizers, strict=True):
            rows = _config(encoder).vocab_size
            if len(tokenizer) > rows:
                raise InputError(
                    "WRONG_VOCABULARY",
                    f"the tokenizer has {len(tokenizer)} tokens, the text encoder knows {rows}; "
                    "put this model's own vocab.json and merges.txt into a tokenizer folder "
                    "beside the checkpoint",
                )

    def components(self) -> dict[str, nn.Module]:
        """What an adapter may change, by the names that adapter files use."""
        names = ("text_encoder", "text_encoder_2")
        return {"unet": self.unet, **dict(zip(names, self.text_encoders, strict=False))}

    def modules(self) -> dict[str, dict[str, nn.Module]]:
        """Layers with a weight by component and name, as diffusers names them.

        transformers 5.6 dropped the ``text_model.`` level of CLIPTextModel; adapter files kept
        it, so it is put back.
        """
        return {part: _layers(part, network) for part, network in self.components().items()}

    def to(self, device: torch.device, dtype: torch.dtype) -> Networks:
        """Moved and frozen in place; the VAE stays fp32."""
        for network in (self.unet, *self.text_encoders, self.vae):
            precision = torch.float32 if network is self.vae else dtype
            # torch's own `to`: diffusers' warns about every cast.
            nn.Module.to(network, device=device, dtype=precision)
            network.eval().requires_grad_(False)
        return self


def _layers(component: str, network: nn.Module) -> dict[str, nn.Module]:
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor)
    }
    if component == "unet":
        return found
    return {_with_level(name): module for name, module in found.items()}


def _with_level(name: str) -> str:
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def sigmas_of(scheduler: Mapping[str, Any]) -> Tensor:
    """Training noise levels of a scheduler config.

    A zero-terminal-SNR schedule ends at infinity; its last level is clamped to 4096, as
    diffusers' EulerDiscreteScheduler does.
    """
    chosen = {key: scheduler[key] for key in _SCHEDULE if scheduler.get(key) is not None}
    abar = DDPMScheduler(**chosen).alphas_cumprod.double()
    if abar[-1] < _TERMINAL_ABAR:
        abar = abar.clamp_min(_TERMINAL_ABAR)
    return training_sigmas(abar)


def prediction_of(scheduler: Mapping[str, Any]) -> str:
    """``epsilon`` or ``v_prediction``; others are refused by name."""
    kind = scheduler.get("prediction_type") or "epsilon"
    if kind not in ("epsilon", "v_prediction"):
        raise InputError(
            "UNSUPPORTED_MODEL", f"the model predicts {kind!r}; supported: epsilon, v_prediction"
        )
    return kind


def family_of(config: Mapping[str, Any]) -> str:
    """``sd1``, ``sd2`` or ``sdxl`` from a UNet config."""
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config.get("use_linear_projection") else "sd1"


def check_supported(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Refuse UNets that need more than a latent, a noise level and a prompt.

    Raises:
        InputError: UNSUPPORTED_MODEL.
    """
    reasons = {
        "an inpainting or upscaling UNet": unet.get("in_channels") != vae.get("latent_channels"),
        "a guidance-distilled UNet (LCM)": unet.get("time_cond_proj_dim") is not None,
        "a class-conditional UNet": unet.get("class_embed_type") is not None
        or unet.get("num_class_embeds") is not None,
        "an image-conditional UNet": unet.get("encoder_hid_dim_type") is not None,
        "a UNet with other added conditions": unet.get("addition_embed_type")
        not in (None, "text_time"),
        "a VAE with latent statistics (Playground)": vae.get("latents_mean") is not None,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise InputError(
            "UNSUPPORTED_MODEL",
            f"the base is {found[0]}; supported: text-to-image SD 1.x, SD 2.x and SDXL",
        )


def _config(network: nn.Module) -> Any:
    return network.config
