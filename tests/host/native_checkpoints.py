"""Random checkpoints in ComfyUI's own layouts, as small as its model detection allows.

ComfyUI tells a model by its tensor names and shapes. SD1.5 must keep width 320 and text width 768,
but may have one level, one block and no middle; SD3 reads all its widths from the file. The VAE is
a TAESD in the checkpoint's VAE place. CLIP-L is the one part that has a fixed size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Tensor]

SD15 = "tiny_sd15.safetensors"
SD15_LIGHT = "tiny_sd15_light.safetensors"
SD15_BARE = "tiny_sd15_bare.safetensors"
SD15_DREAMBOOTH = "tiny_sd15_dreambooth.safetensors"
SD3 = "tiny_sd3.safetensors"
CLIP_L = "tiny_clip_l.safetensors"

NETWORK, VAE = "model.diffusion_model.", "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."
WIDTH, TIME, CONTEXT = 320, 1280, 768
SD3_DEPTH, SD3_CONTEXT, SD3_POOLED = 2, 4096, 2048
SD3_WIDTH = 64 * SD3_DEPTH
# What the loader must be told to read the text encoder of `SD15_LIGHT`; no core node can say it.
LIGHT_TEXT = {"num_hidden_layers": 1, "intermediate_size": 64}
LIGHT_OPTIONS = {"clip_l_model_config": LIGHT_TEXT}


class Weights:
    """Collects named random tensors in half precision, scaled so that sampling stays finite."""

    def __init__(self, seed: int, prefix: str):
        self.generator = torch.Generator().manual_seed(seed)
        self.prefix = prefix
        self.state: State = {}

    def draw(self, name: str, *shape: int, std: float) -> None:
        value = torch.randn(*shape, generator=self.generator) * std
        self.state[self.prefix + name] = value.half()

    def layer(self, name: str, *shape: int, bias: bool = True, gain: float = 1.0) -> None:
        """A linear layer ``[out, in]`` or a convolution ``[out, in, k, k]``."""
        fan_in = torch.Size(shape[1:]).numel()
        self.draw(f"{name}.weight", *shape, std=gain / fan_in**0.5)
        if bias:
            self.state[f"{self.prefix}{name}.bias"] = torch.zeros(shape[0]).half()

    def norm(self, name: str, width: int) -> None:
        self.state[f"{self.prefix}{name}.weight"] = torch.ones(width).half()
        self.state[f"{self.prefix}{name}.bias"] = torch.zeros(width).half()


def sd15_unet(seed: int = 0) -> State:
    """13.6 million weights: one residual block and one transformer down, two blocks up."""
    weights = Weights(seed, NETWORK)
    weights.layer("time_embed.0", TIME, WIDTH)
    weights.layer("time_embed.2", TIME, TIME)
    weights.layer("input_blocks.0.0", WIDTH, 4, 3, 3)
    _residual(weights, "input_blocks.1.0", WIDTH)
    _transformer(weights, "input_blocks.1.1")
    for i in range(2):
        _residual(weights, f"output_blocks.{i}.0", 2 * WIDTH)
    weights.norm("out.0", WIDTH)
    weights.layer("out.2", 4, WIDTH, 3, 3, gain=0.3)
    return weights.state


def _residual(weights: Weights, name: str, channels: int) -> None:
    weights.norm(f"{name}.in_layers.0", channels)
    weights.layer(f"{name}.in_layers.2", WIDTH, channels, 3, 3)
    weights.layer(f"{name}.emb_layers.1", WIDTH, TIME)
    weights.norm(f"{name}.out_layers.0", WIDTH)
    weights.layer(f"{name}.out_layers.3", WIDTH, WIDTH, 3, 3)
    if channels != WIDTH:
        weights.layer(f"{name}.skip_connection", WIDTH, channels, 1, 1)


def _transformer(weights: Weights, name: str) -> None:
    weights.norm(f"{name}.norm", WIDTH)
    weights.layer(f"{name}.proj_in", WIDTH, WIDTH, 1, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, width in (("attn1", WIDTH), ("attn2", CONTEXT)):
        weights.layer(f"{block}.{attention}.to_q", WIDTH, WIDTH, bias=False)
        weights.layer(f"{block}.{attention}.to_k", WIDTH, width, bias=False)
        weights.layer(f"{block}.{attention}.to_v", WIDTH, width, bias=False)
        weights.layer(f"{block}.{attention}.to_out.0", WIDTH, WIDTH)
    weights.layer(f"{block}.ff.net.0.proj", 8 * WIDTH, WIDTH)
    weights.layer(f"{block}.ff.net.2", WIDTH, 4 * WIDTH)
    for i in (1, 2, 3):
        weights.norm(f"{block}.norm{i}", WIDTH)
    weights.layer(f"{name}.proj_out", WIDTH, WIDTH, 1, 1)


def sd3_mmdit(seed: int = 3) -> State:
    """2 million weights: depth 2, width 128; text widths as in the real SD3."""
    weights = Weights(seed, NETWORK)
    weights.layer("x_embedder.proj", SD3_WIDTH, 16, 2, 2)
    weights.draw("pos_embed", 1, 16 * 16, SD3_WIDTH, std=0.02)
    for embedder, width in (("t_embedder", 256), ("y_embedder", SD3_POOLED)):
        weights.layer(f"{embedder}.mlp.0", SD3_WIDTH, width)
        weights.layer(f"{embedder}.mlp.2", SD3_WIDTH, SD3_WIDTH)
    weights.layer("context_embedder", SD3_WIDTH, SD3_CONTEXT)
    for i in range(SD3_DEPTH):
        for side in ("context_block", "x_block"):
            short = side == "context_block" and i == SD3_DEPTH - 1
            _joint_side(weights, f"joint_blocks.{i}.{side}", short=short)
    weights.layer("final_layer.adaLN_modulation.1", 2 * SD3_WIDTH, SD3_WIDTH)
    weights.layer("final_layer.linear", 2 * 2 * 16, SD3_WIDTH)
    return weights.state


def _joint_side(weights: Weights, name: str, *, short: bool) -> None:
    """One stream of a joint block; the text stream of the last one is ``short``."""
    weights.layer(f"{name}.attn.qkv", 3 * SD3_WIDTH, SD3_WIDTH)
    weights.layer(f"{name}.adaLN_modulation.1", (2 if short else 6) * SD3_WIDTH, SD3_WIDTH)
    if not short:
        weights.layer(f"{name}.attn.proj", SD3_WIDTH, SD3_WIDTH)
        weights.layer(f"{name}.mlp.fc1", 4 * SD3_WIDTH, SD3_WIDTH)
        weights.layer(f"{name}.mlp.fc2", SD3_WIDTH, 4 * SD3_WIDTH)


def taesd(channels: int = 4, seed: int = 1) -> State:
    """A TAESD with 8 pixels a latent side, as the checkpoint's VAE."""
    weights = Weights(seed, VAE)
    encoder = ["in", "block", *["down", "block", "block", "block"] * 3, "out"]
    decoder = ["clamp", "in", "relu", *["block", "block", "block", "up", "conv"] * 3]
    for side, kinds, (first, last) in (
        ("taesd_encoder", encoder, (3, channels)),
        ("taesd_decoder", [*decoder, "block", "out"], (channels, 3)),
    ):
        for i, kind in enumerate(kinds):
            _taesd_layer(weights, f"{side}.{i}", kind, first, last)
    weights.state[VAE + "vae_scale"] = torch.tensor(1.0)
    weights.state[VAE + "vae_shift"] = torch.tensor(0.0)
    return weights.state


