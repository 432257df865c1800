"""The demo's adapters in the kohya format, the one most LoRAs in the wild have.

A low-rank pair of module ``a.b.0`` is stored as ``lora_unet_a_b_0.lora_down.weight``,
``.lora_up.weight`` and ``.alpha``; convolutions keep their kernels.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ...lora.writing import TrainingRecord, key_of, write_lora


@dataclass(frozen=True)
class TrainingClaims:
    """What an adapter's metadata says about its training.

    Attributes:
        output_name: of the file. prompt: the one caption. concept: of the dataset folder.
        n_images: photos. repeats: a photo and epoch. steps, batch, rate, seed: of the optimiser.
        rank, alpha: of the pairs. started_at, finished_at: Unix times in seconds.
    """

    output_name: str
    prompt: str
    concept: str
    n_images: int
    repeats: int
    steps: int
    batch: int
    rate: float
    seed: int
    rank: int
    alpha: float
    started_at: float
    finished_at: float


def adaptable_modules(unet: nn.Module) -> dict[str, nn.Module]:
    """Linear and convolution modules by kohya name."""
    kinds = (nn.Linear, nn.Conv2d)
    return {key_of(n): m for n, m in unet.named_modules() if isinstance(m, kinds)}


def adapter_pairs(unet: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up factor of every peft pair of ``unet``, by module."""
    return {
        name: (module.lora_A["default"].weight, module.lora_B["default"].weight)
        for name, module in unet.named_modules()
        if hasattr(module, "lora_A") and "default" in module.lora_A
    }


def record_of(claims: TrainingClaims) -> TrainingRecord:
    """The claims as metadata states them."""
    return TrainingRecord(
        output_name=claims.output_name,
        concept=claims.concept,
        captions={claims.prompt: claims.n_images},
        images=claims.n_images,
        repeats=claims.repeats,
        steps=claims.steps,
        batch=claims.batch,
        rate=claims.rate,
        seed=claims.seed,
        rank=claims.rank,
        alpha=claims.alpha,
        resolution=64,
        precision="bf16",
        base_name="lora-forensics-demo",
        comment="fictional faces, drawn by lora_forensics.core.demo",
        started_at=claims.started_at,
        finished_at=claims.finished_at,
    )


def save_adapter(unet: nn.Module, claims: TrainingClaims, path: Path) -> None:
    """Writes the peft adapter of ``unet`` as one kohya file in fp16."""
    write_lora(path, adapter_pairs(unet), record_of(claims), dtype=torch.float16)


@torch.no_grad()
def merge_adapter(unet: nn.Module, path: Path) -> None:
    """Adds the adapter's deltas to the weights of ``unet``, in place.

    Raises:
        KeyError: a key fits no module.
    """
    tensors = safetensors.torch.load_file(path)
    modules = adaptable_modules(unet)
    for key in sorted({k.split(".")[0] for k in tensors}):
        down = tensors[f"{key}.lora_down.weight"].float()
        up = tensors[f"{key}.lora_up.weight"].float()
        scale = float(tensors[f"{key}.alpha"]) / down.shape[0]
        weight = modules[key].weight
        weight += scale * (up.flatten(1) @ down.flatten(1)).view_as(weight)
