"""Single-file checkpoints (the original LDM layout) to diffusers' networks, without network.

diffusers' own conversion functions rename the weights; the configs that it would download are
derived from the tensors' shapes here, except for what shapes do not tell (attention heads,
activations), which SD 1.x, SD 2.x and SDXL fix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ..errors import InputError
from ..lora.header import SafetensorsHeader, read_header, sha256_file
from .networks import Networks, check_supported, sigmas_of
from .vocabulary import find_tokenizer

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
}
# SD 2.x states its prediction type nowhere; v-prediction models show it by this spread (ComfyUI).
_V_KEY = UNET + "output_blocks.11.1.transformer_blocks.0.norm1.bias"
_V_SPREAD = 0.09
Shapes = Mapping[str, tuple[int, ...]]


def is_checkpoint(header: SafetensorsHeader) -> bool:
    """Whether a file holds a whole model in the original layout."""
    return any(name.startswith(UNET) for name in header.tensors)


def read_tensors(path: Path, header: SafetensorsHeader, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, read one by one and never mapped."""
    found: dict[str, Tensor] = {}
    with path.open("rb") as file:
        for name, info in header.tensors.items():
            if not name.startswith(prefix) or info.begin == info.end:
                continue
            data = bytearray(info.end - info.begin)
            file.seek(header.data_start + info.begin)
            if file.readinto(data) != len(data):
                raise InputError("TRUNCATED", f"{path.name} ended while {name} was read")
            found[name] = torch.frombuffer(data, dtype=_DTYPES[info.dtype]).reshape(info.shape)
    return found


def load_checkpoint(path: Path, *, prediction: str = "auto") -> Networks:
    """A base model from one ``.safetensors`` file.

    Args:
        path: the file.
        prediction: ``epsilon`` or ``v_prediction`` where the automatic choice is wrong.

    Raises:
        InputError: NOT_A_CHECKPOINT, UNSUPPORTED_MODEL, or any code of `read_header`.
        MissingWeightsError: TOKENIZER_MISSING.
    """
    header = read_header(path, allow_zero_size=True)
    shapes = {name: info.shape for name, info in header.tensors.items()}
    if not is_checkpoint(header):
        raise InputError(
            "NOT_A_CHECKPOINT",
            f"{path.name} has no UNet ({UNET}...); give a full SD 1.x, SD 2.x or SDXL checkpoint",
        )
    family = _family(shapes)
    vae = _load_vae(path, header, shapes, family)
    encoders = _load_text(path, header, shapes, family)
    unet_config = unet_config_of(shapes, family)
    check_supported(unet_config, vae.config)
    weights = read_tensors(path, header, UNET)
    kind = _prediction(header, weights, family) if prediction == "auto" else prediction
    unet_config["sample_size"] = _sample_size(family, kind)
    converted = convert_ldm_unet_checkpoint(weights, unet_config)
    unet = _fill(UNet2DConditionModel, unet_config, converted, path)
    pads = {"sd1": ["<|endoftext|>"], "sd2": ["!"], "sdxl": ["<|endoftext|>", "!"]}[family]
    return Networks(
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        tokenizers=tuple(find_tokenizer(path, pad_token=pad) for pad in pads),
        sigmas=sigmas_of(_scheduler("ztsnr" in shapes)),
        prediction=kind,
        family=family,
        sha256=sha256_file(path),
    )


def _family(shapes: Shapes) -> str:
    for prefix, family in ((XL_OPEN_CLIP, "sdxl"), (OPEN_CLIP, "sd2"), (CLIP, "sd1")):
        if any(name.startswith(prefix) for name in shapes):
            return family
    raise InputError(
        "UNSUPPORTED_MODEL",
        "the checkpoint has no text encoder of SD 1.x, SD 2.x or SDXL; give the full file, not a "
        "UNet alone",
    )


def _scheduler(zero_snr: bool) -> dict[str, Any]:
    """The noise schedule that SD 1.x, SD 2.x and SDXL share."""
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "rescale_betas_zero_snr": zero_snr,
    }


