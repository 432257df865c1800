"""Writes and reads adapters in the kohya format, the one most LoRAs in the wild have.

A low-rank pair of module ``a.b.0`` is stored as ``lora_unet_a_b_0.lora_down.weight``,
``.lora_up.weight`` and ``.alpha``; convolutions keep their kernels.
"""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

PREFIX = "lora_unet_"
LEGACY_OFFSET, LEGACY_LENGTH = 0x100000, 0x10000


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


def key_of(module: str) -> str:
    """The kohya name of a UNet module.

    >>> key_of("mid_block.resnets.0.conv1")
    'lora_unet_mid_block_resnets_0_conv1'
    """
    return PREFIX + module.replace(".", "_")


def adaptable_modules(unet: nn.Module) -> dict[str, nn.Module]:
    """Linear and convolution modules by kohya name."""
    kinds = (nn.Linear, nn.Conv2d)
    return {key_of(n): m for n, m in unet.named_modules() if isinstance(m, kinds)}


def adapter_tensors(unet: nn.Module, alpha: float) -> dict[str, Tensor]:
    """The peft pairs of ``unet`` as fp16 kohya tensors."""
    tensors = {}
    for name, module in unet.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            key = key_of(name)
            down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
            tensors[f"{key}.lora_down.weight"] = down.detach().half().contiguous()
            tensors[f"{key}.lora_up.weight"] = up.detach().half().contiguous()
            tensors[f"{key}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    return tensors


def kohya_hashes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> tuple[str, str]:
    """``sshs_model_hash`` and ``sshs_legacy_hash`` as sd-scripts computes them before saving."""
    kept = {k: v for k, v in metadata.items() if k.startswith("ss_")}
    blob = safetensors.torch.save(tensors, kept)
    body = 8 + int.from_bytes(blob[:8], "little")
    legacy = hashlib.sha256(blob[LEGACY_OFFSET : LEGACY_OFFSET + LEGACY_LENGTH]).hexdigest()
    return hashlib.sha256(blob[body:]).hexdigest(), legacy[:8]


def kohya_metadata(claims: TrainingClaims) -> dict[str, str]:
    """The ``ss_*`` entries that sd-scripts would have written."""
    folder = f"{claims.repeats}_{claims.concept}"
    per_epoch = max(1, claims.n_images * claims.repeats // claims.batch)
    rate = str(claims.rate)
    return {
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "lora-forensics-demo",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(claims.rank),
        "ss_network_alpha": str(claims.alpha),
        "ss_network_args": json.dumps({"conv_dim": claims.rank, "conv_alpha": claims.alpha}),
        "ss_num_train_images": str(claims.n_images * claims.repeats),
        "ss_num_reg_images": "0",
        "ss_dataset_dirs": json.dumps(
            {folder: {"n_repeats": claims.repeats, "img_count": claims.n_images}}
        ),
        "ss_tag_frequency": json.dumps({folder: {claims.prompt: claims.n_images}}),
        "ss_steps": str(claims.steps),
        "ss_max_train_steps": str(claims.steps),
        "ss_num_batches_per_epoch": str(per_epoch),
        "ss_num_epochs": str(-(-claims.steps // per_epoch)),
        "ss_epoch": str(-(-claims.steps // per_epoch)),
        "ss_batch_size_per_device": str(claims.batch),
        "ss_total_batch_size": str(claims.batch),
        "ss_gradient_accumulation_steps": "1",
        "ss_learning_rate": rate,
        "ss_unet_lr": rate,
        "ss_text_encoder_lr": "None",
        "ss_lr_scheduler": "constant",
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_resolution": "(64, 64)",
        "ss_mixed_precision": "bf16",
        "ss_caption_dropout_rate": "0.0",
        "ss_seed": str(claims.seed),
        "ss_training_started_at": str(claims.started_at),
        "ss_training_finished_at": str(claims.finished_at),
        "ss_output_name": claims.output_name,
        "ss_training_comment": "fictional faces, drawn by lora_forensics.core.demo",
    }


def save_adapter(unet: nn.Module, claims: TrainingClaims, path: Path) -> None:
    """Writes the peft adapter of ``unet`` as one kohya file."""
    tensors, metadata = adapter_tensors(unet, claims.alpha), kohya_metadata(claims)
    model_hash, legacy_hash = kohya_hashes(tensors, metadata)
    metadata |= {"sshs_model_hash": model_hash, "sshs_legacy_hash": legacy_hash}
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, path, metadata)


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
