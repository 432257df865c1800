"""Base and tuned models from disk to a pair: folders, single files, adapters. No network, ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection
from transformers.utils import logging

from ..devices import torch_device
from ..errors import InputError, LoraFormatError, MissingWeightsError, UnsafeFileError
from ..lora.binding import bind, check_deltas
from ..lora.formats import read_lora
from ..lora.header import read_header, sha256_file
from ..lora.sniffing import refuse_other_format
from ..records import strict_json
from .change import output_change
from .checkpoints import is_checkpoint, load_checkpoint
from .diffusers import DiffusersPair
from .networks import Networks, check_supported, family_of, prediction_of, sigmas_of
from .vocabulary import load_tokenizer

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_ADAPTERS = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_HASHED: dict[tuple[str, int, int], str] = {}


def open_pair(
    base: Path,
    tuned: Path,
    *,
    strength: float = 1.0,
    device: str = "auto",
    dtype: str = "auto",
    prediction: str = "auto",
) -> DiffusersPair:
    """A model pair from files, ready to sample and to score.

    Args:
        base: a diffusers folder or a single ``.safetensors`` checkpoint (SD 1.x, SD 2.x, SDXL).
        tuned: an adapter (file, or folder with ``adapter_model.safetensors`` or
            ``pytorch_lora_weights.safetensors``), or a full checkpoint as for `base`.
        strength: what the tuned rows scale the adapter by; 1 for a full checkpoint.
        device: ``auto`` (CUDA if there), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` (float16 on CUDA, else float32), or a name in `DTYPES`.
        prediction: overrides what a single-file checkpoint seems to be.

    Raises:
        InputError: NOT_A_CHECKPOINT, UNSUPPORTED_MODEL, BAD_STRENGTH, BAD_SETTING, NO_DEVICE.
        LoraFormatError: any code of the adapter reader; WRONG_BASE, NOT_APPLIED.
        UnsafeFileError: PICKLE, TORCHSCRIPT and their kin.
        MissingWeightsError: a file is missing.
        RunError: NON_FINITE.
    """
    networks = load_base(base, device=device, dtype=dtype, prediction=prediction)
    return pair_of(networks, tuned, strength=strength, prediction=prediction)


def load_base(
    path: Path, *, device: str = "auto", dtype: str = "auto", prediction: str = "auto"
) -> Networks:
    """A base model; see `open_pair`. Many pairs may share it (`pair_of`)."""
    path = Path(path)
    place = torch_device(device)
    precision = _dtype(dtype, place)
    if path.is_file() and path.suffix.lower() in _PICKLES:
        _refuse_pickle(path)
    if path.is_file():
        header = read_header(path, allow_zero_size=True)
        if not is_checkpoint(header):
            raise InputError(
                "NOT_A_CHECKPOINT",
                f"{path.name} is no full model in one file (a LoRA, or a part of a model); give "
                "the checkpoint that the LoRA was trained on",
            )
        return load_checkpoint(path, prediction=prediction).to(place, precision)
    if not path.is_dir():
        raise MissingWeightsError("MISSING_FILE", f"there is no file or folder {path}")
    if _adapter_in(path):
        raise InputError("NOT_A_CHECKPOINT", f"{path.name} holds an adapter, not a full model")
    return load_folder(path).to(place, precision)


def pair_of(
    networks: Networks, tuned: Path, *, strength: float = 1.0, prediction: str = "auto"
) -> DiffusersPair:
    """The pair of a loaded base with an adapter or a full checkpoint; errors as `open_pair`."""
    tuned = Path(tuned)
    adapter = _adapter_in(tuned) if tuned.is_dir() else tuned
    if adapter is not None and adapter.suffix.lower() in _PICKLES:
        _refuse_pickle(adapter)
    if adapter is not None and not _is_full(adapter):
        pair = _adapted(networks, adapter, strength)
    else:
        pair = _finetuned(networks, tuned, strength=strength, prediction=prediction)
    try:
        pair.output_change = output_change(pair)
    except Exception:
        pair.close()
        raise
    return pair


def _is_full(path: Path) -> bool:
    return path.is_file() and is_checkpoint(read_header(path, allow_zero_size=True))


def _adapted(networks: Networks, path: Path, strength: float) -> DiffusersPair:
    if strength == 0:
        raise LoraFormatError("NOT_APPLIED", "strength 0 applies no adapter")
    lora = read_lora(path)
    modules = networks.modules()
    shapes = {c: {n: tuple(_weight(m).shape) for n, m in ms.items()} for c, ms in modules.items()}
    binding = bind(lora, shapes)
    check_deltas(binding, {c: {n: _weight(m) for n, m in ms.items()} for c, ms in modules.items()})
    targets = [(p.component, modules[p.component][p.module], p.operator) for p in binding.pairs]
    pair = DiffusersPair.adapted(networks, targets, tuned_sha256=lora.sha256, strength=strength)
    pair.lora, pair.binding, pair.notes = lora, binding, binding.warnings
    return pair


def _weight(module: nn.Module) -> torch.Tensor:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _finetuned(
    networks: Networks, path: Path, *, strength: float, prediction: str
) -> DiffusersPair:
    if strength != 1:
        raise InputError(
            "BAD_STRENGTH", f"strength {strength:g} was asked of a full checkpoint; it has only 1"
        )
    unet = next(networks.unet.parameters())
    # What a DreamBooth folder does not hold is the base's.
    tuned = (
        load_folder(path, fallback=networks)
        if path.is_dir()
        else load_base(path, device="cpu", dtype="float32", prediction=prediction)
    )
    _check_same_kind(networks, tuned)
    return DiffusersPair.finetuned(networks, tuned.to(unet.device, unet.dtype))


def _check_same_kind(base: Networks, tuned: Networks) -> None:
    ours, theirs = (
        [{k: tuple(v.shape) for k, v in n.state_dict().items()} for n in m.components().values()]
        for m in (base, tuned)
    )
    if ours != theirs or base.prediction != tuned.prediction:
        raise LoraFormatError(
            "WRONG_BASE",
            f"the tuned checkpoint ({tuned.family}, {tuned.prediction}) has another shape than "
            f"the base ({base.family}, {base.prediction}); give the base it was trained from",
        )


def load_folder(path: Path, *, fallback: Networks | None = None) -> Networks:
    """A diffusers folder; parts that it lacks come from `fallback`, if given.

    Raises:
        MissingWeightsError: MISSING_FILE for a part without weights or config.
        UnsafeFileError: PICKLE for a part with pickled weights only.
    """
    if fallback is None or (path / "scheduler").is_dir():
        scheduler = _config(path / "scheduler" / "scheduler_config.json")
        sigmas, prediction = sigmas_of(scheduler), prediction_of(scheduler)
    else:
        sigmas, prediction = fallback.sigmas, fallback.prediction
    unet = _part(path / "unet", UNet2DConditionModel)
    if fallback is None or (path / "vae").is_dir():
        vae: Any = _part(path / "vae", AutoencoderKL)
    else:
        vae = fallback.vae
    check_supported(unet.config, vae.config)
    family = family_of(unet.config)
    encoders, tokenizers = _text(path, family, fallback)
    return Networks(
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        tokenizers=tokenizers,
        sigmas=sigmas,
        prediction=prediction,
        family=family,
        sha256=sha256_folder(path),
    )


def _text(
    path: Path, family: str, fallback: Networks | None
) -> tuple[tuple[nn.Module, ...], tuple[Any, ...]]:
    kinds: dict[str, Any] = {"": CLIPTextModel}
    if family == "sdxl":
        kinds["_2"] = CLIPTextModelWithProjection
    encoders: list[nn.Module] = []
    tokenizers: list[Any] = []
    for i, (suffix, kind) in enumerate(kinds.items()):
        encoder, tokenizer = path / f"text_encoder{suffix}", path / f"tokenizer{suffix}"
        if fallback is None or encoder.is_dir():
            encoders.append(_part(encoder, kind))
        else:
            encoders.append(fallback.text_encoders[i])
        if fallback is None or tokenizer.is_dir():
            tokenizers.append(load_tokenizer(tokenizer))
        else:
            tokenizers.append(fallback.tokenizers[i])
    return tuple(encoders), tuple(tokenizers)


def _part(folder: Path, kind: Any) -> Any:
    """One network of a folder, from checked safetensors files only."""
    _config(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [f for f in sorted(folder.iterdir()) if f.suffix in _PICKLES]
        if pickles:
            _refuse_pickle(pickles[0])
        raise MissingWeightsError("MISSING_FILE", f"{folder} holds no .safetensors weights")
    for file in files:
        read_header(file)
    more: dict[str, Any] = {}
    if all(".fp16." in file.name for file in files):
        more["variant"] = "fp16"
    with _no_bars():
        return kind.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, **more
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the progress bar that transformers draws while it loads."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _config(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise MissingWeightsError(
            "MISSING_FILE", f"{path} is missing; a base folder has the parts {', '.join(_PARTS)}"
        )
    found = strict_json(path.read_bytes())
    if not isinstance(found, dict):
        raise InputError("NOT_A_CHECKPOINT", f"{path} is not a config")
    return found


def _adapter_in(folder: Path) -> Path | None:
    found = [folder / name for name in _ADAPTERS if (folder / name).is_file()]
    if not found and (folder / "adapter_model.bin").is_file():
        _refuse_pickle(folder / "adapter_model.bin")
    return found[0] if found else None


def _refuse_pickle(path: Path) -> None:
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
    if key not in _HASHED:
        _HASHED[key] = sha256_file(path)
    return _HASHED[key]


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InputError(
            "BAD_SETTING", f"dtype {name!r} is unknown; choose auto, {', '.join(DTYPES)}"
        )
    return DTYPES[name]
