"""The network that is trained: a copy of the base's UNet, with low-rank pairs or as a whole.

The base is only read. A copy for low-rank pairs shares the base's memory; a copy for full
training has its own weights in float32.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError, MissingDependencyError
from ..specs import FinetuneSpec
from .learner_factors import alpha_of

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
LAYERS = {
    "attention": ATTENTION,
    "all": (
        *(*ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
        *("conv1", "conv2", "time_emb_proj"),
    ),
}
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


def trainee_of(unet: nn.Module, spec: FinetuneSpec) -> Trainee:
    """A trainee on top of `unet`, which stays as it is.

    Raises:
        InputError: NO_LAYERS, the UNet has none of the layers asked for.
        MissingDependencyError: NO_PEFT.
    """
    return _whole(unet) if spec.method == "full" else _adapted(unet, spec)


def _whole(unet: nn.Module) -> Trainee:
    network = _without_hooks(copy.deepcopy(unet)).float().train().requires_grad_(True)
    return Trainee(network, dict(network.named_parameters()))


def _adapted(unet: nn.Module, spec: FinetuneSpec) -> Trainee:
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
        target_modules=list(LAYERS[spec.layers]),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)
        try:
            inject_adapter_in_model(config, network)
        except ValueError as error:
            raise InputError(
                "NO_LAYERS",
                f"the base has none of the layers {', '.join(LAYERS[spec.layers])} that a LoRA "
                "changes; give a Stable Diffusion UNet, or use --method full",
            ) from error
    return Trainee(network.train(), _factors(network))


def _factors(network: nn.Module) -> dict[str, nn.Parameter]:
    found: dict[str, nn.Parameter] = {}
    for name, module in network.named_modules():
        for factor in _FACTORS if hasattr(module, _FACTORS[0]) else ():
            weight = getattr(module, factor)["default"].weight
            weight.data = weight.data.float()
            found[f"{name}.{factor}.weight"] = weight.requires_grad_(True)
    return found


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
