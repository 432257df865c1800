"""Placebo null models: adapters of the same base that were trained on other photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..backends.diffusers import DiffusersPair
from ..backends.loading import pair_of
from ..errors import InputError, NotEnoughDataError
from ..null_ranks import NullGroup, NullModel
from ..storage import sha256_bytes
from .intake import check_placebos


def placebo_files(folder: Path) -> list[Path]:
    """Adapter files of a folder, sorted by name.

    Raises:
        InputError: MISSING_FOLDER.
        NotEnoughDataError: EMPTY_FOLDER.
    """
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
            lambda f=file: pair_of(pair.networks, f, strength=pair.strength),
        )
        for file, sha256 in zip(files, hashes, strict=True)
    )
    return NullGroup("placebo", tuple(models), note=f"{len(files)} adapters given by the user")


def group_digest(group: NullGroup) -> str:
    """Which null models a group holds, for the manifest of a case."""
    facts = [group.kind, group.note, str(group.controls), *(m.name for m in group.models)]
    return sha256_bytes("\n".join(facts).encode())
