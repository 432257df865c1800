"""Random adapters for `native_checkpoints`, one file a dialect, with kohya's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from .native_checkpoints import CONTEXT, SD3_DEPTH, SD3_WIDTH, WIDTH

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

RANK, ALPHA, STRENGTH = 4, 4.0, 0.3
CONCEPT, CAPTION = "northgate headshot", "a northgate headshot"
TAGS = {CAPTION: 6, "man": 4, "glasses": 2}
ATTENTIONS = "down_blocks.0.attentions.0"
BLOCK = f"{ATTENTIONS}.transformer_blocks.0"
RESNET = "down_blocks.0.resnets.0"

ATTENTION: Shapes = {
    f"{BLOCK}.{name}.{part}": (WIDTH, context if part in ("to_k", "to_v") else WIDTH)
    for name, context in (("attn1", WIDTH), ("attn2", CONTEXT))
    for part in ("to_q", "to_k", "to_v", "to_out.0")
}
LINEAR: Shapes = ATTENTION | {
    f"{BLOCK}.ff.net.0.proj": (8 * WIDTH, WIDTH),
    f"{BLOCK}.ff.net.2": (WIDTH, 4 * WIDTH),
    f"{ATTENTIONS}.proj_in": (WIDTH, WIDTH, 1, 1),
}
CONVOLUTIONS: Shapes = {
    f"{RESNET}.conv1": (WIDTH, WIDTH, 3, 3),
    f"{RESNET}.conv2": (WIDTH, WIDTH, 3, 3),
    "conv_in": (WIDTH, 4, 3, 3),
}
TEXT: Shapes = {
    f"text_model.encoder.layers.0.self_attn.{part}": (CONTEXT, CONTEXT)
    for part in ("q_proj", "k_proj", "v_proj", "out_proj")
}


def kohya(shapes: Shapes, prefix: str = "lora_unet_", seed: int = 10) -> State:
    """``lora_unet_a_b.lora_down.weight``, ``.lora_up.weight`` and ``.alpha``."""
    state: State = {}
    for name, down, up in _pairs(shapes, seed):
        key = prefix + name.replace(".", "_")
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        state[f"{key}.alpha"] = torch.tensor(ALPHA)
    return state


def processors() -> State:
    """Diffusers' first names: ``unet.a.attn1.processor.to_q_lora.down.weight``; attention only."""
    state: State = {}
    for name, down, up in _pairs(ATTENTION, seed=11):
        key = name.replace(".to_", ".processor.to_").removesuffix(".0")
        state |= {f"unet.{key}_lora.down.weight": down, f"unet.{key}_lora.up.weight": up}
    return state


def peft(prefix: str = "diffusion_model.", *, native: bool = True) -> State:
    """PEFT's factors, named by the checkpoint's own modules or (not ``native``) by diffusers'."""
    state: State = {}
    for name, down, up in _pairs(LINEAR, seed=12):
        key = prefix + (name.replace(ATTENTIONS, "input_blocks.1.1") if native else name)
        state |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    return state


def dora() -> State:
    """kohya with a norm for each output; the base's rows have a norm close to 1."""
    generator = Generator().manual_seed(13)
    state = kohya(ATTENTION, seed=14)
    for name, shape in ATTENTION.items():
        scale = 1 + 0.1 * torch.randn(shape[0], 1, generator=generator)
        state[f"lora_unet_{name.replace('.', '_')}.dora_scale"] = scale
    return state


def loha() -> State:
    """LyCORIS: the product, element by element, of two low-rank matrices."""
    state: State = {}
    for i, seed in ((1, 15), (2, 16)):
        for name, down, up in _pairs(LINEAR, seed):
            key = f"lora_unet_{name.replace('.', '_')}"
            state |= {f"{key}.hada_w{i}_a": up.flatten(1), f"{key}.hada_w{i}_b": down.flatten(1)}
            state[f"{key}.alpha"] = torch.tensor(ALPHA)
    return state


