"""Classifier-free guidance and model guidance as weighted sums of denoised predictions.

In denoised form every rule is ``D = sum_b weight_b * D_b + x_weight * x``, where each branch b
asks one of the two models (base, tuned) with one of the two prompts (cond, uncond). FineXtract,
eq. of the published sampler: ``D = D_base(null) + w' (D_tuned(c) - D_base(null)) - k (x -
D_base(null))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, plural
from ..types import BASE, TUNED


@dataclass(frozen=True, slots=True)
class Branch:
    """One prediction: which model (0 base, 1 tuned), which prompt, and its weight in the sum."""

    model: float
    conditional: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Guidance:
    """A guidance rule: its branches, the weight of ``x`` itself, and a label for people."""

    label: str
    branches: tuple[Branch, ...]
    x_weight: float = 0.0


def cfg(scale: float, model: float = TUNED) -> Guidance:
    """Classifier-free guidance of one model, ``D = D_u + scale (D_c - D_u)``.

    Args:
        scale: 1 is conditional only, 0 is truly unconditional, as in ComfyUI (diffusers treats
            any value up to 1 as conditional).
        model: 0 base, 1 tuned.

    Example:
        >>> cfg(1.0).branches
        (Branch(model=1.0, conditional=True, weight=1.0),)
        >>> cfg(0.0).branches
        (Branch(model=1.0, conditional=False, weight=1.0),)
    """
    who = "tuned" if model == TUNED else "base" if model == BASE else f"strength {model:g}"
    return Guidance(
        f"{who} cfg={scale:g}",
        _nonzero(Branch(model, True, scale), Branch(model, False, 1.0 - scale)),
    )


def model_guidance(w: float, k: float = 0.0, *, same_prompt: bool = False) -> Guidance:
    """Model guidance from base to tuned (FineXtract, published sampler in denoised form).

    Args:
        w: guidance weight w'; 1 with k = 0 is the tuned model alone, 0 the base alone.
        k: correction term, slightly negative in the paper's DreamBooth setting.
        same_prompt: ask the base with the caption too (pure model guidance) in place of the
            empty prompt.

    Example:
        >>> model_guidance(1.0) == Guidance("model w=1", (Branch(1.0, True, 1.0),))
        True
    """
    label = f"model w={w:g}" + (f" k={k:g}" if k else "") + (" same prompt" if same_prompt else "")
    branches = _nonzero(Branch(TUNED, True, w), Branch(BASE, same_prompt, 1.0 - w + k))
    return Guidance(label, branches, -k)


def _nonzero(*branches: Branch) -> tuple[Branch, ...]:
    for b in branches:
        if b.weight != b.weight or abs(b.weight) == float("inf"):
            raise InputError("BAD_GUIDANCE", f"a guidance weight is {b.weight}; give finite scales")
    return tuple(b for b in branches if b.weight != 0.0)


def combine(x: Tensor, predictions: Sequence[Tensor], guidance: Guidance) -> Tensor:
    """Weighted sum of the branches' denoised predictions.

    Args:
        x: ``[..., C, h, w]`` noisy latent.
        predictions: one denoised latent a branch, shaped like `x`.
        guidance: the rule.

    Raises:
        InputError: the number of predictions is not the number of branches.
    """
    if len(predictions) != len(guidance.branches):
        raise InputError(
            "BAD_GUIDANCE",
            f"{guidance.label} has {plural(len(guidance.branches), 'branch', 'branches')}, got "
            f"{len(predictions)}",
        )
    out = guidance.x_weight * x if guidance.x_weight else torch.zeros_like(x)
    for branch, prediction in zip(guidance.branches, predictions, strict=True):
        out = out + branch.weight * prediction
    return out
