"""Diffusers folders to networks: configs and safetensors weights, nothing pickled, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import transformers
from diffusers.utils.import_utils import is_accelerate_available
from torch import Tensor
from transformers.utils import logging

from ..errors import InputError, LoraFormatError, MissingWeightsError, UnsafeFileError
from ..lora.header import read_header, sha256_file, strict_json
from ..lora.sniffing import refuse_other_format
from .families import check_supported, family_of
from .networks import Networks, prediction_of, sigmas_of
from .vocabulary import load_tokenizer

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_HASHES: dict[tuple[str, int, int], str] = {}


def load_folder(path: Path, *, fallback: Networks | None = None) -> Networks:
    """A diffusers folder; parts that it lacks come from `fallback`, if given.

    Raises:
        InputError: UNSUPPORTED_MODEL.
        LoraFormatError: WRONG_BASE, `fallback` is of another family.
        MissingWeightsError: MISSING_FILE for a part without weights or config.
        UnsafeFileError: PICKLE for a part with pickled weights only.
    """

    def part(name: str, load: Callable[[Path], Any], spare: Any) -> Any:
        folder = path / name
        return load(folder) if spare is None or folder.is_dir() else spare

    spare = fallback and (fallback.sigmas, fallback.prediction)
    sigmas, prediction = part("scheduler", _schedule, spare)
    family = family_of(_config(path / "unet" / "config.json"))
    if fallback is not None and fallback.family is not family:
        raise LoraFormatError(
            "WRONG_BASE",
            f"{path.name} is {family.title}, the base is {fallback.family.title}; give the base "
            "that it was trained from",
        )
    unet = network_of(path / "unet", getattr(diffusers, family.network))
    vae = part("vae", _vae, fallback and fallback.vae)
    check_supported(family, unet.config, vae.config)
    encoders, tokenizers = [], []
    for i, encoder in enumerate(family.text):
        spare = fallback and fallback.text_encoders[i]
        encoders.append(part("text_encoder" + encoder.suffix, _text(encoder.network), spare))
        spare = fallback and fallback.tokenizers[i]
        tokenizers.append(part("tokenizer" + encoder.suffix, load_tokenizer, spare))
    return Networks(
        unet=unet,
        vae=vae,
        text_encoders=tuple(encoders),
        tokenizers=tuple(tokenizers),
        sigmas=sigmas,
        prediction=prediction,
        family=family,
        sha256=sha256_folder(path),
    )


def _schedule(folder: Path) -> tuple[Tensor, str]:
    scheduler = _config(folder / "scheduler_config.json")
    return sigmas_of(scheduler), prediction_of(scheduler)


def _vae(folder: Path) -> Any:
    return network_of(folder, diffusers.AutoencoderKL)


def _text(network: str) -> Callable[[Path], Any]:
    return lambda folder: network_of(folder, getattr(transformers, network))


def network_of(folder: Path, kind: Any) -> Any:
    """One network of a folder, from checked safetensors files only.

    Args:
        folder: its config and weights.
        kind: class in diffusers or transformers.

    Raises:
        MissingWeightsError: MISSING_FILE.
        UnsafeFileError: PICKLE.
    """
    _config(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [f for f in sorted(folder.iterdir()) if f.suffix in PICKLES]
        if pickles:
            refuse_pickle(pickles[0])
        raise MissingWeightsError("MISSING_FILE", f"{folder} holds no .safetensors weights")
    for file in files:
        read_header(file)
    more: dict[str, Any] = {}
    if all(".fp16." in file.name for file in files):
        more["variant"] = "fp16"
    if issubclass(kind, diffusers.ModelMixin):
        # Asked for without accelerate, diffusers goes on without it and warns in five lines.
        more["low_cpu_mem_usage"] = is_accelerate_available()
    with _no_bars():
        return kind.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, **more
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the progress bar that transformers draws while it loads."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def _config(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise MissingWeightsError(
            "MISSING_FILE", f"{path} is missing; a base folder has the parts {', '.join(_PARTS)}"
        )
    config = strict_json(path.read_bytes())
    if not isinstance(config, dict):
        raise InputError("NOT_A_CHECKPOINT", f"{path} is not a config")
    return config


def refuse_pickle(path: Path) -> None:
    """Refuse a file that its name says is pickled, by what it is where that can be told.

    Raises:
        UnsafeFileError: PICKLE, TORCHSCRIPT, ARCHIVE.
    """
    if path.is_file():
        refuse_other_format(path)
    raise UnsafeFileError(
        "PICKLE",
        f"{path.name!r} can run code when it is loaded and was not opened; convert it to "
        ".safetensors on a machine you do not mind losing",
    )


def sha256_folder(path: Path) -> str:
    """SHA-256 over the sorted relative paths and file hashes of a folder's model files."""
    digest = hashlib.sha256()
    for part in ("", *_PARTS):
        inside = path / part
        files = sorted(inside.iterdir()) if inside.is_dir() else []
        for file in files:
            if file.is_file() and file.suffix in (".safetensors", ".json", ".txt"):
                digest.update(f"{part}/{file.name}\0{_sha256_once(file)}\n".encode())
    return digest.hexdigest()


def _sha256_once(path: Path) -> str:
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _HASHES:
        _HASHES[key] = sha256_file(path)
    return _HASHES[key]
