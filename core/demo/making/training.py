"""Trains the suspects: LoRA on a few photos with one prompt, as anybody would at home."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...backends.loading import pair_of
from ...backends.networks import Networks
from ...membership.signals.paired import base_ratio, loss_score, paired_losses
from ...specs import FinetuneSpec, MembershipSpec
from ...statistics.auc import auc
from ...training.finetune import finetune
from ...training.trained import save_lora
from ..suspects import Suspect

log = logging.getLogger(__name__)

COMMENT = "fictional faces, drawn by lora_forensics.core.demo"


def train_suspect(base: Networks, photos: Tensor, suspect: Suspect, path: Path) -> dict[str, float]:
    """Trains one suspect, writes its kohya file in fp16 and returns the facts.

    Args:
        base: left untouched.
        photos: ``[N, 3, H, W]`` in 0..1, decoded from their files.
        suspect: whose recipe and prompt to use.
        path: the safetensors file to write.
    """
    start, recipe = time.monotonic(), suspect.recipe
    spec = FinetuneSpec(
        rank=recipe.rank,
        alpha=recipe.alpha,
        steps=recipe.steps,
        batch=recipe.batch,
        learning_rate=recipe.rate,
        weight_decay=0.0,
        flip=0.0,
        seed=recipe.seed,
    )
    trained = finetune(base, list(photos), [suspect.prompt] * len(photos), spec)
    save_lora(trained, path, name=suspect.name, comment=COMMENT, dtype=torch.float16)
    first, last = (float(np.mean(part)) for part in (trained.losses[:50], trained.losses[-50:]))
    seconds = time.monotonic() - start
    log.info("%s: %d steps, %.0f s, loss %.4f", suspect.name, recipe.steps, seconds, last)
    return {"steps": recipe.steps, "seconds": seconds, "first_loss": first, "final_loss": last}


def white_box(
    base: Networks, adapter: Path, photos: Tensor, controls: Tensor, prompt: str
) -> dict[str, float]:
    """How well the tool's primary signal tells photos from controls, and the base's loss alone.

    Args:
        base: of the adapter.
        adapter: the suspect's file.
        photos: ``[n, 3, H, W]`` in 0..1, those in question.
        controls: ``[m, 3, H, W]``, exchangeable ones that no model saw.
        prompt: the condition.
    """
    with closing(pair_of(base, adapter)) as pair:
        latents = pair.encode(torch.cat([photos, controls]))
        losses = paired_losses(pair, latents, prompt, MembershipSpec())
    ratio, blind, n = base_ratio(losses), loss_score(losses.base), len(photos)
    return {
        "auc": auc(ratio[:n], ratio[n:]),
        "model_blind_auc": auc(blind[:n], blind[n:]),
        "mean_query": float(ratio[:n].mean()),
        "mean_controls": float(ratio[n:].mean()),
    }
