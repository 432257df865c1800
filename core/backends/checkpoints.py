"""Single-file checkpoints (the original LDM layout) to diffusers' networks, without network.

diffusers' own conversion functions rename the weights; the configs that it would download are
derived from the tensors' shapes here, except for what shapes do not tell (attention heads,
activations), which is the family's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig

from ..errors import InputError
from ..lora.header import SafetensorsHeader, read_header, sha256_file
from .families import SUPPORTED, UNET, Family, Shapes, TextEncoder, check_supported, family_of_file
from .networks import Networks, prediction_of, sigmas_of
from .vocabulary import find_tokenizer

VAE = "first_stage_model."
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


def is_checkpoint(header: SafetensorsHeader) -> bool:
    """Whether a file holds a whole model in the original layout."""
    return any(name.startswith(UNET) for name in header.tensors)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    header: SafetensorsHeader

    @property
    def shapes(self) -> Shapes:
        return {name: info.shape for name, info in self.header.tensors.items()}

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Those whose names start with `prefix`, read one by one and never mapped."""
        tensors: dict[str, Tensor] = {}
        with self.path.open("rb") as file:
            for name, info in self.header.tensors.items():
                if not name.startswith(prefix) or info.begin == info.end:
                    continue
                data = bytearray(info.end - info.begin)
                file.seek(self.header.data_start + info.begin)
                if file.readinto(data) != len(data):
                    raise InputError("TRUNCATED", f"{self.path.name} ended while {name} was read")
                whole = torch.frombuffer(data, dtype=_DTYPES[info.dtype])
                tensors[name] = whole.reshape(info.shape)
        return tensors

    def fill(self, model: nn.Module, weights: Mapping[str, Tensor | None]) -> Any:
        """The model with the file's weights, fp32."""
        state = {name: value.float() for name, value in weights.items() if value is not None}
        try:
            model.load_state_dict(state, strict=True, assign=True)
        except RuntimeError as error:
            raise InputError(
                "UNSUPPORTED_MODEL",
                f"{self.path.name} is laid out otherwise ({SUPPORTED}): {str(error)[:600]}",
            ) from error
        return model


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
    if not is_checkpoint(header):
        raise InputError(
            "NOT_A_CHECKPOINT",
            f"{path.name} is not a full model in one file (a LoRA, or a part of a model); give "
            f"the checkpoint that the LoRA was trained on ({SUPPORTED})",
        )
    file = _File(path, header)
    family = family_of_file(file.shapes)
    vae = _vae(file, family)
    encoders = tuple(_LAYOUTS[e.layout](file, e) for e in family.text)
    config = unet_config_of(file.shapes, family)
    check_supported(family, config, vae.config)
    weights = file.tensors(UNET)
    stated = _prediction(header, weights, family) if prediction == "auto" else prediction
    kind = prediction_of({"prediction_type": stated})
    config["sample_size"] = family.latent_side[kind]
    return Networks(
        unet=file.fill(
            _empty(family.network, config), convert_ldm_unet_checkpoint(weights, config)
        ),
        vae=vae,
        text_encoders=encoders,
        tokenizers=tuple(find_tokenizer(path, pad_token=e.pad) for e in family.text),
        sigmas=sigmas_of({**family.schedule, "rescale_betas_zero_snr": "ztsnr" in header.tensors}),
        prediction=kind,
        family=family,
        sha256=sha256_file(path),
    )


