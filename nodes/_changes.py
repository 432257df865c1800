"""The host's weight patches as the core's operators, so that one network answers as two models.

A plain LoRA on a Linear or Conv2d layer stays factored, slices of fused layers included. All else
(LoHa, LoKr, DoRA, GLoRA, OFT, differences) becomes the dense difference that the host's own code
computes, so that it equals what the host's LoRA loader does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.errors import LoraFormatError
from ..core.lora.operators import Full, LowRank, Operator

Patch = tuple[Any, ...]
"""The host's form: strength, value, model strength, (axis, start, length) or None, function."""


class Change(NamedTuple):
    """A change of one layer. ``module`` is its dotted name below the host's model."""

    module: str
    operator: Operator


def added_patches(base: Any, tuned: Any) -> dict[str, list[Patch]] | None:
    """Patches that `tuned` has on top of `base`, two patchers of one network.

    Returns:
        key -> patches, or None when `tuned` does not simply add to `base`.
    """
    added = {}
    for key in base.patches.keys() | tuned.patches.keys():
        old, new = base.patches.get(key, []), tuned.patches.get(key, [])
        if not _begins_with(new, old):
            return None
        if len(new) > len(old):
            added[key] = list(new[len(old) :])
    return added


def _begins_with(new: Sequence[Patch], old: Sequence[Patch]) -> bool:
    return len(new) >= len(old) and all(
        a[0] == b[0] and a[1] is b[1] and a[2:] == b[2:] for a, b in zip(new, old, strict=False)
    )


def changes_of(base: Any, tuned: Any) -> tuple[Change, ...]:
    """What turns `base` into `tuned`, layer by layer; empty when nothing does.

    Args:
        base: the host's patcher of the base.
        tuned: a patcher of the same network.

    Raises:
        LoraFormatError: UNSUPPORTED_LAYER for a change of anything but weights and biases.
    """
    added = added_patches(base, tuned)
    keys = base.patches.keys() | tuned.patches.keys() if added is None else added.keys()
    return tuple(change for key in sorted(keys) for change in _change(base, tuned, key, added))


def _change(
    base: Any, tuned: Any, key: str, added: Mapping[str, list[Patch]] | None
) -> Iterable[Change]:
    module, _, leaf = key.rpartition(".")
    if leaf not in ("weight", "bias"):
        raise LoraFormatError(
            "UNSUPPORTED_LAYER",
            f"the adapter changes {key}, which is not a layer",
        )
    before = original_weight(base, key)
    if added is not None and leaf == "weight":
        factored = factors(added[key], before.shape)
        if factored is not None:
            if bool(factored.up.any()) and bool(factored.down.any()):
                yield Change(module, factored)
            return
    difference = patched(before, tuned.patches.get(key, []), key) - patched(
        before, base.patches.get(key, []), key
    )
    if bool(difference.any()):
        yield Change(module, Full(difference, None) if leaf == "weight" else Full(None, difference))


def original_weight(patcher: Any, key: str) -> Tensor:
    """A parameter before any patch, wherever the host keeps it."""
    backup = patcher.backup.get(key)
    return patcher.get_model_object(key) if backup is None else backup.weight


def patched(weight: Tensor, patches: Sequence[Patch], key: str) -> Tensor:
    """The host's own result of patching a weight, fp32 on the CPU."""
    import comfy.lora

    start = weight.detach().to("cpu", torch.float32, copy=True)
    known = {key: [(weight.detach().cpu(), lambda tensor: tensor)]}
    return comfy.lora.calculate_weight(list(patches), start, key, original_weights=known)


def factors(patches: Sequence[Patch], shape: Sequence[int]) -> LowRank | None:
    """Plain LoRA patches of one weight as one operator; None where they are anything else.

    Args:
        patches: all of one weight.
        shape: of the weight, ``[out, in]`` or ``[out, in, kh, kw]``.
    """
    parts = [_plain(patch, shape) for patch in patches]
    ready = [part for part in parts if part is not None]
    if len(ready) != len(parts):
        return None
    if len(ready) == 1:
        down, up = ready[0]
        return LowRank(down, up, None, 1.0)
    downs = torch.cat([down for down, _ in ready])
    return LowRank(downs, torch.cat([up for _, up in ready], 1), None, 1.0)


def _plain(patch: Patch, shape: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """Down ``[r, in, ...]`` and up ``[out, r]`` with the strength in it."""
    strength, value, model_strength, place, function = patch
    if model_strength != 1.0 or function is not None or getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, middle, magnitude, reshape = value.weights
    if middle is not None or magnitude is not None or reshape is not None:
        return None
    rank = down.shape[0]
    scale = strength if alpha is None else strength * alpha / rank
    scaled = up.detach().cpu().float().flatten(1) * scale
    down = down.detach().cpu().float()
    if place is None:
        return down.reshape(rank, *shape[1:]), scaled
    axis, start, length = place
    if axis != 0 or len(scaled) != length:
        return None
    whole = scaled.new_zeros(shape[0], rank)
    whole[start : start + length] = scaled
    return down.reshape(rank, *shape[1:]), whole
