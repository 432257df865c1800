"""AdamW with warm-up and decay, gradient clipping and loss scaling; its state as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..specs import FinetuneSpec

_FUSED = ("cpu", "cuda")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def rate_at(spec: FinetuneSpec, step: int) -> float:
    """Learning rate of optimizer step `step` (from 0), as diffusers' ``get_scheduler`` gives it.

    >>> spec = FinetuneSpec(steps=10, warmup=2, decay="linear", learning_rate=1.0)
    >>> [rate_at(spec, step) for step in (0, 1, 2, 6)]
    [0.0, 0.5, 1.0, 0.5]
    """
    if step < spec.warmup:
        return spec.learning_rate * step / spec.warmup
    done = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    share = {
        "constant": 1.0,
        "linear": max(0.0, 1 - done),
        "cosine": max(0.0, 0.5 * (1 + math.cos(math.pi * done))),
    }[spec.decay]
    return spec.learning_rate * share


class Optimizer:
    """AdamW on named weights.

    Gradients of a float16 network are scaled, or they would vanish; a step whose gradients
    overflow is skipped and the scale halved, as `torch.amp.GradScaler` does.

    Args:
        weights: float32 parameters on one device.
        spec: rates, decay and clipping.
        dtype: of the network's forward pass.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], spec: FinetuneSpec, dtype: torch.dtype):
        self._weights, self._spec = dict(weights), spec
        self._device = next(iter(self._weights.values())).device
        self._fused = self._device.type in _FUSED
        self._adamw = torch.optim.AdamW(
            self._weights.values(),
            lr=spec.learning_rate,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=spec.weight_decay,
            fused=self._fused,
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=dtype is torch.float16)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()

    def step(self, number: int) -> None:
        """Move the weights by the gradients gathered, at the rate of step `number` (from 0)."""
        for group in self._adamw.param_groups:
            group["lr"] = rate_at(self._spec, number)
        self._scaler.unscale_(self._adamw)
        nn.utils.clip_grad_norm_(self._weights.values(), self._spec.clip)
        self._scaler.step(self._adamw)
        self._scaler.update()
        self._adamw.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Weights, both moments and step counts, and the loss scale."""
        state: dict[str, Tensor] = {}
        for name, weight in self._weights.items():
            state[f"weight/{name}"] = weight.detach()
            moments = self._adamw.state.get(weight, {})
            state |= {f"{kind}/{name}": moments[kind] for kind in _MOMENTS if kind in moments}
        scale = self._scaler.state_dict()
        if scale:
            pair = [scale["scale"], scale["_growth_tracker"]]
            state["scaler"] = torch.tensor(pair, dtype=torch.float64)
        return state

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        for name, weight in self._weights.items():
            weight.copy_(state[f"weight/{name}"])
            moments = {k: state[f"{k}/{name}"] for k in _MOMENTS if f"{k}/{name}" in state}
            if moments:
                self._adamw.state[weight] = {k: self._place(k, v) for k, v in moments.items()}
        if "scaler" in state:
            scale, tracker = state["scaler"].tolist()
            scaler = {"scale": scale, "_growth_tracker": int(tracker)}
            self._scaler.load_state_dict({**self._scaler.state_dict(), **scaler})

    def _place(self, kind: str, value: Tensor) -> Tensor:
        # Unfused AdamW counts its steps on the CPU.
        counted = kind == "step" and not self._fused
        return value.clone().to("cpu" if counted else self._device)
