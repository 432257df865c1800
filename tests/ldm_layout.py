"""Writes a diffusers pipeline as one checkpoint in the original (LDM) layout, for tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
SINGLES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


PUBLISHED: dict[str, dict[str, Any]] = {
    "sd1": {
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "sd2": {
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""The UNets as published, by family."""


def unet_name(name: str, layers: int, up_has_attention: list[bool]) -> str:
    for ours, theirs in SINGLES.items():
        if name.startswith(ours + "."):
            return name.replace(ours, theirs, 1)
    per = layers + 1
    if m := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{(int(m[1]) + 1) * per}.0.op.{m[2]}"
    if m := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name):
        place = 2 if up_has_attention[int(m[1])] else 1
        return f"output_blocks.{int(m[1]) * per + layers}.{place}.conv.{m[2]}"
    m = re.match(r"(down|up|mid)_block(?:s\.(\d+))?\.(resnets|attentions)\.(\d+)\.(.*)", name)
    assert m, name
    side, block, kind, layer, rest = m[1], int(m[2] or 0), m[3], int(m[4]), m[5]
    if kind == "resnets":
        part, tail = rest.rsplit(".", 1)
        rest = f"{RESNET[part]}.{tail}"
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    place = 0 if kind == "resnets" else 1
    if side == "down":
        return f"input_blocks.{block * per + layer + 1}.{place}.{rest}"
    return f"output_blocks.{block * per + layer}.{place}.{rest}"


def published_unet(family: str) -> UNet2DConditionModel:
    """On the meta device: names and shapes without weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(**PUBLISHED[family])


def original_names(unet: Any) -> dict[str, str]:
    """The original name of each parameter."""
    attention = ["CrossAttn" in kind for kind in unet.config.up_block_types]
    layers = unet.config.layers_per_block
    return {name: unet_name(name, layers, attention) for name in unet.state_dict()}


def vae_entry(name: str, value: Tensor, levels: int) -> tuple[str, Tensor]:
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name
    )
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0\.",
        lambda m: f"up.{levels - 1 - int(m[1])}.upsample.",
        name,
    )
    name = re.sub(
        r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name
    ).replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out")
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in (
            ("group_norm", "norm"),
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
        ):
            name = name.replace(f".{ours}.", f".{theirs}.")
        value = value[:, :, None, None] if value.ndim == 2 else value
    return name, value


def bare(encoder: Any) -> dict[str, Tensor]:
    return {k.removeprefix("text_model."): v for k, v in encoder.state_dict().items()}


def open_clip(encoder: Any, *, spare: bool) -> dict[str, Tensor]:
    """OpenCLIP's names: q, k, v joined; `spare` adds the last layer that SD 2.x never uses."""
    state, found = bare(encoder), {}
    found["positional_embedding"] = state.pop("embeddings.position_embedding.weight")
    found["token_embedding.weight"] = state.pop("embeddings.token_embedding.weight")
    found["ln_final.weight"] = state.pop("final_layer_norm.weight")
    found["ln_final.bias"] = state.pop("final_layer_norm.bias")
    width = found["ln_final.bias"].shape[0]
    projection = state.pop("text_projection.weight", torch.zeros(width, width))
    found["text_projection"] = projection.T
    found["logit_scale"] = torch.tensor(4.6)
    for name in list(state):
        m = re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name)
        if not m:
            continue
        block = f"transformer.resblocks.{m[1]}"
        if m[2] == "self_attn.q_proj":
            parts = [state[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")]
            found[f"{block}.attn.in_proj_{m[3]}"] = torch.cat(parts)
        elif m[2] in OPEN_CLIP:
            found[f"{block}.{OPEN_CLIP[m[2]]}.{m[3]}"] = state[name]
    if spare:
        last = encoder.config.num_hidden_layers
        for name in [n for n in found if f"resblocks.{last - 1}." in n]:
            found[name.replace(f"resblocks.{last - 1}.", f"resblocks.{last}.")] = found[name] + 1
    return found


def save_checkpoint(path: Path, pipe: Any, family: str, **extra: Tensor) -> Path:
    """One ``.safetensors`` file with the pipeline's weights under their original names."""
    out: dict[str, Tensor] = dict(extra)
    names = original_names(pipe.unet)
    for name, value in pipe.unet.state_dict().items():
        out["model.diffusion_model." + names[name]] = value
    levels = len(pipe.vae.config.block_out_channels)
    for name, value in pipe.vae.state_dict().items():
        theirs, weight = vae_entry(name, value, levels)
        out["first_stage_model." + theirs] = weight
    clip = {f"text_model.{k}": v for k, v in bare(pipe.text_encoder).items()}
    if family == "sd1":
        out |= {f"cond_stage_model.transformer.{k}": v for k, v in clip.items()}
        ids = torch.arange(77)[None]
        out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = ids
    elif family == "sd2":
        towers = open_clip(pipe.text_encoder, spare=True)
        out |= {f"cond_stage_model.model.{k}": v for k, v in towers.items()}
    else:
        out |= {f"conditioner.embedders.0.transformer.{k}": v for k, v in clip.items()}
        towers = open_clip(pipe.text_encoder_2, spare=False)
        out |= {f"conditioner.embedders.1.model.{k}": v for k, v in towers.items()}
    save_file({k: v.detach().contiguous().clone() for k, v in out.items()}, path)
    return path
