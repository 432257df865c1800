"""A base model in memory: its networks, tokenizers and noise schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from ..errors import InputError
from ..sampling.plans import timestep_of, training_sigmas
from .families import Family

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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Networks:
    """A base model.

    Attributes:
        unet: UNet2DConditionModel.
        vae: AutoencoderKL, always fp32: SDXL's overflows in fp16.
        text_encoders: as many as its family has.
        tokenizers: one per text encoder.
        sigmas: ``[T]`` float64, rising.
        prediction: ``epsilon`` or ``v_prediction``.
        family: of the base.
        sha256: of the file, or over the folder's model files.
    """

    unet: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    tokenizers: tuple[Any, ...]
    sigmas: Tensor
    prediction: str
    family: Family
    sha256: str

    def __post_init__(self) -> None:
        for encoder, tokenizer in zip(self.text_encoders, self.tokenizers, strict=True):
            rows = config_of(encoder).vocab_size
            if len(tokenizer) > rows:
                raise InputError(
                    "WRONG_VOCABULARY",
                    f"the tokenizer has {len(tokenizer)} tokens, the text encoder knows {rows}; "
                    "put this model's own vocab.json and merges.txt into a tokenizer folder "
                    "beside the checkpoint",
                )

    def components(self) -> dict[str, nn.Module]:
        """What an adapter may change, by the names that adapter files use."""
        texts = zip(self.family.text, self.text_encoders, strict=True)
        return {"unet": self.unet, **{f"text_encoder{e.suffix}": network for e, network in texts}}

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
    return {
        name if component == "unet" else _with_level(name): module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor)
    }


def _with_level(name: str) -> str:
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def sigmas_of(scheduler: Mapping[str, Any]) -> Tensor:
    """Training noise levels of a scheduler config.

    A zero-terminal-SNR schedule ends at infinity; its last level is clamped to 4096, as
    diffusers' EulerDiscreteScheduler does.
    """
    settings = {key: scheduler[key] for key in _SCHEDULE if scheduler.get(key) is not None}
    abar = DDPMScheduler(**settings).alphas_cumprod.double()
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


def config_of(network: nn.Module) -> Any:
    """A diffusers or transformers network's config."""
    return network.config


def denoised(
    x: Tensor,
    sigma: Tensor,
    *,
    sigmas: Tensor,
    prediction: str,
    predict: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """``D = x - s eps``, or for v ``D = x / (s^2 + 1) - v s / sqrt(s^2 + 1)``; float32.

    Args:
        x: ``[N, C, h, w]`` noisy latents.
        sigma: ``[N]`` their noise levels.
        sigmas: ``[T]`` noise level of each training timestep.
        prediction: ``epsilon`` or ``v_prediction``.
        predict: the network, of ``x / sqrt(s^2 + 1)`` and timesteps ``[N]``, both float32.
    """
    level = sigma.double().cpu()
    s = level.float().to(x.device).view(-1, 1, 1, 1)
    root = (s * s + 1).sqrt()
    out = predict(x.float() / root, timestep_of(level, sigmas).float()).float().to(x.device)
    if prediction == "epsilon":
        return x.float() - s * out
    return x.float() / (root * root) - out * s / root
