"""Model families: all that is particular to one stands in its record, and nowhere else.

Nodes read the records too, so neither diffusers nor transformers is imported: classes are named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..types import Conditioning

UNET = "model.diffusion_model."

Config = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
Tensors = tuple[Tensor, ...]
Refusal = Callable[[Config, Config], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """One text encoder of a family.

    Attributes:
        prefix: of its tensors in a single file.
        layout: of those tensors, ``clip`` (transformers' own) or ``open_clip``.
        pad: token that fills a prompt up, where no tokenizer's config says it.
        spare: last layers that a single file holds and that are not run.
        suffix: of its folder, which is also its name in adapter files, and of its tokenizer's.
        network: its class in transformers.
    """

    prefix: str
    layout: str
    pad: str
    spare: int = 0
    suffix: str = ""
    network: str = "CLIPTextModel"


def _last(encoder: nn.Module, ids: Tensor, mask: Tensor) -> Tensors:
    # As diffusers: SD checkpoints were trained with padding attended to, unless the config asks.
    config: Any = encoder.config
    use = mask if getattr(config, "use_attention_mask", False) else None
    return (encoder(ids, attention_mask=use)[0],)


def _penultimate_and_pooled(encoder: nn.Module, ids: Tensor, mask: Tensor) -> Tensors:
    out = encoder(ids, output_hidden_states=True)
    return out.hidden_states[-2], out[0]


def _text(cond: Conditioning, size: Sequence[int]) -> Tensors:
    return (cond.embeds,)


def _text_and_sizes(cond: Conditioning, size: Sequence[int]) -> Tensors:
    """Text, pooled text, and SDXL's sizes ``[N, 6]``: original, crop (0, 0), target."""
    if cond.pooled is None:
        raise InputError("BAD_SHAPE", "SDXL needs pooled text states in the conditioning")
    sizes = torch.tensor([*size, 0, 0, *size], device=cond.pooled.device, dtype=cond.pooled.dtype)
    return cond.embeds, cond.pooled, sizes.expand(len(cond), 6)


def _call(network: nn.Module, x: Tensor, time: Tensor, text: Tensor, *added: Tensor) -> Tensors:
    names = ("text_embeds", "time_ids")
    more = {"added_cond_kwargs": dict(zip(names, added, strict=True))} if added else {}
    return network(x, time, encoder_hidden_states=text, return_dict=False, **more)


def _eight_heads(shapes: Shapes, channels: Sequence[int]) -> Config:
    return {"attention_head_dim": 8}  # diffusers' name for the number of heads


def _heads_of_64(shapes: Shapes, channels: Sequence[int]) -> Config:
    return {"attention_head_dim": [max(1, c // 64) for c in channels]}


def _sd2_unet(shapes: Shapes, channels: Sequence[int]) -> Config:
    return {**_heads_of_64(shapes, channels), "upcast_attention": True}


def _sdxl_unet(shapes: Shapes, channels: Sequence[int]) -> Config:
    added = shapes[UNET + "label_emb.0.0.weight"][1]
    pooled = shapes["conditioner.embedders.1.model.text_projection"][1]
    return {
        **_heads_of_64(shapes, channels),
        "addition_embed_type": "text_time",
        # The pooled text and six embedded numbers (the sizes) enter side by side.
        "addition_time_embed_dim": (added - pooled) // 6,
        "projection_class_embeddings_input_dim": added,
    }


def _sd2_is_v(weights: Mapping[str, Tensor]) -> bool:
    # SD 2.x states its prediction nowhere; v-prediction models show it by this spread (ComfyUI).
    bias = weights.get(UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias")
    return bias is not None and float(bias.float().std()) > 0.09


_REFUSED: Mapping[str, Refusal] = {
    "an inpainting or upscaling UNet": lambda unet, vae: (
        unet.get("in_channels") != vae.get("latent_channels")
    ),
    "a guidance-distilled UNet (LCM)": lambda unet, _: unet.get("time_cond_proj_dim") is not None,
    "a class-conditional UNet": lambda unet, _: (
        unet.get("class_embed_type") is not None or unet.get("num_class_embeds") is not None
    ),
    "an image-conditional UNet": lambda unet, _: unet.get("encoder_hid_dim_type") is not None,
    "a VAE with latent statistics (Playground)": lambda _, vae: vae.get("latents_mean") is not None,
}
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
UNET_LAYERS: Mapping[str, tuple[str, ...]] = {
    "attention": _ATTENTION,
    "all": (
        *(*_ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
        *("conv1", "conv2", "time_emb_proj"),
    ),
}
_SCHEDULE: Config = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model family; what a record does not say is as in Stable Diffusion's UNets.

    Attributes:
        name: in cases, manifests and error rates.
        title: for people.
        hosts: ComfyUI's classes of it, and the image side in pixels that each was trained at.
        sd_scripts: what sd-scripts calls such a base, by prediction.
        signs: entries of the UNet's config that no other family has together.
        text: its text encoders; their states are joined in this order.
        unet_config: what a single file's shapes alone do not tell, of these and block channels.
        latent_side: native, of a single file, by prediction.
        latent_scale: of a single file's VAE.
        is_v: whether weights of a single file that states no prediction are v-prediction's.
        schedule: noise levels of a single file, as a scheduler's config.
        network: class of the UNet in diffusers.
        refused: models that need more than a latent, a noise level and a prompt, and how the
            configs of UNet and VAE show them.
        read: states ``[N, T, D]`` of an encoder, token ids and attention mask; and pooled states
            ``[N, P]`` where the UNet wants them.
        inputs: what the UNet is told of a conditioning and the image's height and width in
            pixels, ``N`` rows each.
        call: the UNet on latents, timesteps and those inputs.
        layers: ends of the names of the layers that a LoRA trains, by ``FinetuneSpec.layers``.
    """

    name: str
    title: str
    hosts: Mapping[str, int]
    sd_scripts: Mapping[str, str]
    signs: Config
    text: tuple[TextEncoder, ...]
    unet_config: Callable[[Shapes, Sequence[int]], Config]
    latent_side: Mapping[str, int]
    latent_scale: float = 0.18215
    is_v: Callable[[Mapping[str, Tensor]], bool] = lambda weights: False
    schedule: Config = field(default_factory=lambda: _SCHEDULE)
    network: str = "UNet2DConditionModel"
    refused: Mapping[str, Refusal] = field(default_factory=lambda: _REFUSED)
    read: Callable[[nn.Module, Tensor, Tensor], Tensors] = _last
    inputs: Callable[[Conditioning, Sequence[int]], Tensors] = _text
    call: Callable[..., Tensors] = _call
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: UNET_LAYERS)


FAMILIES = {
    "sd1": Family(
        name="sd1",
        title="SD 1.x",
        hosts={"SD15": 512},
        sd_scripts={"epsilon": "sd_v1", "v_prediction": "sd_v1_v"},
        signs={"addition_embed_type": None, "use_linear_projection": None},
        text=(
            TextEncoder(prefix="cond_stage_model.transformer.", layout="clip", pad="<|endoftext|>"),
        ),
        unet_config=_eight_heads,
        latent_side={"epsilon": 64, "v_prediction": 64},
    ),
    "sd2": Family(
        name="sd2",
        title="SD 2.x",
        hosts={"SD20": 768, "SD21UnclipL": 768},
        sd_scripts={"epsilon": "sd_v2", "v_prediction": "sd_v2_v"},
        signs={"addition_embed_type": None, "use_linear_projection": True},
        text=(TextEncoder(prefix="cond_stage_model.model.", layout="open_clip", pad="!", spare=1),),
        unet_config=_sd2_unet,
        latent_side={"epsilon": 64, "v_prediction": 96},
        is_v=_sd2_is_v,
    ),
    "sdxl": Family(
        name="sdxl",
        title="SDXL",
        hosts={"SDXL": 1024},
        sd_scripts={"epsilon": "sdxl_base_v1-0", "v_prediction": "sdxl_base_v1-0"},
        signs={"addition_embed_type": "text_time"},
        text=(
            TextEncoder(
                prefix="conditioner.embedders.0.transformer.", layout="clip", pad="<|endoftext|>"
            ),
            TextEncoder(
                prefix="conditioner.embedders.1.model.",
                layout="open_clip",
                pad="!",
                suffix="_2",
                network="CLIPTextModelWithProjection",
            ),
        ),
        unet_config=_sdxl_unet,
        latent_side={"epsilon": 128, "v_prediction": 128},
        latent_scale=0.13025,
        read=_penultimate_and_pooled,
        inputs=_text_and_sizes,
    ),
}
HOST_OVERWRITES = frozenset({"flux"})
"""ComfyUI's networks, by `image_model`, whose blocks write over tensors that gradients need."""
SUPPORTED = "supported: text-to-image " + ", ".join(f.title for f in FAMILIES.values())


def family_of(unet: Config) -> Family:
    """The family of a UNet by its diffusers config.

    Raises:
        InputError: UNSUPPORTED_MODEL.
    """
    for family in FAMILIES.values():
        if all((unet.get(key) or None) == value for key, value in family.signs.items()):
            return family
    raise InputError(
        "UNSUPPORTED_MODEL", f"the base is a UNet with other added conditions; {SUPPORTED}"
    )


def family_of_file(shapes: Shapes) -> Family:
    """The family of a single file by its text encoders.

    Args:
        shapes: of its tensors, by name.

    Raises:
        InputError: UNSUPPORTED_MODEL.
    """
    for family in FAMILIES.values():
        if all(any(name.startswith(e.prefix) for name in shapes) for e in family.text):
            return family
    raise InputError(
        "UNSUPPORTED_MODEL",
        "the checkpoint has no known text encoder; give the full file, not a UNet alone "
        f"({SUPPORTED})",
    )


def check_supported(family: Family, unet: Config, vae: Config) -> None:
    """Refuse UNets that need more than a latent, a noise level and a prompt.

    Raises:
        InputError: UNSUPPORTED_MODEL.
    """
    for reason, holds in family.refused.items():
        if holds(unet, vae):
            raise InputError("UNSUPPORTED_MODEL", f"the base is {reason}; {SUPPORTED}")


def shift_and_scale(vae: nn.Module) -> tuple[float, float]:
    """What turns a VAE's latents into the model's: ``(latent - shift) * scale``."""
    config: Any = vae.config
    return getattr(config, "shift_factor", None) or 0.0, config.scaling_factor


def family_of_host(kind: str) -> Family | None:
    """The family of ComfyUI's model class `kind`; None for one that only the host runs.

    >>> family_of_host("SD21UnclipL").name, family_of_host("Flux")
    ('sd2', None)
    """
    return next((f for f in FAMILIES.values() if kind in f.hosts), None)


def base_version(family: str, prediction: str) -> str:
    """What sd-scripts calls a base of a family; a family without a record keeps its name.

    >>> base_version("sd1", "epsilon"), base_version("sd2", "v_prediction")
    ('sd_v1', 'sd_v2_v')
    >>> base_version("sd3", "flow")
    'sd3'
    """
    if family not in FAMILIES:
        return family
    versions = FAMILIES[family].sd_scripts
    return versions.get(prediction, versions["epsilon"])
