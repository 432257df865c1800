"""Grad-CAM of any classifier and layer.

Source: Selvaraju et al., ICCV 2017 (arXiv 1610.02391), equations 1 and 2; specification
localization.md, section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

_EPS = 1e-7


@torch.inference_mode(False)
@torch.enable_grad()
def grad_cam(
    network: nn.Module,
    layer: str,
    x: Tensor,
    target: int = 1,
    *,
    logits_of: Callable[[nn.Module, Tensor], Tensor] = lambda network, x: network(x),
) -> Tensor:
    """The class activation map of each image at the grid of a layer.

    Args:
        network: a classifier in evaluation mode.
        layer: name of the module whose output is weighed, such as ``block11`` or ``layer4``.
        x: ``[N, 3, H, W]`` as the network takes it.
        target: class whose raw logit is explained, whatever the network predicts.
        logits_of: how the network's logits ``[N, K]`` are got.

    Returns:
        ``[N, h, w]`` in 0..1: each map is shifted to 0 and scaled by its maximum, so it says
        where, never how much. A map without any positive evidence is all 0.

    Raises:
        InputError: no such layer, one without a grid (BAD_LAYER), or no such class (BAD_CLASS).
    """
    kept: list[Tensor] = []
    handle = _layer(network, layer).register_forward_hook(lambda *a: kept.append(a[2]))
    try:
        logits = logits_of(network, x.clone().requires_grad_())
    finally:
        handle.remove()
    if not kept or not isinstance(kept[-1], Tensor) or kept[-1].ndim != 4:
        raise InputError(
            "BAD_LAYER", f"{layer!r} gives no feature map [N, C, h, w]; choose another"
        )
    if not 0 <= target < logits.shape[1]:
        raise InputError("BAD_CLASS", f"class {target} of {logits.shape[1]}; classes begin at 0")
    (gradient,) = torch.autograd.grad(logits[:, target].sum(), kept[-1])
    weights = gradient.mean((2, 3), keepdim=True)
    return unit_range(F.relu((weights * kept[-1]).sum(1)).detach())


def unit_range(maps: Tensor) -> Tensor:
    """Each map ``[N, h, w]`` from its own minimum to 0 and its maximum to 1.

    >>> unit_range(torch.tensor([[[2.0, 4.0], [3.0, 2.0]]])).round(decimals=4).tolist()
    [[[0.0, 1.0], [0.5, 0.0]]]
    """
    shifted = maps - maps.amin((1, 2), keepdim=True)
    return shifted / (shifted.amax((1, 2), keepdim=True) + _EPS)


def _layer(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        names = ", ".join(n for n, _ in network.named_children())
        raise InputError("BAD_LAYER", f"no layer {name!r}; at the top are {names}") from error
