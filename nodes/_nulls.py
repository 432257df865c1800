"""Placebo null models in a graph: LoRAs of the same base that were trained on other photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

import torch

from ..core.casework.intake import check_placebos, stop_if_minor
from ..core.errors import InputError, plural
from ..core.images.photos import Photos
from ..core.lora.header import named
from ..core.lora.operators import tensors_of
from ..core.lora.safeguard import stop_words
from ..core.membership.null_ranks import NullGroup, NullModel
from ..core.storage import digest_of
from ._changes import Change
from ._host import file_fingerprint, model_file, model_files
from ._pair import HostPair
from ._suspect import Suspect, suspect_from_file


class Nulls(Protocol):
    """What the socket carries: null models of one kind for one suspect."""

    def group(self, suspect: Suspect, vae: Any, resolution: int, controls: Photos) -> NullGroup:
        """The null models, if they are for this question."""
        ...


@dataclass(frozen=True, eq=False)
class Placebos:
    """LoRAs that were certainly not trained on the photos, for one suspect.

    Attributes:
        suspect: whose null models they are.
        files: the LoRAs.
        hashes: SHA-256 of each file.
    """

    suspect: Suspect
    files: tuple[Path, ...]
    hashes: tuple[str, ...]

    def group(self, suspect: Suspect, vae: Any, resolution: int, controls: Photos) -> NullGroup:
        """The null models, each opened when it is asked: one is in memory at a time.

        Args:
            suspect: that is being measured.
            vae: VAE of the base.
            resolution: image side, as for the suspect.
            controls: that the measurement compares with; all of them, here.

        Raises:
            InputError: MIXED_EVIDENCE: they were checked against another suspect.
        """
        asked, own = ([asdict(s.hashes), s.strength] for s in (suspect, self.suspect))
        if asked != own:
            raise InputError(
                "MIXED_EVIDENCE",
                "the placebos were loaded for another suspect; connect the same suspect to both",
            )
        models = (
            NullModel(
                f"placebo-{sha256[:16]}", lambda f=file: _opened(self.suspect, f, vae, resolution)
            )
            for file, sha256 in zip(self.files, self.hashes, strict=True)
        )
        return NullGroup(
            "placebo", tuple(models), note=f"{plural(len(self.files), 'LoRA')} of one folder"
        )


def null_groups(
    suspect: Suspect, vae: Any, resolution: int, controls: Photos, *given: Nulls | None
) -> tuple[NullGroup, ...]:
    """What is connected to a node's inputs for null models, ready to be measured."""
    return tuple(n.group(suspect, vae, resolution, controls) for n in given if n is not None)


def placebos_of(suspect: Suspect, files: Sequence[Path]) -> Placebos:
    """The files as placebos; they are read when they are measured.

    Raises:
        InputError: SAME_ADAPTER: the suspect is among them, or one is there twice, whatever its
            metadata says.
        ForensicsError: MINOR_SUSPECTED: a name points to a minor.
    """
    names = (part for f in files for part in (f.parent.name, f.name))
    stop_if_minor(stop_words(names), flagged=False)
    own = () if suspect.inspection is None else (suspect.inspection.tensor_sha256,)
    hashes = check_placebos(files, (suspect.hashes.tuned, *own))
    return Placebos(suspect, tuple(files), tuple(hashes))


def _opened(suspect: Suspect, file: Path, vae: Any, resolution: int) -> HostPair:
    """One placebo on the suspect's base, by the same code and at the same strength.

    Raises:
        InputError: SAME_ADAPTER: it changes the base exactly as the suspect does.
        UnsafeFileError, LoraFormatError: as for a suspect.
    """
    with named(file):
        null = suspect_from_file(
            file, suspect.base, suspect.clip, suspect.strength, base_sha256=suspect.hashes.base
        )
    own = suspect.changes, suspect.clip_changes
    if all(map(same_changes, (null.changes, null.clip_changes), own)):
        raise InputError(
            "SAME_ADAPTER",
            f"{file.name} changes the base exactly as the suspect does; every placebo must be "
            "another LoRA, or p would come out too small",
        )
    return null.unnamed_pair(vae, resolution)


def same_changes(a: Sequence[Change], b: Sequence[Change]) -> bool:
    """Whether two adapters change the same layers by the same numbers, whatever their files."""
    if [c.module for c in a] != [c.module for c in b]:
        return False
    return all(_same_operator(x.operator, y.operator) for x, y in zip(a, b, strict=True))


def _same_operator(a: Any, b: Any) -> bool:
    first, second = tensors_of(a), tensors_of(b)
    return first.keys() == second.keys() and all(
        first[k].shape == second[k].shape and torch.equal(first[k], second[k]) for k in first
    )


def lora_folders() -> list[str]:
    """Sub-folders of the loras folders that hold LoRAs."""
    return sorted({name.rpartition("/")[0] for name in _names() if "/" in name})


def folder_files(folder: str) -> list[Path]:
    """LoRAs of one of `lora_folders`, sorted by name.

    Raises:
        InputError: MISSING_FOLDER.
    """
    names = [n for n in _names() if n.rpartition("/")[0] == folder and folder]
    if not names:
        raise InputError(
            "MISSING_FOLDER",
            f"no folder {folder!r} with .safetensors files lies in the loras folder; put the "
            "placebo LoRAs into one",
        )
    return [model_file("loras", n) for n in sorted(names)]


def folder_fingerprint(folder: str) -> str:
    """Changes when a file of the folder does."""
    return digest_of([file_fingerprint(f) for f in folder_files(folder)])


def _names() -> list[str]:
    return [PurePath(n).as_posix() for n in model_files("loras") if n.endswith(".safetensors")]