def _empty(network: str, config: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return getattr(diffusers, network)(**config)


def _prediction(header: SafetensorsHeader, weights: Mapping[str, Tensor], family: Family) -> str:
    stated = header.metadata.get("modelspec.prediction_type", "")
    is_v = "v_pred" in header.tensors or stated.startswith("v")
    return "v_prediction" if is_v or (not stated and family.is_v(weights)) else "epsilon"


def _numbers(shapes: Shapes, pattern: str) -> list[int]:
    """Sorted distinct values of the first group of `pattern` over all names."""
    return sorted({int(m[1]) for name in shapes if (m := re.match(pattern, name))})


def unet_config_of(shapes: Shapes, family: Family) -> dict[str, Any]:
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
            pattern = rf"{re.escape(block)}1\.transformer_blocks\.(\d+)\."
            depths.append(len(_numbers(shapes, pattern)))
        layers[-1] += 1
    attended = [depth > 0 for depth in depths]
    cross = next(s[1] for n, s in shapes.items() if n.startswith(UNET) and "attn2.to_k.w" in n)
    linear = any(n.endswith("proj_in.weight") and len(s) == 2 for n, s in shapes.items())
    return {
        "in_channels": shapes[UNET + "input_blocks.0.0.weight"][1],
        "out_channels": shapes[UNET + "out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers[0],
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "cross_attention_dim": cross,
        "use_linear_projection": linear,
        **family.unet_config(shapes, channels),
    }


def _vae(file: _File, family: Family) -> Any:
    shapes, top = file.shapes, re.escape(VAE)
    levels = _numbers(shapes, rf"{top}encoder\.down\.(\d+)\.")
    if not levels:
        raise InputError("UNSUPPORTED_MODEL", f"{file.path.name} has no VAE ({VAE}...)")
    config = {
        "block_out_channels": [
            shapes[f"{VAE}encoder.down.{i}.block.0.conv1.weight"][0] for i in levels
        ],
        "layers_per_block": len(_numbers(shapes, rf"{top}encoder\.down\.0\.block\.(\d+)\.")),
        "latent_channels": shapes[VAE + "post_quant_conv.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "scaling_factor": family.latent_scale,
    }
    converted = convert_ldm_vae_checkpoint(file.tensors(VAE), config)
    return file.fill(_empty("AutoencoderKL", config), converted)


def _clip(file: _File, encoder: TextEncoder) -> nn.Module:
    shapes, inner = file.shapes, encoder.prefix
    if f"{inner}text_model.final_layer_norm.bias" in shapes:
        inner += "text_model."
    model = _text_model(
        encoder,
        shapes[inner + "embeddings.token_embedding.weight"],
        length=shapes[inner + "embeddings.position_embedding.weight"][0],
        wide=shapes[inner + "encoder.layers.0.mlp.fc1.weight"][0],
        layers=len(_numbers(shapes, rf"{re.escape(inner)}encoder\.layers\.(\d+)\.")),
        act="quick_gelu",
    )
    weights = convert_ldm_clip_checkpoint(file.tensors(encoder.prefix))
    return file.fill(model, _named_like(model, weights))


def _open_clip(file: _File, encoder: TextEncoder) -> nn.Module:
    shapes, prefix = file.shapes, encoder.prefix
    tokens = shapes[prefix + "token_embedding.weight"]
    layers = _numbers(shapes, rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.")
    run = len(layers) - encoder.spare
    model = _text_model(
        encoder,
        tokens,
        length=shapes[prefix + "positional_embedding"][0],
        wide=shapes[prefix + "transformer.resblocks.0.mlp.c_fc.weight"][0],
        layers=run,
        act="gelu",
        projection_dim=shapes.get(prefix + "text_projection", tokens)[1],
    )
    weights = convert_open_clip_checkpoint(model, file.tensors(prefix), prefix)
    return file.fill(model, _named_like(model, weights, spare=layers[run:]))


_LAYOUTS = {"clip": _clip, "open_clip": _open_clip}


def _text_model(
    encoder: TextEncoder,
    tokens: tuple[int, ...],
    *,
    length: int,
    wide: int,
    layers: int,
    act: str,
    **more: Any,
) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=tokens[0],
        hidden_size=tokens[1],
        intermediate_size=wide,
        num_hidden_layers=layers,
        num_attention_heads=max(1, tokens[1] // 64),
        max_position_embeddings=length,
        hidden_act=act,
        # As in the checkpoints' published configs: the pooled state sits at the highest token id.
        eos_token_id=2,
        **more,
    )
    return getattr(transformers, encoder.network)(config)


def _named_like(
    model: nn.Module, weights: Mapping[str, Tensor], *, spare: Sequence[int] = ()
) -> dict[str, Tensor]:
    """Text weights that the model has, whichever side of transformers 5.6 named them."""
    unused = (*(f"encoder.layers.{i}." for i in spare), "embeddings.position_ids", "logit_scale")
    known = model.state_dict()
    level = "text_model." if any(name.startswith("text_model.") for name in known) else ""
    state: dict[str, Tensor] = {}
    for name, value in weights.items():
        bare = name.removeprefix("text_model.")
        if bare.startswith("text_projection"):
            state |= {bare: value} if bare in known else {}
        elif not bare.startswith(unused):
            state[level + bare] = value
    return state
