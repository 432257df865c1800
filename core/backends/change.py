"""Whether the suspect changes the model at all: no answer may rest on an adapter that does not."""

from __future__ import annotations

import torch

from ..errors import LoraFormatError, RunError
from ..protocols import ModelPair
from ..sampling.plans import noise_of, start
from ..types import BASE, TUNED

_PROBE_SIDE = 32
# The probe's change must exceed what two equal rows of one batch differ by.
_OVER_NOISE = 4.0


@torch.no_grad()
def output_change(pair: ModelPair, prompt: str = "a photo") -> float:
    """Relative change of one fixed-seed prediction from base to tuned.

    Args:
        pair: the two models.
        prompt: of both.

    Raises:
        RunError: NON_FINITE if a prediction is not finite.
        LoraFormatError: NOT_APPLIED if the change is no larger than rounding.
    """
    *depth, height, width = pair.latent_shape
    shape = (*depth, min(height, _PROBE_SIDE), min(width, _PROBE_SIDE))
    sigma = pair.sigmas[len(pair.sigmas) // 2]
    cond = pair.condition([prompt] * 3, [BASE, BASE, TUNED])
    noise = start(pair, noise_of(0, shape).to(cond.device), sigma)
    x = noise.expand(3, *shape)
    first, again, tuned = pair(x, sigma.expand(3), cond) - x
    if not bool(torch.isfinite(torch.stack([first, tuned])).all()):
        raise RunError(
            "NON_FINITE", "a prediction is not finite; try dtype float32, or the file is broken"
        )
    change, floor = (tuned - first).norm(), (again - first).norm()
    if change <= _OVER_NOISE * floor or change == 0:
        raise LoraFormatError(
            "NOT_APPLIED",
            "base and tuned model predict the same: the adapter or checkpoint changes nothing "
            "here, so nothing can be said about its training data",
        )
    return float(change / first.norm())