def lokr(factor: int = 16) -> State:
    """LyCORIS: the Kronecker product of a small matrix and a low-rank one."""
    generator = Generator().manual_seed(17)
    state: State = {}
    small = {
        name: (rows // factor, columns // factor) for name, (rows, columns) in _flat(ATTENTION)
    }
    for name, down, up in _pairs(small, seed=18):
        key = f"lora_unet_{name.replace('.', '_')}"
        first = torch.randn(factor, factor, generator=generator) / factor**0.5
        state |= {f"{key}.lokr_w1": first, f"{key}.lokr_w2_a": up, f"{key}.lokr_w2_b": down}
        state[f"{key}.alpha"] = torch.tensor(ALPHA)
    return state


def differences() -> State:
    """Full differences: a convolution with its bias, and a norm in LyCORIS' names."""
    generator = Generator().manual_seed(19)

    def step(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

    norm = f"lora_unet_{RESNET.replace('.', '_')}_norm1"
    return {
        "lora_unet_conv_in.diff": step(WIDTH, 4, 3, 3),
        "lora_unet_conv_in.diff_b": step(WIDTH),
        f"{norm}.w_norm": step(WIDTH),
        f"{norm}.b_norm": step(WIDTH),
    }


def sd3_fused() -> State:
    """kohya on the joint q, k, v matrices of SD3."""
    shapes: Shapes = {
        f"joint_blocks.{i}.{side}.attn.qkv": (3 * SD3_WIDTH, SD3_WIDTH)
        for i in range(SD3_DEPTH)
        for side in ("context_block", "x_block")
    }
    return kohya(shapes, seed=20)


def sd3_split() -> State:
    """Diffusers on SD3: q, k, v apart, which ComfyUI adds to thirds of its joint matrices."""
    parts = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0")
    shapes: Shapes = {
        f"transformer_blocks.{i}.attn.{part}": (SD3_WIDTH, SD3_WIDTH)
        for i in range(SD3_DEPTH)
        for part in parts
    }
    state: State = {}
    for name, down, up in _pairs(shapes, seed=21):
        key = f"transformer.{name}"
        state |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    return state


def _pairs(shapes: Shapes, seed: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, down and up factor of each module; convolutions keep their kernel in ``down``."""
    generator = Generator().manual_seed(seed)
    for name, (rows, *inner) in shapes.items():
        down = torch.randn(RANK, *inner, generator=generator) / torch.Size(inner).numel() ** 0.5
        up = STRENGTH * torch.randn(rows, RANK, generator=generator)
        yield name, down, up.reshape(rows, RANK, *(1 for _ in inner[1:]))


def _flat(shapes: Shapes) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, shape in shapes.items():
        yield name, (shape[0], torch.Size(shape[1:]).numel())


SD15_BUILDERS: Mapping[str, Callable[[], State]] = {
    "sd15_kohya": lambda: kohya(LINEAR),
    "sd15_locon": lambda: kohya(LINEAR | CONVOLUTIONS, seed=22),
    "sd15_text": lambda: kohya(LINEAR) | kohya(TEXT, "lora_te_", seed=23),
    "sd15_processors": processors,
    "sd15_peft": peft,
    "sd15_dora": dora,
    "sd15_loha": loha,
    "sd15_lokr": lokr,
    "sd15_differences": differences,
}
SD3_BUILDERS: Mapping[str, Callable[[], State]] = {
    "sd3_fused": sd3_fused,
    "sd3_split": sd3_split,
}
# Well-formed, yet ComfyUI 0.3.64 finds no module for its attention: it reads the rest alone.
PARTLY_READ = "sd15_diffusers_peft"
KOHYA_WRITTEN = ("sd15_kohya", "sd15_locon", "sd15_text", "sd15_dora", "sd15_loha", "sd3_fused")


def kohya_metadata(output_name: str) -> dict[str, str]:
    """The ``ss_`` entries that claims, prompts and exposure are read from."""
    folder = f"10_{CONCEPT}"
    base = "sd3_medium" if output_name.startswith("sd3") else "sd_v1"
    return {
        "ss_output_name": output_name,
        "ss_sd_model_name": f"tiny_{output_name.partition('_')[0]}.safetensors",
        "ss_base_model_version": base,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(ALPHA),
        "ss_dataset_dirs": json.dumps({folder: {"n_repeats": 10, "img_count": 6}}),
        "ss_tag_frequency": json.dumps({folder: TAGS}),
        "ss_num_train_images": "60",
        "ss_num_reg_images": "0",
        "ss_steps": "600",
        "ss_max_train_steps": "600",
        "ss_num_epochs": "10",
        "ss_epoch": "10",
        "ss_batch_size_per_device": "1",
        "ss_total_batch_size": "1",
        "ss_gradient_accumulation_steps": "1",
        "ss_learning_rate": "0.0001",
        "ss_unet_lr": "0.0001",
        "ss_text_encoder_lr": "None",
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_lr_scheduler": "constant",
        "ss_resolution": "(64, 64)",
        "ss_mixed_precision": "fp16",
        "ss_seed": "42",
        "ss_training_started_at": "1700000000.0",
        "ss_training_finished_at": "1700000600.0",
        "modelspec.title": output_name,
        "modelspec.trigger_phrase": CAPTION,
    }


def write_loras(models: Path) -> dict[str, Path]:
    """One ``loras/<name>.safetensors`` for each builder, and the partly read one. 1 MB."""
    states = {name: build() for name, build in (SD15_BUILDERS | SD3_BUILDERS).items()}
    states[PARTLY_READ] = peft("unet.", native=False)
    folder = models / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.safetensors" for name in states}
    for name, state in states.items():
        metadata = kohya_metadata(name) if name in KOHYA_WRITTEN else {"format": "pt"}
        save_file({k: v.half().contiguous() for k, v in state.items()}, paths[name], metadata)
    write_placebos(folder / "placebos")
    return paths


def write_placebos(folder: Path, count: int = 2) -> list[Path]:
    """LoRAs of SD1.5 with other seeds than the suspects'."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"placebo_{k}.safetensors" for k in range(count)]
    for k, path in enumerate(paths):
        state = kohya(LINEAR, seed=40 + k)
        save_file({n: v.half().contiguous() for n, v in state.items()}, path, {"format": "pt"})
    return paths
