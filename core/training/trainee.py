"""The network that is trained: a copy of the base's UNet, with low-rank pairs or as a whole.

The base is only read. A copy for low-rank pairs shares the base's memory; a copy for full
training has its own weights in float32.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backends.networks import Networks
from ..errors import InputError, MissingDependencyError
from ..specs import FinetuneSpec
from .learner_factors import alpha_of

_FACTORS = ("lora_A", "lora_B")


@dataclass(frozen=True, slots=True, eq=False)
class Trainee:
    """A UNet in training.

    Attributes:
        unet: what is called.
        weights: what is trained, float32, by name; ``<module>.lora_A.weight`` for low-rank pairs.
    """

    unet: nn.Module
    weights: dict[str, nn.Parameter]

    def result(self) -> dict[str, Tensor]:
        """Copies on the CPU of what training made: the pairs, or the UNet's whole state."""
        full = not any(f".{_FACTORS[0]}." in name for name in self.weights)
        state = self.unet.state_dict() if full else self.weights
        return {name: value.detach().cpu().clone() for name, value in state.items()}


def trainee_of(base: Networks, spec: FinetuneSpec) -> Trainee:
    """A trainee on top of the base's UNet, which stays as it is.

    Raises:
        InputError: NO_LAYERS, the UNet has none of the layers asked for.
        MissingDependencyError: NO_PEFT.
    """
    if spec.method == "full":
        return _whole(base.unet)
    return _adapted(base.unet, spec, base.family.layers[spec.layers])


def _whole(unet: nn.Module) -> Trainee:
    network = _without_hooks(copy.deepcopy(unet)).float().train().requires_grad_(True)
    return Trainee(network, dict(network.named_parameters()))


def _adapted(unet: nn.Module, spec: FinetuneSpec, layers: tuple[str, ...]) -> Trainee:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingDependencyError(
            "NO_PEFT", "training a LoRA needs peft; install lora-forensics[headless]"
        ) from error
    network = _sharing_copy(unet)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=alpha_of(spec),  # pyright: ignore[reportArgumentType]
        target_modules=list(layers),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)
        try:
            inject_adapter_in_model(config, network)
        except ValueError as error:
            raise InputError(
                "NO_LAYERS",
                f"the base has none of the layers {', '.join(layers)} that a LoRA "
                "changes; give a Stable Diffusion UNet, or use --method full",
            ) from error
    return Trainee(network.train(), _factors(network))


def _factors(network: nn.Module) -> dict[str, nn.Parameter]:
    weights: dict[str, nn.Parameter] = {}
    for name, module in network.named_modules():
        for factor in _FACTORS if hasattr(module, _FACTORS[0]) else ():
            weight = getattr(module, factor)["default"].weight
            weight.data = weight.data.float()
            weights[f"{name}.{factor}.weight"] = weight.requires_grad_(True)
    return weights


def _sharing_copy(network: nn.Module) -> nn.Module:
    """A second tree of modules over the same memory, frozen."""
    memo: dict[int, object] = {
        id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()
    }
    memo |= {id(b): b.detach() for b in network.buffers()}
    return _without_hooks(copy.deepcopy(network, memo))


def _without_hooks(network: nn.Module) -> nn.Module:
    for module in network.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return network
