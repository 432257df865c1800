"""Low-rank pairs in training that hang on a network's own layers as forward hooks.

The network is only read: nothing of it is replaced, and without the hooks it is what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..sampling.plans import seed_of
from ..specs import FinetuneSpec

Layer = nn.Linear | nn.Conv2d
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]
_FACTOR_SEEDS = -3


def alpha_of(spec: FinetuneSpec) -> float:
    """Alpha of a LoRA; its rank where the setting is 0.

    >>> alpha_of(FinetuneSpec(rank=4)), alpha_of(FinetuneSpec(rank=4, alpha=2.0))
    (4.0, 2.0)
    """
    return spec.alpha or float(spec.rank)


def layers_named(network: nn.Module, ends: tuple[str, ...]) -> dict[str, Layer]:
    """Linear and ungrouped Conv2d layers whose dotted name ends like one of `ends`.

    >>> layers_named(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), ("0", "1"))
    {'0': Linear(in_features=2, out_features=2, bias=True)}
    """
    return {
        name: module
        for name, module in network.named_modules()
        if f".{name}".endswith(tuple(f".{end}" for end in ends))
        and (
            isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
        )
    }


class Factors:
    """A pair ``up @ down`` for each layer, float32, added to the layer's output while entered.

    ``down`` begins as a Kaiming-uniform draw and ``up`` as zero, as in peft and sd-scripts, so
    that the first prediction is the base's. In a half-precision layer the pair acts in the
    precision of the layer's input and learns in float32.

    Args:
        layers: by the name that the result shall carry.
        spec: rank, alpha and seed.
        device: where the layers run.

    Attributes:
        weights: ``<name>.lora_A.weight`` ``[r, in, ...]`` and ``<name>.lora_B.weight``.

    Raises:
        InputError: NO_LAYERS.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> with Factors({"a": layer}, FinetuneSpec(rank=1)) as factors:
        ...     layer(torch.ones(1, 2)).requires_grad, len(layer._forward_hooks)
        (True, 1)
        >>> list(factors.weights), len(layer._forward_hooks)
        (['a.lora_A.weight', 'a.lora_B.weight'], 0)
    """

    def __init__(
        self, layers: Mapping[str, Layer], spec: FinetuneSpec, device: torch.device | None = None
    ):
        if not layers:
            raise InputError(
                "NO_LAYERS", "the base has none of the layers that a LoRA changes; give another"
            )
        self._layers, self._scale = dict(layers), alpha_of(spec) / spec.rank
        self._handles: list[Any] = []
        self.weights: dict[str, nn.Parameter] = {}
        for i, (name, layer) in enumerate(self._layers.items()):
            down, up = _start(layer, spec.rank, seed_of(seed_of(spec.seed, _FACTOR_SEEDS), i))
            self.weights[f"{name}.lora_A.weight"] = nn.Parameter(down.to(device))
            self.weights[f"{name}.lora_B.weight"] = nn.Parameter(up.to(device))

    def __enter__(self) -> Factors:
        self._handles = [
            layer.register_forward_hook(self._hook(name)) for name, layer in self._layers.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, name: str) -> Hook:
        down, up = (self.weights[f"{name}.lora_{part}.weight"] for part in "AB")

        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + self._scale * _changed(module, args[0], down, up).to(output)

        return hook

    def result(self) -> dict[str, Tensor]:
        """Copies of the weights on the CPU."""
        return {name: w.detach().cpu().clone() for name, w in self.weights.items()}


def _start(layer: Layer, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(layer, nn.Conv2d):
        down = torch.empty(rank, layer.in_channels, *layer.kernel_size)
        up = torch.zeros(layer.out_channels, rank, 1, 1)
    else:
        down, up = torch.empty(rank, layer.in_features), torch.zeros(layer.out_features, rank)
    return nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator), up


def _changed(module: nn.Module, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    down, up = down.to(x), up.to(x)
    if not isinstance(module, nn.Conv2d):
        return F.linear(F.linear(x, down), up)
    place: Any = (module.stride, module.padding, module.dilation)
    return F.conv2d(F.conv2d(x, down, None, *place), up)
