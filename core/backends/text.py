"""Prompts to cross-attention states, each row by the text encoder of that row's model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Notice
from ..types import Conditioning
from .rows import RowNetwork

_CACHED = 256
_CHUNK = 64

Row = tuple[Tensor, Tensor | None]


class PromptEncoder:
    """A family's CLIP text encoders, with a cache of rows.

    The states of several encoders are joined; pooled states are the last one's. The empty prompt
    is encoded like any other: ComfyUI does so, whereas diffusers' SDXL pipeline uses zeros unless
    it is given ``negative_prompt=""``.

    Args:
        encoders: base and tuned.
        tokenizers: one per encoder.
        read: of the family, see `families.Family`.
    """

    def __init__(
        self,
        encoders: Sequence[RowNetwork],
        tokenizers: Sequence[Any],
        read: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, ...]],
    ):
        self._encoders = tuple(encoders)
        self._tokenizers = tuple(tokenizers)
        self._read = read
        self._cache: dict[tuple[str, float], Row] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], strengths: Sequence[float]) -> Conditioning:
        """One row per prompt; rows that were not seen before are encoded in one batched call.

        Args:
            prompts: ``N`` prompts; what exceeds 77 tokens is cut, which a `Notice` says.
            strengths: ``N`` adapter strengths, 0 for the base's encoder.
        """
        keys = list(zip(prompts, map(float, strengths), strict=True))
        rows = {key: self._cache[key] for key in keys if key in self._cache}
        new = [key for key in dict.fromkeys(keys) if key not in rows]
        for start in range(0, len(new), _CHUNK):
            rows |= self._encode(new[start : start + _CHUNK])
        self._remember(rows)
        embeds = torch.stack([rows[key][0] for key in keys])
        pooled = [row for key in keys if (row := rows[key][1]) is not None]
        strength = torch.tensor([s for _, s in keys], dtype=torch.float32, device=embeds.device)
        return Conditioning(embeds, strength, torch.stack(pooled) if pooled else None)

    def _remember(self, rows: dict[tuple[str, float], Row]) -> None:
        self._cache |= rows
        while len(self._cache) > _CACHED:
            del self._cache[next(iter(self._cache))]

    def _encode(self, keys: Sequence[tuple[str, float]]) -> dict[tuple[str, float], Row]:
        prompts, strengths = [p for p, _ in keys], [s for _, s in keys]
        states: list[Tensor] = []
        pooled: Sequence[Tensor] = ()
        for encoder, tokenizer in zip(self._encoders, self._tokenizers, strict=True):
            device = next(encoder.base.parameters()).device
            ids, mask = _tokens(tokenizer, prompts)
            strength = torch.tensor(strengths, device=device)
            state, *pooled = encoder.run(strength, self._read, ids.to(device), mask.to(device))
            states.append(state)
        joined = torch.cat(states, dim=-1)
        return {k: (joined[i], pooled[0][i] if pooled else None) for i, k in enumerate(keys)}


def _tokens(tokenizer: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask ``[N, 77]``, padded and cut as diffusers does."""
    length = tokenizer.model_max_length
    whole = tokenizer(list(prompts), verbose=False).input_ids
    for prompt, ids in zip(prompts, whole, strict=True):
        if len(ids) > length:
            text = (
                f"the prompt {prompt[:60]!r} has {len(ids)} tokens; only the first {length} count"
            )
            warnings.warn(text, Notice, stacklevel=4)
    out = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    return out.input_ids, out.attention_mask
