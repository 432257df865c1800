"""Tiny random diffusers models of the three families, for tests: 8x8 latents, 16x16 images.

Family "sd1 low" attends at half the side alone, which makes latents of 64x64 bearable.

`networks` gives a base in memory, `save_base` a diffusers folder, `save_lora` an adapter file,
`save_dreambooth` a folder whose UNet (and text encoder) moved, `tiny_pair` a ready pair.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from lora_forensics.core.backends.diffusers import DiffusersPair
from lora_forensics.core.backends.folders import load_folder
from lora_forensics.core.backends.loading import pair_of
from lora_forensics.core.backends.networks import Networks
from lora_forensics.core.backends.vocabulary import _byte_letters, load_tokenizer
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

# Tiny layers gain nothing from more threads, and lose much on a busy machine.
torch.set_num_threads(1)

FAMILIES = (("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon"))
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
UNET_TARGETS = (*ATTENTION, "proj_in", "ff.net.0.proj", "ff.net.2", "time_emb_proj")
CONV_TARGETS = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def tiny_unet(family: str = "sd1") -> UNet2DConditionModel:
    common: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
    }
    if family == "sd2":
        common |= {"use_linear_projection": True, "attention_head_dim": (1, 1)}
    if family in ("sdxl", "sd1 low"):
        common |= {
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        }
    if family == "sdxl":
        common |= {
            "cross_attention_dim": 64,
            "use_linear_projection": True,
            "attention_head_dim": (1, 1),
            "transformer_layers_per_block": (1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 32,
        }
    return UNet2DConditionModel(**common)


def tiny_vae(family: str = "sd1") -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
        scaling_factor=0.13025 if family == "sdxl" else 0.18215,
    )


def tiny_text(*, projected: bool = False, act: str = "quick_gelu", layers: int = 2) -> Any:
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=32,
        eos_token_id=2,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def told(family: str, pooled: torch.Tensor) -> dict[str, Any]:
    """What SDXL's UNet is told beside text: pooled text and sizes; nothing for other families."""
    if family != "sdxl":
        return {}
    ids = torch.tensor([[16.0, 16, 0, 0, 16, 16]] * len(pooled))
    return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}


@cache
def tiny_tokenizer(pad_token: str = "<|endoftext|>") -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return load_tokenizer(save_vocabulary(Path(folder)), pad_token=pad_token)


def save_vocabulary(folder: Path) -> Path:
    """vocab.json and merges.txt of `tiny_tokenizer`: letters alone, no merges."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = _byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def tiny_pipeline(family: str = "sd1", prediction: str = "epsilon", seed: int = 0) -> Any:
    """A diffusers pipeline with random weights; one seed, one model."""
    torch.manual_seed(seed)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type=prediction,
    )
    parts: dict[str, Any] = {
        "unet": tiny_unet(family),
        "vae": tiny_vae(family),
        "scheduler": scheduler,
        "text_encoder": tiny_text(act="gelu" if family == "sd2" else "quick_gelu"),
        "tokenizer": tiny_tokenizer("!" if family == "sd2" else "<|endoftext|>"),
    }
    if family == "sdxl":
        parts |= {
            "text_encoder_2": tiny_text(projected=True, act="gelu"),
            "tokenizer_2": tiny_tokenizer("!"),
        }
        pipe: Any = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        parts |= {"safety_checker": None, "feature_extractor": None}
        pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.eval()
    return pipe


def save_base(
    folder: Path, family: str = "sd1", prediction: str = "epsilon", seed: int = 0
) -> Path:
    """A diffusers folder; the same seed gives the same weights as `tiny_pipeline`."""
    tiny_pipeline(family, prediction, seed).save_pretrained(folder, safe_serialization=True)
    return folder


def networks(family: str = "sd1", prediction: str = "epsilon", seed: int = 0) -> Networks:
    """A base in memory, on the CPU in float32."""
    with tempfile.TemporaryDirectory() as folder:
        base = load_folder(save_base(Path(folder), family, prediction, seed))
    return base.to(torch.device("cpu"), torch.float32)


def save_lora(
    path: Path,
    family: str = "sd1",
    *,
    rank: int = 4,
    text: bool = False,
    conv: bool = False,
    seed: int = 1,
    targets: Sequence[str] = UNET_TARGETS,
) -> Path:
    """A random adapter in diffusers' format, scale 1; made by peft, saved by diffusers."""
    pipe = tiny_pipeline(family)
    torch.manual_seed(seed)

    def grown(network: Any, names: Sequence[str]) -> dict[str, torch.Tensor]:
        network.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, target_modules=list(names), init_lora_weights=False)
        )
        state = get_peft_model_state_dict(network)
        return {name: value.contiguous() for name, value in state.items()}

    more: dict[str, Any] = {}
    if text:
        more["text_encoder_lora_layers"] = grown(pipe.text_encoder, TEXT_TARGETS)
        if family == "sdxl":
            more["text_encoder_2_lora_layers"] = grown(pipe.text_encoder_2, TEXT_TARGETS)
    unet = grown(pipe.unet, (*targets, *CONV_TARGETS) if conv else targets)
    pipe.save_lora_weights(
        path.parent, unet_lora_layers=unet, weight_name=path.name, safe_serialization=True, **more
    )
    return path


def save_dreambooth(
    folder: Path, family: str = "sd1", *, text: bool = False, seed: int = 2, step: float = 0.02
) -> Path:
    """The base of seed 0 after a random step of all UNet (and text encoder) weights."""
    pipe = tiny_pipeline(family)
    generator = torch.Generator().manual_seed(seed)
    for network in (pipe.unet, pipe.text_encoder) if text else (pipe.unet,):
        for weight in network.parameters():
            weight.data += step * torch.randn(weight.shape, generator=generator)
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_pair(
    folder: Path, family: str = "sd1", prediction: str = "epsilon", **lora: Any
) -> DiffusersPair:
    """A pair of `networks` and a `save_lora` adapter written into `folder`."""
    return pair_of(networks(family, prediction), save_lora(folder / "lora.safetensors", **lora))
