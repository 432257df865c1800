"""Base and tuned models from disk to a pair: folders, single files, adapters. No network, ever."""

from __future__ import annotations

from pathlib import Path

import torch

from ..devices import torch_device
from ..errors import InputError, LoraFormatError, MissingWeightsError
from ..lora.binding import bind, check_deltas
from ..lora.formats import read_lora
from ..lora.header import read_header
from .change import output_change
from .checkpoints import is_checkpoint, load_checkpoint
from .diffusers import DiffusersPair
from .folders import PICKLES, load_folder, refuse_pickle
from .networks import Networks

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_ADAPTERS = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")


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
        base: a diffusers folder or a single ``.safetensors`` checkpoint of a family in
            `families.FAMILIES`.
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
    if path.is_file() and path.suffix.lower() in PICKLES:
        refuse_pickle(path)
    if path.is_file():
        return load_checkpoint(path, prediction=prediction).to(place, precision)
    if not path.is_dir():
        raise MissingWeightsError("MISSING_FILE", f"{path} does not exist; give a file or folder")
    if _adapter_in(path):
        raise InputError("NOT_A_CHECKPOINT", f"{path.name} holds an adapter, not a full model")
    return load_folder(path).to(place, precision)


def pair_of(
    networks: Networks, tuned: Path, *, strength: float = 1.0, prediction: str = "auto"
) -> DiffusersPair:
    """The pair of a loaded base with an adapter or a full checkpoint; errors as `open_pair`."""
    tuned = Path(tuned)
    adapter = _adapter_in(tuned) if tuned.is_dir() else tuned
    if adapter is not None and adapter.suffix.lower() in PICKLES:
        refuse_pickle(adapter)
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
    weights = {
        part: {name: layer.get_parameter("weight").detach() for name, layer in layers.items()}
        for part, layers in modules.items()
    }
    binding = bind(
        lora, {p: {n: tuple(w.shape) for n, w in ws.items()} for p, ws in weights.items()}
    )
    check_deltas(binding, weights)
    targets = [(p.component, modules[p.component][p.module], p.operator) for p in binding.pairs]
    pair = DiffusersPair.adapted(networks, targets, tuned_sha256=lora.sha256, strength=strength)
    pair.lora, pair.binding, pair.notes = lora, binding, binding.warnings
    return pair


def _finetuned(
    networks: Networks, path: Path, *, strength: float, prediction: str
) -> DiffusersPair:
    if strength != 1:
        raise InputError(
            "BAD_STRENGTH", f"strength {strength:g} was asked of a full checkpoint; it has only 1"
        )
    weight = next(networks.unet.parameters())
    # What a DreamBooth folder does not hold is the base's.
    tuned = (
        load_folder(path, fallback=networks)
        if path.is_dir()
        else load_base(path, device="cpu", dtype="float32", prediction=prediction)
    )
    _check_same_kind(networks, tuned)
    return DiffusersPair.finetuned(networks, tuned.to(weight.device, weight.dtype))


def _check_same_kind(base: Networks, tuned: Networks) -> None:
    ours, theirs = (
        [{k: tuple(v.shape) for k, v in n.state_dict().items()} for n in m.components().values()]
        for m in (base, tuned)
    )
    if ours != theirs or base.prediction != tuned.prediction:
        raise LoraFormatError(
            "WRONG_BASE",
            f"the tuned checkpoint ({tuned.family.title}, {tuned.prediction}) has another shape "
            f"than the base ({base.family.title}, {base.prediction}); give the base that it was "
            "trained from",
        )


def _adapter_in(folder: Path) -> Path | None:
    for name in _ADAPTERS:
        if (folder / name).is_file():
            return folder / name
    if (folder / "adapter_model.bin").is_file():
        refuse_pickle(folder / "adapter_model.bin")
    return None


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InputError(
            "BAD_SETTING", f"dtype {name!r} is unknown; choose auto, {', '.join(DTYPES)}"
        )
    return DTYPES[name]
