"""Captions of photos: written by BLIP from local weights, kept as JSON lines.

The membership paper captions its photos with BLIP (Li et al. 2022), conditional on a prefix such
as "a dtu headshot of a", with the library's default decoding (`specs/mia.md` 3).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..devices import torch_device
from ..errors import (
    InputError,
    LoraFormatError,
    MissingDependencyError,
    MissingWeightsError,
    plural,
)
from ..lora.header import read_header
from ..protocols import QUIET, Progress
from ..records import strict_json
from ..storage import write_atomic
from .photos import to_picture

BLIP = "Salesforce/blip-image-captioning-large"
FILE_NAME = "metadata.jsonl"
MAX_CAPTION = 4096
_NEEDED = ("config.json", "model.safetensors")
_EITHER = (("preprocessor_config.json", "processor_config.json"), ("tokenizer.json", "vocab.txt"))


def caption(
    images: Sequence[Tensor],
    model_folder: Path,
    *,
    prefix: str = "",
    device: str = "cpu",
    progress: Progress = QUIET,
) -> list[str]:
    """One caption an image, by BLIP with its default decoding.

    Args:
        images: each ``[3, H, W]`` in 0..1.
        model_folder: BLIP's files, brought by the user.
        prefix: beginning of every caption; empty for free captions.
        device: where it runs; see `torch_device`.
        progress: counts images.

    Raises:
        InputError: BAD_SETTING or NO_DEVICE.
        MissingWeightsError: NO_BLIP, a file is missing; says what to put where.
        MissingDependencyError: NO_TRANSFORMERS.
        UnsafeFileError: weights that are no safetensors file.
    """
    model, processor = _load(model_folder, device)
    progress.start("captions", len(images))
    texts: list[str] = []
    for image in images:
        texts.append(_describe(model, processor, image, prefix))
        progress.step()
    return texts


@torch.no_grad()
def _describe(model: Any, processor: Any, image: Tensor, prefix: str) -> str:
    text = {"text": prefix} if prefix else {}
    inputs = processor(images=to_picture(image), return_tensors="pt", **text)
    ids = model.generate(**inputs.to(model.device))
    return processor.decode(ids[0], skip_special_tokens=True)


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    place = torch_device(device)
    _check_files(folder)
    read_header(folder / "model.safetensors")
    try:
        from transformers import BlipForConditionalGeneration, BlipProcessor
    except ImportError as error:
        raise MissingDependencyError(
            "NO_TRANSFORMERS", "captions need transformers; install lora-forensics[headless]"
        ) from error
    model: Any = BlipForConditionalGeneration.from_pretrained(
        str(folder), use_safetensors=True, local_files_only=True
    )
    processor = BlipProcessor.from_pretrained(str(folder), local_files_only=True)
    return model.eval().to(place), processor


def _check_files(folder: Path) -> None:
    groups = (*((name,) for name in _NEEDED), *_EITHER)
    missing = [" or ".join(g) for g in groups if not any((folder / n).is_file() for n in g)]
    if missing:
        raise MissingWeightsError(
            "NO_BLIP",
            f"{folder} lacks {', '.join(missing)}; put the files of {BLIP} (licence BSD-3) there: "
            "weights as safetensors, the configs, and the tokenizer's files",
        )


def save_captions(captions: Mapping[str, str], path: Path) -> Path:
    """Write captions by file name as lines of ``{"file_name": ..., "text": ...}``."""
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in captions.items()]
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
    return path


def load_captions(path: Path) -> dict[str, str]:
    """Captions by file name, from a file as `save_captions` writes it.

    Raises:
        InputError: MISSING_CAPTIONS, the file cannot be read; BAD_CAPTIONS, a line is not such an
            object, is empty, is too long, or names a file again; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "MISSING_CAPTIONS", f"{path} cannot be read as text ({error}); give a {FILE_NAME}"
        ) from error
    captions: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, text = _entry(line, f"line {number} of {path}")
        if name in captions:
            raise InputError("BAD_CAPTIONS", f"line {number} of {path} names {name!r} again")
        captions[name] = text
    if not captions:
        raise InputError("BAD_CAPTIONS", f"{path} holds no caption")
    return captions


def _entry(line: str, place: str) -> tuple[str, str]:
    try:
        entry = strict_json(line.encode())
    except LoraFormatError as error:
        raise InputError("BAD_CAPTIONS", f"{place} is not a JSON object ({error})") from error
    name, text = (entry.get(k) if isinstance(entry, dict) else None for k in ("file_name", "text"))
    if not isinstance(name, str) or not isinstance(text, str) or not name:
        raise InputError("BAD_CAPTIONS", f'{place} must hold texts "file_name" and "text"')
    if len(text) > MAX_CAPTION:
        raise InputError("BAD_CAPTIONS", f"{place} has over {MAX_CAPTION} characters of caption")
    return name, text


def captions_of(names: Iterable[str], captions: Mapping[str, str]) -> list[str]:
    """The caption of each file name, in that order.

    Raises:
        InputError: CAPTION_COUNT, some have none; they are named.
    """
    wanted = list(names)
    without = [name for name in wanted if name not in captions]
    if without:
        raise InputError(
            "CAPTION_COUNT",
            f"no caption for {len(without)} of {plural(len(wanted), 'photo')}: "
            f"{', '.join(without[:5])}",
        )
    return [captions[name] for name in wanted]