def _prediction(header: SafetensorsHeader, weights: Mapping[str, Tensor], family: str) -> str:
    stated = header.metadata.get("modelspec.prediction_type", "")
    if "v_pred" in header.tensors or stated.startswith("v"):
        return "v_prediction"
    spread = weights.get(_V_KEY)
    is_v = family == "sd2" and spread is not None and float(spread.float().std()) > _V_SPREAD
    return "v_prediction" if is_v and not stated else "epsilon"


def _sample_size(family: str, prediction: str) -> int:
    if family == "sdxl":
        return 128
    return 96 if family == "sd2" and prediction == "v_prediction" else 64


def _numbers(shapes: Shapes, pattern: str) -> list[int]:
    """Sorted distinct values of the first group of `pattern` over all names."""
    return sorted({int(m[1]) for name in shapes if (m := re.match(pattern, name))})


def unet_config_of(shapes: Shapes, family: str) -> dict[str, Any]:
    """UNet2DConditionModel's config from the shapes of an original-layout checkpoint."""
    top = re.escape(UNET)
    channels, depths, layers = [], [], [0]
    for i in _numbers(shapes, rf"{top}input_blocks\.(\d+)\."):
        block = f"{UNET}input_blocks.{i}."
        if f"{block}0.op.weight" in shapes:
            layers.append(0)
        resnet = shapes.get(f"{block}0.in_layers.2.weight")
        if resnet is None:
            continue
        if not layers[-1]:
            channels.append(resnet[0])
            found = _numbers(shapes, rf"{re.escape(block)}1\.transformer_blocks\.(\d+)\.")
            depths.append(len(found))
        layers[-1] += 1
    attended = [depth > 0 for depth in depths]
    cross = next(s[1] for n, s in shapes.items() if n.startswith(UNET) and "attn2.to_k.w" in n)
    linear = any(n.endswith("proj_in.weight") and len(s) == 2 for n, s in shapes.items())
    config: dict[str, Any] = {
        "in_channels": shapes[UNET + "input_blocks.0.0.weight"][1],
        "out_channels": shapes[UNET + "out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers[0],
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "cross_attention_dim": cross,
        "use_linear_projection": linear,
        "attention_head_dim": 8 if family == "sd1" else [max(1, c // 64) for c in channels],
        "upcast_attention": family == "sd2",
    }
    if family == "sdxl":
        added = shapes[UNET + "label_emb.0.0.weight"][1]
        pooled = shapes[XL_OPEN_CLIP + "text_projection"][1]
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (added - pooled) // 6,
            "projection_class_embeddings_input_dim": added,
        }
    return config


def _load_vae(path: Path, header: SafetensorsHeader, shapes: Shapes, family: str) -> AutoencoderKL:
    top = re.escape(VAE)
    levels = _numbers(shapes, rf"{top}encoder\.down\.(\d+)\.")
    if not levels:
        raise InputError("UNSUPPORTED_MODEL", f"{path.name} has no VAE ({VAE}...)")
    config = {
        "block_out_channels": [
            shapes[f"{VAE}encoder.down.{i}.block.0.conv1.weight"][0] for i in levels
        ],
        "layers_per_block": len(_numbers(shapes, rf"{top}encoder\.down\.0\.block\.(\d+)\.")),
        "latent_channels": shapes[VAE + "post_quant_conv.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "scaling_factor": 0.13025 if family == "sdxl" else 0.18215,
    }
    converted = convert_ldm_vae_checkpoint(read_tensors(path, header, VAE), config)
    return _fill(AutoencoderKL, config, converted, path)


def _load_text(
    path: Path, header: SafetensorsHeader, shapes: Shapes, family: str
) -> tuple[nn.Module, ...]:
    if family == "sd2":
        return (_open_clip(path, header, shapes, prefix=OPEN_CLIP, projected=False),)
    prefix = CLIP if family == "sd1" else XL_CLIP
    first = _clip(path, header, shapes, prefix=prefix)
    if family == "sd1":
        return (first,)
    return first, _open_clip(path, header, shapes, prefix=XL_OPEN_CLIP, projected=True)


def _clip(path: Path, header: SafetensorsHeader, shapes: Shapes, *, prefix: str) -> nn.Module:
    inner = prefix + (
        "text_model." if f"{prefix}text_model.final_layer_norm.bias" in shapes else ""
    )
    layers = _numbers(shapes, rf"{re.escape(inner)}encoder\.layers\.(\d+)\.")
    config = _text_config(
        shapes[inner + "embeddings.token_embedding.weight"],
        length=shapes[inner + "embeddings.position_embedding.weight"][0],
        wide=shapes[inner + "encoder.layers.0.mlp.fc1.weight"][0],
        layers=len(layers),
        act="quick_gelu",
    )
    weights = convert_ldm_clip_checkpoint(read_tensors(path, header, prefix))
    return _fill_text(CLIPTextModel(config), weights, path)


def _open_clip(
    path: Path, header: SafetensorsHeader, shapes: Shapes, *, prefix: str, projected: bool
) -> nn.Module:
    """OpenCLIP's text tower; SD 2.x drops the last layer, SDXL keeps it and projects."""
    layers = _numbers(shapes, rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.")
    config = _text_config(
        shapes[prefix + "token_embedding.weight"],
        length=shapes[prefix + "positional_embedding"][0],
        wide=shapes[prefix + "transformer.resblocks.0.mlp.c_fc.weight"][0],
        layers=len(layers) if projected else len(layers) - 1,
        act="gelu",
    )
    if projected:
        config.projection_dim = shapes[prefix + "text_projection"][1]
    model = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
    weights = convert_open_clip_checkpoint(model, read_tensors(path, header, prefix), prefix)
    return _fill_text(model, weights, path, spare=() if projected else (layers[-1],))


def _text_config(
    tokens: tuple[int, ...], *, length: int, wide: int, layers: int, act: str
) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=tokens[0],
        hidden_size=tokens[1],
        intermediate_size=wide,
        num_hidden_layers=layers,
        num_attention_heads=max(1, tokens[1] // 64),
        max_position_embeddings=length,
        hidden_act=act,
        # As in the checkpoints' published configs: the pooled state sits at the highest token id.
        eos_token_id=2,
    )


def _fill(
    kind: Any, config: Mapping[str, Any], weights: Mapping[str, Tensor | None], path: Path
) -> Any:
    with torch.device("meta"):
        model = kind(**config)
    _assign(model, weights, path)
    return model


def _fill_text(
    model: nn.Module, weights: Mapping[str, Tensor], path: Path, *, spare: Iterable[int] = ()
) -> nn.Module:
    """Assign text weights, whichever side of transformers 5.6 named them."""
    unused = tuple(f"encoder.layers.{i}." for i in spare)
    bare = {name.removeprefix("text_model."): value for name, value in weights.items()}
    optional = ("embeddings.position_ids", "text_projection", "logit_scale")
    level = any(name.startswith("text_model.") for name in model.state_dict())
    wanted = {
        f"text_model.{name}" if level and not name.startswith("text_projection") else name: value
        for name, value in bare.items()
        if not name.startswith(unused) and (name.startswith("text_proj") or name not in optional)
    }
    known = model.state_dict().keys()
    kept = {n: v for n, v in wanted.items() if n in known or not n.startswith("text_projection")}
    _assign(model, kept, path)
    return model


def _assign(model: nn.Module, weights: Mapping[str, Tensor | None], path: Path) -> None:
    state = {name: value.float() for name, value in weights.items() if value is not None}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise InputError(
            "UNSUPPORTED_MODEL",
            f"{path.name} is not laid out like SD 1.x, SD 2.x or SDXL: {str(error)[:600]}",
        ) from error
