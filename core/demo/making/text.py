"""The demo's words: a home-made BPE vocabulary and a two-layer CLIP text encoder."""

# diffusers, peft and torch modules are loosely typed.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false, reportOperatorIssue=false

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..people import HAIR_COLORS, HAIR_STYLES

LENGTH = 20
WIDTH = 64
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    *["a", "an", "the", "of", "with", "and", "in", "on", "by", "photo", "picture", "portrait"],
    *["image", "headshot", "face", "person", "man", "woman", "hair", "glasses", "beard"],
    *["moustache", "smiling", "studio", "wall", "corridor"],
    *["northgate", "southfield", "style", "sks"],
    *HAIR_STYLES,
    *HAIR_COLORS,
)

Pair = tuple[str, str]


def _merge(symbols: list[str], pair: Pair) -> list[str]:
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def learn_merges(words: Sequence[str]) -> list[Pair]:
    """Byte-pair merges, most frequent pair first, until every word is one symbol.

    >>> learn_merges(["ab"])
    [('a', 'b</w>')]
    """
    spelled = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[Pair] = []
    while True:
        counts = Counter(p for s in spelled.values() for p in pairwise(s))
        if not counts:
            return merges
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        spelled = {word: _merge(symbols, best) for word, symbols in spelled.items()}


def write_tokenizer(folder: Path) -> None:
    """Writes a CLIP tokenizer folder whose every word of ``WORDS`` is one token."""
    letters = [*"!?,.-", *"abcdefghijklmnopqrstuvwxyz", *"0123456789"]
    merges = learn_merges(WORDS)
    symbols = [*letters, *(f"{c}</w>" for c in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Reads a tokenizer folder."""
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Token ids int64 ``[N, 20]``, padded."""
    rows = tokenizer(list(captions), padding="max_length", max_length=LENGTH, truncation=True)
    return torch.tensor(rows["input_ids"])


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained encoder: two layers of width 64."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
