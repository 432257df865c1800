"""What a fine-tuning gives, and how it is written: a LoRA file, a loss log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..backends.families import base_version
from ..lora.writing import TrainingRecord, pairs_of, tag_counts, write_lora
from ..specs import FinetuneSpec
from ..storage import write_atomic
from .learner_factors import alpha_of
from .optimizer import rate_at

_PRECISIONS = {torch.float32: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What was asked of a fine-tuning, and of which base.

    Attributes:
        spec: all settings.
        captions: one per image.
        base_sha256, family, prediction, resolution: of the base.
        dtype: of the forward passes.
    """

    spec: FinetuneSpec
    captions: tuple[str, ...]
    base_sha256: str
    family: str
    prediction: str
    resolution: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """A finished fine-tuning.

    Attributes:
        training: what was asked.
        losses: one per optimizer step (the mean over its accumulated batches).
        weights: on the CPU in float32; of a LoRA ``<diffusers module>.lora_A.weight`` and
            ``.lora_B.weight``, else the UNet's whole state.
        started, finished: Unix times in seconds.
    """

    training: Training
    losses: tuple[float, ...]
    weights: dict[str, Tensor]
    started: float
    finished: float


def finetuned(training: Training, result: Mapping[str, Tensor]) -> Finetuned:
    """The finished fine-tuning of what `learner.learn` gave: weights, ``losses``, ``clock``."""
    weights = {k: v for k, v in result.items() if k not in ("clock", "losses")}
    return Finetuned(training, tuple(result["losses"].tolist()), weights, *result["clock"].tolist())


def save_lora(
    trained: Finetuned,
    path: Path,
    *,
    layout: str = "kohya",
    name: str = "",
    comment: str = "",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a LoRA with its training metadata, as sd-scripts would state it.

    Args:
        trained: by method ``lora``.
        path: the ``.safetensors`` file.
        layout: ``kohya`` (``lora_unet_*`` with alphas) or ``diffusers`` (``unet.*.lora_A``).
        name: of the output and its training folder; the file's stem if empty.
        comment: free text in the metadata.
        dtype: of the tensors.

    Returns:
        The path.

    Raises:
        InputError: NOT_A_LORA after full training, BAD_SETTING for another layout.
    """
    record = record_of(trained, name or path.stem, comment)
    return write_lora(path, pairs_of(trained.weights), record, layout=layout, dtype=dtype)


def record_of(trained: Finetuned, name: str, comment: str = "") -> TrainingRecord:
    """The training as metadata states it."""
    training, spec = trained.training, trained.training.spec
    decay = {"constant": "constant_with_warmup" if spec.warmup else "constant"}
    return TrainingRecord(
        output_name=name,
        concept=name,
        captions=tag_counts(Counter(training.captions)),
        images=len(training.captions),
        repeats=1,
        steps=spec.steps,
        batch=spec.batch,
        accumulation=spec.accumulation,
        rate=spec.learning_rate,
        schedule=decay.get(spec.decay, spec.decay),
        optimizer=f"torch.optim.adamw.AdamW(weight_decay={spec.weight_decay})",
        seed=spec.seed,
        rank=spec.rank,
        alpha=alpha_of(spec),
        conv=spec.layers == "all",
        resolution=training.resolution,
        precision=_PRECISIONS[training.dtype],
        base_version=base_version(training.family, training.prediction),
        caption_dropout=spec.caption_dropout,
        comment=comment,
        started_at=trained.started,
        finished_at=trained.finished,
        more={
            "ss_new_sd_model_hash": training.base_sha256,
            "ss_lr_warmup_steps": str(spec.warmup),
            "ss_max_grad_norm": str(spec.clip),
            "ss_flip_aug": str(spec.flip > 0),
            "ss_random_crop": str(spec.crop == "random"),
        },
    )


def save_losses(trained: Finetuned, path: Path) -> Path:
    """Write step, learning rate and loss of every optimizer step as CSV."""
    rows = [
        f"{step},{rate_at(trained.training.spec, step):.9g},{loss:.9g}"
        for step, loss in enumerate(trained.losses)
    ]
    write_atomic(path, ("\n".join(["step,learning_rate,loss", *rows]) + "\n").encode())
    return path
