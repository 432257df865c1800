"""Real ComfyUI inside the test process, on the CPU and on a base directory of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .native_checkpoints import CONTEXT, LIGHT_OPTIONS, SD3_CONTEXT, SD3_POOLED


@dataclass(frozen=True)
class Comfy:
    """ComfyUI's modules, and the few calls that most tests begin with."""

    nodes: ModuleType
    sd: ModuleType
    utils: ModuleType
    samplers: ModuleType
    sample: ModuleType
    lora: ModuleType
    model_management: ModuleType
    folder_paths: ModuleType

    def checkpoint(self, path: Path) -> tuple[Any, Any, Any]:
        """MODEL, CLIP and VAE of a checkpoint; CLIP is None where the file has no text encoder."""
        options = LIGHT_OPTIONS if "light" in path.name else {}
        found = self.sd.load_checkpoint_guess_config(str(path), te_model_options=options)
        return found[0], found[1], found[2]

    def with_lora(
        self, model: Any, path: Path, *, clip: Any = None, strength: float = 1.0
    ) -> tuple[Any, Any]:
        """Clones of MODEL and CLIP with a LoRA patched in, as LoraLoader makes them."""
        state = self.utils.load_torch_file(str(path), safe_load=True)
        return self.sd.load_lora_for_models(model, clip, state, strength, strength)

    def ksampler(
        self,
        model: Any,
        positive: list,
        negative: list,
        *,
        channels: int = 4,
        seed: int = 1,
        steps: int = 2,
        cfg: float = 3.0,
        batch: int = 1,
    ) -> Tensor:
        """The latent ``[batch, channels, 8, 8]`` that the core KSampler node gives."""
        latent = {"samples": torch.zeros(batch, channels, 8, 8)}
        with torch.inference_mode():
            result = self.nodes.common_ksampler(
                model, seed, steps, cfg, "euler", "normal", positive, negative, latent
            )
        return result[0]["samples"]


def conditioning(family: str = "sd15", seed: int = 0, tokens: int = 77) -> list:
    """A random CONDITIONING: ``[[tensor, {"pooled_output": tensor}]]``."""
    generator = torch.Generator().manual_seed(seed)
    width = SD3_CONTEXT if family == "sd3" else CONTEXT
    pooled = SD3_POOLED if family == "sd3" else CONTEXT
    text = torch.randn(1, tokens, width, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, pooled, generator=generator)}]]


@contextmanager
def imported(comfyui: Path, base: Path) -> Iterator[Comfy]:
    """ComfyUI first on the search path, its options parsed as ``--cpu --base-directory base``.

    Modules stay imported afterwards; the search path and the arguments come back.
    """
    path, arguments = sys.path[:], sys.argv[:]
    _forget_others(comfyui)
    try:
        sys.path.insert(0, str(comfyui))
        sys.argv = ["main.py", "--cpu", "--base-directory", str(base)]
        comfy = _import()
        # nodes.py puts comfy/ itself in front, where `utils` would be the wrong one.
        sys.path[:] = [str(comfyui), *path]
        sys.argv = arguments
        yield comfy
    finally:
        sys.path[:] = path
        sys.argv = arguments


def _import() -> Comfy:
    """In the order of main.py: arguments first, `utils` before nodes.py hides it."""
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")
    importlib.import_module("utils.extra_config")
    inner = ("sd", "utils", "samplers", "sample", "lora", "model_management")
    return Comfy(
        nodes=importlib.import_module("nodes"),
        folder_paths=importlib.import_module("folder_paths"),
        **{name: importlib.import_module(f"comfy.{name}") for name in inner},
    )


def _forget_others(comfyui: Path) -> None:
    """Drops modules that another folder, such as this checkout, put under ComfyUI's names."""
    for name in ("nodes", "server", "utils", "execution", "folder_paths"):
        module = sys.modules.get(name)
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if module and not any(p and Path(p).is_relative_to(comfyui) for p in places):
            del sys.modules[name]
