"""Writes low-rank pairs as kohya or diffusers files, with sd-scripts' training metadata."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..errors import InputError
from .header import kohya_hashes

PREFIX = "lora_unet_"
LAYOUTS = ("kohya", "diffusers")
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"

Pairs = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What an adapter's metadata says about its training.

    Attributes:
        output_name: of the file. concept: of the training folder.
        captions: tag or caption -> photos that carry it.
        images, repeats: photos, and how often an epoch uses each.
        steps, batch, accumulation, rate, schedule, optimizer, seed: of the optimizer.
        rank, alpha: of the pairs. conv: whether convolutions have pairs too.
        resolution: side in pixels. precision: of the forward passes.
        base_version: as sd-scripts names it. base_name: of the base's file.
        caption_dropout: share of empty captions.
        started_at, finished_at: Unix times in seconds.
        more: further ``ss_`` entries; they win.
    """

    output_name: str
    concept: str
    captions: Mapping[str, int]
    images: int
    repeats: int
    steps: int
    batch: int
    rate: float
    seed: int
    rank: int
    alpha: float
    resolution: int
    started_at: float
    finished_at: float
    accumulation: int = 1
    schedule: str = "constant"
    optimizer: str = "torch.optim.adamw.AdamW"
    conv: bool = True
    precision: str = "no"
    base_version: str = "sd_v1"
    base_name: str = ""
    caption_dropout: float = 0.0
    comment: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def key_of(module: str) -> str:
    """The kohya name of a UNet module.

    >>> key_of("mid_block.resnets.0.conv1")
    'lora_unet_mid_block_resnets_0_conv1'
    """
    return PREFIX + module.replace(".", "_")


def tag_counts(captions: Mapping[str, int]) -> dict[str, int]:
    """Photos a tag, with captions cut at commas and in lower case, as sd-scripts counts them.

    >>> tag_counts({"A face, smiling": 2, "a face": 1})
    {'a face': 3, 'smiling': 2}
    """
    counts: Counter[str] = Counter()
    for caption, photos in captions.items():
        for tag in caption.split(","):
            counts[tag.strip().lower()] += photos
    return {tag: count for tag, count in counts.items() if tag}


def pairs_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up factor by module of tensors named ``<module>.lora_A.weight``, ``.lora_B.``.

    Raises:
        InputError: NOT_A_LORA, something else is among them.
    """
    modules = [name.removesuffix(_DOWN) for name in weights if name.endswith(_DOWN)]
    names = {m + end for m in modules for end in (_DOWN, _UP)}
    if not modules or names != set(weights):
        raise InputError(
            "NOT_A_LORA",
            "these weights are not low-rank pairs; a full fine-tuning is saved as a checkpoint",
        )
    return {m: (weights[m + _DOWN], weights[m + _UP]) for m in modules}


def kohya_tensors(pairs: Pairs, alpha: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """Pairs by module as kohya tensors, with an ``alpha`` each; convolutions keep their kernels."""
    tensors: dict[str, Tensor] = {}
    for module, (down, up) in pairs.items():
        key = key_of(module)
        tensors[f"{key}.lora_down.weight"] = down.detach().to(dtype).contiguous()
        tensors[f"{key}.lora_up.weight"] = up.detach().to(dtype).contiguous()
        tensors[f"{key}.alpha"] = torch.tensor(alpha, dtype=dtype)
    return tensors


def diffusers_tensors(pairs: Pairs, alpha: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """Pairs as diffusers tensors; ``alpha / rank`` goes into the up factor: there is no alpha."""
    tensors: dict[str, Tensor] = {}
    for module, (down, up) in pairs.items():
        scaled = up.detach() * (alpha / down.shape[0])
        tensors[f"unet.{module}{_DOWN}"] = down.detach().to(dtype).contiguous()
        tensors[f"unet.{module}{_UP}"] = scaled.to(dtype).contiguous()
    return tensors


def kohya_metadata(record: TrainingRecord) -> dict[str, str]:
    """The ``ss_*`` entries that sd-scripts would have written."""
    folder = f"{record.repeats}_{record.concept}"
    uses, rate = record.images * record.repeats, str(record.rate)
    batches = -(-uses // record.batch)
    epochs = str(-(-record.steps * record.accumulation // batches))
    network = {"conv_dim": record.rank, "conv_alpha": record.alpha} if record.conv else {}
    return {
        "ss_base_model_version": record.base_version,
        "ss_sd_model_name": record.base_name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(record.rank),
        "ss_network_alpha": str(record.alpha),
        "ss_network_args": json.dumps(network),
        "ss_num_train_images": str(uses),
        "ss_num_reg_images": "0",
        "ss_dataset_dirs": json.dumps(
            {folder: {"n_repeats": record.repeats, "img_count": record.images}}
        ),
        "ss_tag_frequency": json.dumps({folder: dict(record.captions)}),
        "ss_steps": str(record.steps),
        "ss_max_train_steps": str(record.steps),
        "ss_num_batches_per_epoch": str(batches),
        "ss_num_epochs": epochs,
        "ss_epoch": epochs,
        "ss_batch_size_per_device": str(record.batch),
        "ss_total_batch_size": str(record.batch * record.accumulation),
        "ss_gradient_accumulation_steps": str(record.accumulation),
        "ss_learning_rate": rate,
        "ss_unet_lr": rate,
        "ss_text_encoder_lr": "None",
        "ss_lr_scheduler": record.schedule,
        "ss_optimizer": record.optimizer,
        "ss_resolution": f"({record.resolution}, {record.resolution})",
        "ss_mixed_precision": record.precision,
        "ss_caption_dropout_rate": str(record.caption_dropout),
        "ss_seed": str(record.seed),
        "ss_training_started_at": str(record.started_at),
        "ss_training_finished_at": str(record.finished_at),
        "ss_output_name": record.output_name,
        "ss_training_comment": record.comment,
        **record.more,
    }


def write_lora(
    path: Path,
    pairs: Pairs,
    record: TrainingRecord,
    *,
    layout: str = "kohya",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write low-rank pairs as one safetensors file with sd-scripts' hashes.

    Args:
        path: the file; its folder is made.
        pairs: down and up factor by UNet module.
        record: of the training.
        layout: ``kohya`` or ``diffusers``.
        dtype: of the tensors.

    Raises:
        InputError: BAD_SETTING, another layout.
    """
    if layout not in LAYOUTS:
        raise InputError(
            "BAD_SETTING", f"layout {layout!r} is unknown; choose {', '.join(LAYOUTS)}"
        )
    make = kohya_tensors if layout == "kohya" else diffusers_tensors
    tensors, metadata = make(pairs, record.alpha, dtype), kohya_metadata(record)
    if layout == "diffusers":
        metadata["format"] = "pt"
    model_hash, legacy_hash = kohya_hashes(tensors, metadata)
    metadata |= {"sshs_model_hash": model_hash, "sshs_legacy_hash": legacy_hash}
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, path, metadata)
    return path
