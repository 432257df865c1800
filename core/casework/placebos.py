"""Placebo null models: adapters of the same base that were trained on other photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..backends.checkpoints import is_checkpoint
from ..backends.diffusers import DiffusersPair
from ..backends.loading import pair_of
from ..errors import InputError, LoraFormatError, NotEnoughDataError, plural
from ..lora.header import named, read_header
from ..lora.names import guess_family, parse_name, unsupported_kind
from ..membership.null_ranks import NullGroup, NullModel
from ..storage import sha256_bytes
from .intake import check_placebos
from .request import Request


def placebo_files(folder: Path) -> list[Path]:
    """Adapter files of a folder, sorted by name.

    Raises:
        InputError: MISSING_FOLDER.
        NotEnoughDataError: EMPTY_FOLDER.
    """
    if folder.is_file():
        raise InputError(
            "MISSING_FOLDER", f"{folder} is a file; give the folder of .safetensors adapters"
        )
    if not folder.is_dir():
        raise InputError(
            "MISSING_FOLDER", f"{folder} does not exist; give a folder of .safetensors adapters"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix == ".safetensors" and p.is_file())
    if not files:
        raise NotEnoughDataError(
            "EMPTY_FOLDER", f"{folder} holds no .safetensors file; put the placebo adapters there"
        )
    return files


def placebos_of(request: Request) -> list[Path]:
    """The placebos of a request; none where membership is not asked. Errors as `placebo_files`."""
    if request.placebos is None or "membership" not in request.lines:
        return []
    return placebo_files(request.placebos)


def placebo_group(pair: DiffusersPair, files: Sequence[Path]) -> NullGroup:
    """The adapters as null models of the suspect's base.

    Args:
        pair: the suspect on its base; its networks are shared, its strength is taken.
        files: adapters that were certainly not trained on the photos in question.

    Raises:
        InputError: SAME_ADAPTER: the suspect is among them, or one is there twice.
    """
    suspect = () if pair.lora is None else (pair.lora.tensor_sha256,)
    hashes = check_placebos(files, (pair.hashes.tuned, *suspect))
    models = (
        NullModel(
            f"placebo-{sha256[:16]}",
            lambda f=file: _opened(pair, f),
        )
        for file, sha256 in zip(files, hashes, strict=True)
    )
    return NullGroup(
        "placebo", tuple(models), note=f"{plural(len(files), 'adapter')} given by the user"
    )


def _opened(pair: DiffusersPair, file: Path) -> DiffusersPair:
    with named(file):
        return pair_of(pair.networks, file, strength=pair.strength)


def check_headers(files: Sequence[Path], family: str) -> None:
    """What the placebos' headers tell, long before each is opened; no tensor is read.

    Args:
        files: the placebos.
        family: of the suspect, as `guess_family` names it; ``unknown`` fits all.

    Raises:
        LoraFormatError: WRONG_BASE, a placebo is of another family; NOT_A_LORA; or what
            `read_header` names. UnsafeFileError likewise.
    """
    for file in files:
        header = read_header(file, allow_zero_size=True)
        if is_checkpoint(header):
            continue
        if not any(parse_name(n) or unsupported_kind(n) for n in header.tensors):
            raise LoraFormatError(
                "NOT_A_LORA",
                f"{file.name} holds no tensor of an adapter; keep only LoRAs among the placebos",
            )
        own = guess_family({name: info.shape for name, info in header.tensors.items()})
        if "unknown" not in (own, family) and own != family:
            raise LoraFormatError(
                "WRONG_BASE",
                f"{file.name} is a placebo for {own}, the suspect is for {family}; every placebo "
                "must be a LoRA of the suspect's base",
            )


def group_digest(group: NullGroup) -> str:
    """Which null models a group holds, for the manifest of a case."""
    facts = [group.kind, group.note, str(group.controls), *(m.name for m in group.models)]
    return sha256_bytes("\n".join(facts).encode())
