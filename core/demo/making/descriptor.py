"""Trains the embedded copy descriptor by contrast: a copy is near, another picture is far.

Half of the batches come from one source only, so that two people in front of one wall are negatives
of each other and the wall counts for nothing.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from ...encoders.tiny import TinyDescriptor, describe
from ..datasets import to_unit
from ..faces import draw_faces
from .augmentation import copies
from .optimization import Recipe, adamw, cosine_rate, set_rate

log = logging.getLogger(__name__)

TEMPERATURE = 0.07
CALIBRATION_SEEDS = {"northgate": 9101, "southfield": 9102}


@dataclass(frozen=True, kw_only=True)
class DescriptorRecipe(Recipe):
    """How the descriptor is trained.

    Attributes:
        spread_weight: weight of the term that spreads descriptors over the sphere.
        calibration: photos per institution for the thresholds.
    """

    spread_weight: float = 0.1
    calibration: int = 600


DESCRIPTOR = DescriptorRecipe(steps=350, batch=64, rate=1.5e-3, seed=303)


def _batches(
    sources: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], recipe: DescriptorRecipe
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures and altered copies, which start from the codec's version half of the time."""
    rng = np.random.default_rng(recipe.seed)
    for step in range(recipe.steps):
        one_source = rng.random() < 0.5
        chosen = [sources[rng.integers(len(sources))]] if one_source else sources
        share = -(-recipe.batch // len(chosen))
        originals, starts = [], []
        for real, coded in chosen:
            rows = rng.choice(len(real), min(share, len(real)), replace=False)
            through = (rng.random(len(rows)) < 0.5)[:, None, None, None]
            originals.append(real[rows])
            starts.append(np.where(through, coded[rows], real[rows]))
        altered = copies(to_unit(np.concatenate(starts)), recipe.seed * 100_000 + step)
        yield to_unit(np.concatenate(originals)), altered


def contrast_loss(one: Tensor, other: Tensor, spread_weight: float) -> Tensor:
    """InfoNCE both ways over all pictures of the batch, plus a nearest-neighbour spreading term."""
    n = len(one)
    both = torch.cat([one, other])
    near = both @ both.T
    itself = torch.eye(2 * n, dtype=torch.bool)
    partner = torch.arange(2 * n).roll(n)
    loss = F.cross_entropy(near.masked_fill(itself, -1e4) / TEMPERATURE, partner)
    strangers = near[:n, :n].masked_fill(itself[:n, :n], -1).max(1).values
    spread = -0.5 * torch.log((2 - 2 * strangers).clamp_min(1e-4)).mean()
    return loss + spread_weight * spread


def train_descriptor(
    sources: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], recipe: DescriptorRecipe, path: Path
) -> dict[str, float]:
    """Trains, calibrates, saves as fp16 and returns the facts.

    Args:
        sources: per source, pictures and the same through the codec, uint8 ``[N, 64, 64, 3]``.
        recipe: steps and rates.
        path: the safetensors file to write; the thresholds go into its header.
    """
    torch.manual_seed(recipe.seed)
    model, start = TinyDescriptor(), time.monotonic()
    optimizer, recent = adamw(model.parameters(), recipe.rate, decay=0.02), 0.0
    for step, (real, altered) in enumerate(_batches(sources, recipe)):
        set_rate(optimizer, recipe.rate * cosine_rate(step, step / recipe.steps))
        one, other = model(torch.cat([real, altered])).chunk(2)
        loss = contrast_loss(one, other, recipe.spread_weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent = loss.item()
        if step % 100 == 0:
            log.info(
                "descriptor step %d, %.0f s, loss %.4f", step, time.monotonic() - start, recent
            )
    model.half().float().eval().requires_grad_(False)
    thresholds = calibrate(model, recipe.calibration)
    weights = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    shown = {key: f"{value:.6f}" for key, value in thresholds.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, {"format": "pt", "dim": str(model.dim), **shown})
    return recipe.facts(time.monotonic() - start, recent) | thresholds


def calibrate(model: TinyDescriptor, n: int) -> dict[str, float]:
    """Similarities that 99.9% and 99% of pairs of one institution's photos stay below."""
    strict, lenient = [], []
    for domain, seed in CALIBRATION_SEEDS.items():
        vectors = describe(model, to_unit(draw_faces(n, domain, seed).pixels))  # type: ignore[arg-type]
        pairs = (vectors @ vectors.T)[torch.triu_indices(n, n, 1).unbind()]
        strict.append(float(torch.quantile(pairs, 0.999)))
        lenient.append(float(torch.quantile(pairs, 0.99)))
    return {"copy_threshold": max(strict), "lenient_threshold": max(lenient)}
