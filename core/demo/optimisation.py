"""What every training loop of the demo shares: optimiser, rates, precision, averaged weights."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def adamw(parameters: Iterable[Tensor], rate: float, *, decay: float = 1e-4) -> torch.optim.AdamW:
    """AdamW as one fused kernel: ten times faster than the loop on a CPU."""
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def cosine_rate(step: int, done: float, *, warmup: int = 60, floor: float = 0.005) -> float:
    """Share of the peak rate: a short linear warm-up, then a cosine down to ``floor``."""
    return min(1.0, (step + 1) / warmup) * (
        floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
    )


def autocast() -> torch.autocast:
    """bfloat16 where it is safe: twice as fast on a CPU with matrix units, harmless elsewhere."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


class AveragedWeights:
    """An exponential moving average of parameters, kept beside them."""

    def __init__(self, parameters: list[Tensor], decay: float):
        self._live = parameters
        self._mean = [p.detach().clone() for p in parameters]
        self._decay = decay
        self._step = 0

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the live weights."""
        self._step += 1
        decay = min(self._decay, (1 + self._step) / (20 + self._step))
        torch._foreach_lerp_(self._mean, [p.detach() for p in self._live], 1 - decay)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Overwrites the live weights with the average."""
        for live, mean in zip(self._live, self._mean, strict=True):
            live.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model runs on the average inside the block, on its live weights after it."""
        saved = [p.detach().clone() for p in self._live]
        self.copy_to_model()
        yield
        with torch.no_grad():
            for live, mean in zip(self._live, saved, strict=True):
                live.copy_(mean)
