"""Prompts to cross-attention states, each row by the text encoder of that row's model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..types import Conditioning
from .rows import RowNetwork

_CACHED = 256
_CHUNK = 64

Row = tuple[Tensor, Tensor | None]


class PromptEncoder:
    """CLIP text encoders of SD 1.x, SD 2.x (one) and SDXL (two), with a cache of rows.

    SD 1.x and 2.x take the encoder's last state after the final norm (SD 2.x configs already
    drop the last layer). SDXL joins both encoders' penultimate states and takes the pooled,
    projected state of the second. The empty prompt is encoded like any other: ComfyUI does so,
    whereas diffusers' SDXL pipeline uses zeros unless it is given ``negative_prompt=""``.
    """

    def __init__(self, encoders: Sequence[RowNetwork], tokenizers: Sequence[Any], *, sdxl: bool):
        self._encoders = tuple(encoders)
        self._tokenizers = tuple(tokenizers)
        self._sdxl = sdxl
        self._cache: dict[tuple[str, float], Row] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], strengths: Sequence[float]) -> Conditioning:
        """One row a prompt; rows that were not seen before are encoded in one batched call.

        Args:
            prompts: ``N`` prompts; what exceeds 77 tokens is cut, with a warning.
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
        pooled: Tensor | None = None
        for encoder, tokenizer in zip(self._encoders, self._tokenizers, strict=True):
            device = next(encoder.base.parameters()).device
            ids, mask = _tokens(tokenizer, prompts)
            strength = torch.tensor(strengths, device=device)
            call = _penultimate if self._sdxl else _last
            out = encoder.run(strength, call, ids.to(device), mask.to(device))
            states.append(out[0])
            pooled = out[1] if self._sdxl else None
        joined = torch.cat(states, dim=-1)
        return {k: (joined[i], None if pooled is None else pooled[i]) for i, k in enumerate(keys)}


def _last(encoder: nn.Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    # As diffusers: SD checkpoints were trained with padding attended to, unless the config asks.
    config: Any = encoder.config
    use = mask if getattr(config, "use_attention_mask", False) else None
    return (encoder(ids, attention_mask=use)[0],)


def _penultimate(encoder: nn.Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    out = encoder(ids, output_hidden_states=True)
    return out.hidden_states[-2], out[0]


def _tokens(tokenizer: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask ``[N, 77]``, padded and cut as diffusers does."""
    length = tokenizer.model_max_length
    whole = tokenizer(list(prompts), verbose=False).input_ids
    for prompt, ids in zip(prompts, whole, strict=True):
        if len(ids) > length:
            warnings.warn(
                f"the prompt {prompt[:60]!r} has {len(ids)} tokens; only the first {length} count",
                stacklevel=4,
            )
    out = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    return out.input_ids, out.attention_mask
