"""Training low-rank pairs on the host's own network, which stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..core.backends.families import HOST_OVERWRITES, family_of_host
from ..core.errors import InputError
from ..core.lora.writing import key_of
from ..core.specs import FinetuneSpec
from ..core.training.learner_factors import Factors, layers_named
from ..core.training.learner_pair import PairModel
from ..core.types import ModelHashes
from ._pair import HostPair, compute_dtype

PREFIX = "diffusion_model."
_ATTENTION = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("attn.qkv", "attn.proj", "attn2.qkv", "attn2.proj"),
    *("img_attn.qkv", "img_attn.proj", "txt_attn.qkv", "txt_attn.proj"),
)
LAYERS = {
    "attention": _ATTENTION,
    "all": (
        *(*_ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
        *("in_layers.2", "out_layers.3", "emb_layers.1"),
        *("mlp.fc1", "mlp.fc2"),
        *("img_mlp.0", "img_mlp.2", "txt_mlp.0", "txt_mlp.2", "linear1", "linear2"),
    ),
}
"""Ends of layer names in the host's networks: Stable Diffusion's UNets, SD3's MMDiT, Flux."""


def family_of(patcher: Any) -> str:
    """What a file's metadata calls the base's family."""
    kind = type(patcher.model.model_config).__name__
    family = family_of_host(kind)
    return kind.lower() if family is None else family.name


def model_of(base: Any, clip: Any, vae: Any, *, resolution: int, sha256: str) -> PairModel:
    """What `finetune_pair` trains on.

    Args:
        base: MODEL.
        clip: CLIP.
        vae: VAE.
        resolution: image side in pixels.
        sha256: of the base's weights.

    Raises:
        InputError: NO_CLIP; UNSUPPORTED_MODEL for a network whose layers are not known, or whose
            LoRA the host could not read back.
    """
    if clip is None:
        raise InputError("NO_CLIP", "captions need a text encoder; connect the base's CLIP")
    _refuse_other_scales(base)
    patcher = _differentiable(base)
    pair = HostPair(
        patcher,
        clips=lambda strength: clip,
        vae=vae,
        hashes=ModelHashes(sha256, sha256),
        resolution=resolution,
    )
    names = file_names(patcher)

    def factors(spec: FinetuneSpec) -> Factors:
        network = _loaded(patcher, (spec.batch, *pair.latent_shape))
        layers = layers_named(network, LAYERS[spec.layers])
        _check_readable(patcher, layers, names)
        return Factors(layers, spec, patcher.load_device)

    return PairModel(pair, factors, _precision(patcher), names)


def _precision(patcher: Any) -> torch.dtype:
    dtype = compute_dtype(patcher)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise InputError(
            "UNSUPPORTED_MODEL",
            f"the MODEL computes in {str(dtype).removeprefix('torch.')}, which has no gradients; "
            "load it in float16, bfloat16 or float32",
        )
    return dtype


def _refuse_other_scales(base: Any) -> None:
    sampling = base.get_model_object("model_sampling")
    if getattr(sampling, "sigma_data", 1.0) != 1.0:
        raise InputError(
            "UNSUPPORTED_MODEL",
            f"the MODEL was trained on data of deviation {sampling.sigma_data:g} (EDM); its loss "
            "is not known here. Use one of deviation 1",
        )


def _differentiable(base: Any) -> Any:
    """A patcher of the same network with PyTorch's attention: not all others have gradients."""
    from comfy.ldm.modules.attention import attention_pytorch

    patcher = base.clone()
    options = patcher.model_options.setdefault("transformer_options", {})
    options["optimized_attention_override"] = lambda _, *args, **kwargs: attention_pytorch(
        *args, **kwargs
    )
    return patcher


def _loaded(patcher: Any, shape: tuple[int, ...]) -> nn.Module:
    import comfy.model_management as memory

    with torch.no_grad():
        memory.load_models_gpu([patcher], memory_required=patcher.model.memory_required(shape))
    let_gradients_pass(patcher.model)
    return patcher.model.diffusion_model


def let_gradients_pass(network: nn.Module) -> None:
    """Replace tensors that were made in inference mode by equal ones that autograd may keep.

    One at a time, so that no second copy of the network is ever in memory. To be called outside
    of inference mode.
    """
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None and weight.is_inference():
                module._parameters[name] = nn.Parameter(weight.clone(), requires_grad=False)
        for name, value in module._buffers.items():
            if value is not None and value.is_inference():
                module._buffers[name] = value.clone()


@contextmanager
def learning(base: Any) -> Iterator[None]:
    """Gradients on, and none for the base's own weights."""
    own = [p for p in base.model.parameters() if p.requires_grad]
    with torch.inference_mode(False), torch.enable_grad(), _kept_values(base), _host_told():
        try:
            _ask_gradients(own, False)
            yield
        finally:
            _ask_gradients(own, True)


@contextmanager
def _host_told() -> Iterator[None]:
    """ComfyUI since 0.28 has kernels without gradients, and a flag that keeps it from them."""
    import comfy.model_management as memory

    before = getattr(memory, "in_training", False)
    memory.in_training = True
    try:
        yield
    finally:
        memory.in_training = before


def _kept_values(base: Any) -> AbstractContextManager[Any]:
    """Where blocks write over tensors that their gradients need, copies are kept of those."""
    if base.model.model_config.unet_config.get("image_model") in HOST_OVERWRITES:
        return torch.autograd.graph.allow_mutation_on_saved_tensors()
    return nullcontext()


def _ask_gradients(weights: list[nn.Parameter], wanted: bool) -> None:
    for weight in weights:
        if not weight.is_inference():
            weight.requires_grad_(wanted)


def file_names(patcher: Any) -> dict[str, str]:
    """Diffusers' name of each layer that has one, by the host's: what LoRA files commonly use."""
    import comfy.utils

    known: Mapping[str, str] = comfy.utils.unet_to_diffusers(patcher.model.model_config.unet_config)
    return {
        own.removesuffix(".weight"): name.removesuffix(".weight")
        for name, own in known.items()
        if name.endswith(".weight")
    }


def _check_readable(
    patcher: Any, layers: Mapping[str, nn.Module], names: Mapping[str, str]
) -> None:
    """The host's own loader will put every pair where it was trained."""
    import comfy.lora

    kind = type(patcher.model.model_config).__name__
    keys = comfy.lora.model_lora_keys_unet(patcher.model, {})
    lost = [
        name
        for name in layers
        if keys.get(key_of(names.get(name, name))) != f"{PREFIX}{name}.weight"
    ]
    if not layers or lost:
        raise InputError(
            "UNSUPPORTED_MODEL",
            f"{kind}: {f'ComfyUI would not read back {lost[:3]}' if lost else 'no known layers'}; "
            "LoRAs can be trained on Stable Diffusion 1, 2, XL, 3 and Flux",
        )


def own_copy(pixels: Tensor) -> list[Tensor]:
    """Images ``[3, H, W]`` that do not stem from inference mode; call outside of it."""
    return [image.clone() for image in pixels]
