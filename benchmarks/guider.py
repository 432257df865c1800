"""The model-guidance guider inside real ComfyUI against the same guidance on two full models."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from .timing import fastest

STEPS, SIDE, REPEATS = 4, 32, 3


def run() -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of the table; needs COMFYUI_PATH."""
    from host import inprocess, native_checkpoints, native_loras

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in ("models", "custom_nodes", "input", "output", "user", "temp"):
            (base / name).mkdir()
        native_checkpoints.write_bare(base / "models")
        native_loras.write_loras(base / "models")
        with inprocess.imported(Path(os.environ["COMFYUI_PATH"]).resolve(), base) as comfy:
            rows = [_row(comfy, base / "models", batch) for batch in (1, 4)]
    head = ["images", "one network, s", "two models, s", "two / one", "weights one / two, MiB"]
    return f"Guider in ComfyUI, {STEPS} Euler steps at {SIDE} x {SIDE} latents", head, rows


def _row(comfy: Any, models: Path, batch: int) -> list[str]:
    from host.native_checkpoints import SD15_BARE
    from lora_forensics.core.lora.operators import tensors_of
    from lora_forensics.nodes._suspect import suspect_from_file, suspect_from_models

    checkpoint, lora = models / "checkpoints" / SD15_BARE, models / "loras"
    model, _, _ = comfy.checkpoint(checkpoint)
    one = suspect_from_file(lora / "sd15_locon.safetensors", model, None, 1.0)
    second, _, _ = comfy.checkpoint(checkpoint)
    merged, _ = comfy.with_lora(second, lora / "sd15_locon.safetensors")
    two = suspect_from_models(model, None, merged, None, "merged copy")
    seconds = [fastest(lambda s=s: _sample(comfy, s, batch), REPEATS) for s in (one, two)]
    size = model.model_size() / 2**20
    added = sum(t.nbytes for c in one.changes for t in tensors_of(c.operator).values()) / 2**20
    return [
        str(batch),
        *(f"{s:.2f}" for s in seconds),
        f"{seconds[1] / seconds[0]:.2f}",
        f"{size + added:.1f} / {2 * size:.1f}",
    ]


def _sample(comfy: Any, suspect: Any, batch: int) -> None:
    from host.inprocess import conditioning
    from lora_forensics.nodes._guiders import guider_of

    guider = guider_of(suspect)
    guider.set_conds(conditioning(seed=1), conditioning(seed=2))
    guider.set_rule(2.0, 0.0)
    sampling = suspect.base.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)
    noise = torch.randn(batch, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    empty, euler = torch.zeros_like(noise), comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        guider.sample(noise, empty, euler, sigmas, disable_pbar=True, seed=1)


def possible() -> bool:
    """Whether a ComfyUI is there to measure in."""
    if os.environ.get("COMFYUI_PATH"):
        return True
    print("guider: not measured; set COMFYUI_PATH to a ComfyUI checkout", file=sys.stderr)
    return False
