"""Every module of the published UNet layouts is found by its kohya name."""

import diffusers
import pytest
import torch
from lora_forensics.core.errors import LoraFormatError
from lora_forensics.core.lora.binding import bind
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.operators import delta_shape
from safetensors.torch import save_file

SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def real_shapes(**config):
    """Names and shapes of a published UNet layout, without its weights."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**config)
    return {
        name.removesuffix(".weight"): tuple(value.shape)
        for name, value in unet.named_parameters()
        if name.endswith(".weight") and value.ndim > 1
    }


@pytest.fixture(scope="module")
def sd15():
    return real_shapes(cross_attention_dim=768, attention_head_dim=8)


@pytest.fixture(scope="module")
def sdxl():
    return real_shapes(**SDXL)


def original_name(name):
    """Diffusers' SDXL name to the original one, by kohya's rule in the other direction."""
    inner = {
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
    outer = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    if name in outer:
        return outer[name]
    part, *rest = name.split(".")
    if part == "mid_block":
        kind, j, *tail = rest
        tail = ".".join(tail)
        where = 1 if kind == "attentions" else 2 * int(j)
        return f"middle_block.{where}.{inner.get(tail, tail)}"
    i, kind, j, *tail = rest
    i, j, tail = int(i), int(j), ".".join(tail)
    if kind == "downsamplers":
        return f"input_blocks.{3 * (i + 1)}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{3 * i + 2}.2.conv"
    block = (
        f"input_blocks.{3 * i + j + 1}" if part == "down_blocks" else f"output_blocks.{3 * i + j}"
    )
    return f"{block}.{1 if kind == 'attentions' else 0}.{inner.get(tail, tail)}"


def whole_adapter(path, shapes, rename):
    tensors = {}
    for name, (out, inner, *kernel) in shapes.items():
        flat = "lora_unet_" + rename(name).replace(".", "_")
        tensors[f"{flat}.lora_down.weight"] = torch.ones(1, inner, *kernel, dtype=torch.float16)
        tensors[f"{flat}.lora_up.weight"] = torch.ones(out, 1, *[1] * len(kernel)).half()
    save_file(tensors, path)
    return read_lora(path)


def test_every_sd15_module_is_found_by_its_kohya_name(sd15, tmp_path):
    lora = whole_adapter(tmp_path / "a.safetensors", sd15, str)
    binding = bind(lora, {"unet": sd15})
    assert lora.family == "SD1.x"
    assert {pair.module for pair in binding.pairs} == set(sd15)
    assert binding.coverage[0].base_touched == len(sd15) == binding.coverage[0].base_total


def test_every_sdxl_module_is_found_by_its_original_name(sdxl, tmp_path):
    lora = whole_adapter(tmp_path / "a.safetensors", sdxl, original_name)
    binding = bind(lora, {"unet": sdxl})
    assert lora.family == "SDXL"
    for pair in binding.pairs:
        assert delta_shape(pair.operator) == sdxl[pair.module]
    assert {pair.module for pair in binding.pairs} == set(sdxl)


def test_an_sdxl_adapter_on_sd15_is_refused_with_its_family(sd15, sdxl, tmp_path):
    for rename in (str, original_name):
        lora = whole_adapter(tmp_path / "a.safetensors", sdxl, rename)
        with pytest.raises(LoraFormatError, match="looks like SDXL") as caught:
            bind(lora, {"unet": sd15})
        assert caught.value.code == "WRONG_BASE"
