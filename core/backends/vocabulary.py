"""CLIP's tokenizer, which single-file checkpoints lack: found on disk, never downloaded."""

from __future__ import annotations

import gzip
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from ..errors import MissingWeightsError

_FILES = ("vocab.json", "merges.txt")
_START, _END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
_MERGES = 49152 - 256 - 2
_CAT = [49406, 320, 1125, 539, 320, 2368, 49407]


def find_tokenizer(checkpoint: Path, *, pad_token: str = _END) -> Any:
    """CLIP's tokenizer for a single-file checkpoint.

    Search order: ``tokenizer/`` beside the checkpoint; the checkpoint's own folder; in each
    parent folder named ``models``: ``tokenizer/``, ``clip/tokenizer/``,
    ``text_encoders/tokenizer/``; last, the same vocabulary inside the open_clip_torch package.

    Args:
        checkpoint: the ``.safetensors`` file.
        pad_token: ``<|endoftext|>`` for CLIP L, ``!`` for the OpenCLIP encoders.

    Raises:
        MissingWeightsError: TOKENIZER_MISSING if no place has the vocabulary.
    """
    for folder in _places(checkpoint):
        if all((folder / name).is_file() for name in _FILES):
            return load_tokenizer(folder, pad_token=pad_token)
    packaged = _open_clip_file()
    if packaged is None:
        raise MissingWeightsError(
            "TOKENIZER_MISSING",
            f"{checkpoint.name} needs CLIP's vocabulary: put vocab.json and merges.txt (MIT "
            "licence; folder tokenizer/ of any SD 1.x diffusers model, or openai/"
            f"clip-vit-large-patch14) into {checkpoint.parent / 'tokenizer'}, or "
            "pip install open_clip_torch, which carries the same vocabulary",
        )
    with tempfile.TemporaryDirectory() as folder:
        write_vocabulary(packaged, Path(folder))
        tokenizer = load_tokenizer(Path(folder), pad_token=pad_token)
    if tokenizer("a photo of a cat").input_ids != _CAT:
        raise MissingWeightsError(
            "TOKENIZER_MISSING", f"{packaged} is not CLIP's vocabulary; reinstall open_clip_torch"
        )
    return tokenizer


def load_tokenizer(folder: Path, *, pad_token: str | None = None) -> Any:
    """A CLIP tokenizer from a folder with vocab.json and merges.txt, as its config says.

    Prompts have 77 tokens at most, CLIP's own length, whatever the config claims: some copies of
    the vocabulary say 8192 because their host cuts prompts into chunks itself.
    """
    more: dict[str, Any] = {} if pad_token is None else {"pad_token": pad_token}
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, **more)
    tokenizer.model_max_length = min(tokenizer.model_max_length, LENGTH)
    return tokenizer


def _places(checkpoint: Path) -> list[Path]:
    here = checkpoint.resolve().parent
    places = [here / "tokenizer", here]
    for parent in (here, *here.parents):
        if parent.name == "models":
            inside = ("tokenizer", "clip/tokenizer", "text_encoders/tokenizer")
            places += [parent / name for name in inside]
    return places


def _open_clip_file() -> Path | None:
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    return path if path.is_file() else None


def write_vocabulary(packed: Path, folder: Path) -> None:
    """Write vocab.json and merges.txt from CLIP's packed merge list (openai/CLIP, MIT)."""
    with gzip.open(packed, "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : _MERGES + 1]
    letters = _byte_letters()
    words = letters + [letter + "</w>" for letter in letters]
    words += ["".join(pair.split()) for pair in merges] + [_START, _END]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    text = "\n".join(["#version: 0.2", *merges, ""])
    (folder / "merges.txt").write_text(text, encoding="utf-8")


def _byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes, in the order of GPT-2's byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