def _taesd_layer(weights: Weights, name: str, kind: str, first: int, last: int) -> None:
    if kind == "block":
        for i in (0, 2, 4):
            weights.layer(f"{name}.conv.{i}", 64, 64, 3, 3, gain=0.7)
    elif kind in ("down", "conv"):
        weights.layer(name, 64, 64, 3, 3, bias=False)
    elif kind == "in":
        weights.layer(name, 64, first, 3, 3)
    elif kind == "out":
        weights.layer(name, last, 64, 3, 3)


def clip_l(layers: int = 12, hidden: int = 3072, seed: int = 2, prefix: str = TEXT) -> State:
    """OpenAI's CLIP-L: 246 MB in full, 81 MB with the sizes of `LIGHT_TEXT`."""
    weights = Weights(seed, prefix)
    weights.draw("embeddings.token_embedding.weight", 49408, CONTEXT, std=0.02)
    weights.draw("embeddings.position_embedding.weight", 77, CONTEXT, std=0.02)
    for i in range(layers):
        name = f"encoder.layers.{i}"
        weights.norm(f"{name}.layer_norm1", CONTEXT)
        weights.norm(f"{name}.layer_norm2", CONTEXT)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            weights.layer(f"{name}.self_attn.{part}", CONTEXT, CONTEXT)
        weights.layer(f"{name}.mlp.fc1", hidden, CONTEXT)
        weights.layer(f"{name}.mlp.fc2", CONTEXT, hidden)
    weights.norm("final_layer_norm", CONTEXT)
    return weights.state


def moved(state: State, seed: int = 7, step: float = 0.01) -> State:
    """All weights after a random step, as full finetuning leaves them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (value + step * torch.randn(value.shape, generator=generator)).half()
        for name, value in state.items()
    }


def write_bare(models: Path) -> list[Path]:
    """The checkpoints without a text encoder: SD1.5, its DreamBooth copy, SD3. 73 MB in all."""
    unet, vae = sd15_unet(), taesd()
    return [
        _save(models, SD15_BARE, unet | vae),
        _save(models, SD15_DREAMBOOTH, moved(unet) | vae),
        _save(models, SD3, sd3_mmdit() | taesd(channels=16)),
    ]


def write_light(models: Path) -> Path:
    """SD1.5 with one small text layer, 113 MB: readable with `LIGHT_OPTIONS` only."""
    text = clip_l(LIGHT_TEXT["num_hidden_layers"], LIGHT_TEXT["intermediate_size"])
    return _save(models, SD15_LIGHT, sd15_unet() | taesd() | text)


def write_full(models: Path) -> Path:
    """SD1.5 as every loader node reads it, 278 MB: for a temporary folder only."""
    return _save(models, SD15, sd15_unet() | taesd() | clip_l())


def write_text_encoder(models: Path) -> Path:
    """CLIP-L alone for CLIPLoader, which also serves `SD3` with it; 246 MB, temporary likewise."""
    return _save(models, CLIP_L, clip_l(prefix="text_model."), "text_encoders")


def _save(models: Path, name: str, state: State, kind: str = "checkpoints") -> Path:
    path = models / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path
