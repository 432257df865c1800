"""Photos and controls as a door gives them, files or pixels, brought to a size once it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError, plural
from ..images.canonical import DECODED
from ..images.photos import (
    FileFacts,
    Photos,
    fit_square,
    image_files,
    load_photos,
    pixels_sha256,
    to_picture,
    to_tensor,
)
from ..images.sets import Sets, drop_duplicates, set_twins_aside
from ..lora.safeguard import stop_words
from ..protocols import QUIET, Progress
from ..types import ImageBatch, Source
from .intake import check_counts, stop_if_minor

Kind = Literal["photo", "control"]


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Photos before they have a size.

    Attributes:
        files: image files; empty when `pixels` holds pictures.
        pixels: batches ``[N, 3, H, W]`` in 0..1.
        root: folder of the files, whose sub-folders are sessions.
        origin: folder below which a person chose every name; None knows of each file's folder.
        ready: photos that were processed already, at their one size.
        done: what they went through, in words.
    """

    files: tuple[Path, ...] = ()
    pixels: tuple[Tensor, ...] = ()
    root: Path | None = None
    origin: Path | None = None
    ready: Photos | None = None
    done: tuple[str, ...] = ()

    def __len__(self) -> int:
        ready = 0 if self.ready is None else len(self.ready)
        return ready + len(self.files) + sum(len(batch) for batch in self.pixels)

    @property
    def from_files(self) -> bool:
        """Whether their facts are those of files."""
        facts = () if self.ready is None else self.ready.facts
        return bool(self.files) or any(f.format != "IMAGE" for f in facts)

    @property
    def names(self) -> list[str]:
        """Names of the files and of their folders, which may point to a minor."""
        parts = (part for file in self.files for part in self._chosen(file))
        ready = () if self.ready is None else self.ready.facts
        return list(dict.fromkeys([*parts, *(fact.name for fact in ready)]))

    def _chosen(self, file: Path) -> tuple[str, ...]:
        if self.origin is None:
            return file.parts[-2:]
        return file.absolute().relative_to(self.origin.absolute()).parts

    def steps(self, side: int) -> tuple[str, ...]:
        """What the photos went through, in words."""
        decoded = DECODED if self.files else DECODED[1:]
        return self.done or tuple(line.format(side=side) for line in decoded)

    def at(self, side: int, kind: Kind, progress: Progress = QUIET) -> Photos:
        """The photos at ``side x side``, decoded canonically.

        Raises:
            InputError: OTHER_SIZE for photos that were processed at another size.
            ForensicsError: MINOR_SUSPECTED before any file is opened.
        """
        stop_for_names(self)
        if self.ready is not None:
            return _resting(self.ready, side, kind)
        if not self.files:
            return _from_pixels([p for batch in self.pixels for p in batch], side, kind)
        progress.start(f"reading {kind}s", len(self.files))
        return load_photos(self.files, kind, side, on_file=progress.step, root=self.root)


def stop_for_names(*sets: PhotoSet) -> None:
    """No photo is opened while a name in any of the sets points to a minor.

    Raises:
        ForensicsError: MINOR_SUSPECTED.
    """
    stop_if_minor(stop_words(name for photos in sets for name in photos.names), flagged=False)


def _resting(photos: Photos, side: int, kind: Kind) -> Photos:
    own = photos.images.pixels.shape[-1]
    if own != side:
        raise InputError(
            "OTHER_SIZE",
            f"the {kind}s were made canonical at {own} pixels and are wanted at {side}; use one "
            "resolution in every node of a case",
        )
    sources = tuple(replace(source, kind=kind) for source in photos.images.sources)
    return Photos(ImageBatch(photos.images.pixels, sources), photos.facts)


def _from_pixels(pixels: Sequence[Tensor], side: int, kind: Kind) -> Photos:
    squares = [fit_square(to_picture(p), side) for p in pixels]
    sources = tuple(
        Source(kind=kind, sha256=pixels_sha256(square), name=f"{kind} {i}")
        for i, square in enumerate(squares)
    )
    facts = tuple(
        FileFacts(f"{kind} {i}", _sha256(p), p.shape[2], p.shape[1], "IMAGE", 0, 0.0)
        for i, p in enumerate(pixels)
    )
    return Photos(ImageBatch(torch.stack([to_tensor(s) for s in squares]), sources), facts)


def _sha256(pixels: Tensor) -> str:
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()


def folder_set(path: Path) -> PhotoSet:
    """Photos of a folder, whose sub-folders are sessions, or one image file.

    Raises:
        InputError, NotEnoughDataError: there is no such folder, or no picture in it.
    """
    root = path if path.is_dir() else path.parent
    return PhotoSet(tuple(image_files(path)), root=root, origin=root.absolute().parent)


def compared_sets(
    photos: PhotoSet, controls: PhotoSet, side: int, progress: Progress = QUIET
) -> tuple[Sets, tuple[str, ...]]:
    """Photos and controls, free of duplicates and of each other, and what was dropped.

    When one of them came as pixels, the other's file facts are dropped too: that one was a file
    says nothing about the photos, and the blind probe must not see it.

    Raises:
        InputError, NotEnoughDataError: too few, or a photo among the controls.
        ForensicsError: MINOR_SUSPECTED before any file is opened.
    """
    stop_for_names(photos, controls)
    check_counts(len(photos), len(controls))
    if photos.done != controls.done:
        raise InputError(
            "MIXED_EVIDENCE",
            "photos and controls went through other steps; take both from one Canonical Photos",
        )
    mine, others = photos.at(side, "photo", progress), controls.at(side, "control", progress)
    if photos.from_files != controls.from_files:
        mine, others = _bare(mine), _bare(others)
    (mine, dropped), (others, more) = drop_duplicates(mine), drop_duplicates(others)
    sets = set_twins_aside(mine, others)
    check_counts(len(sets.photos), len(sets.controls))
    return sets, (*dropped, *more)


def captions_for(text: str, default: str, count: int, what: str) -> tuple[str, ...]:
    """The lines of a form as one caption per picture; one line stands for all.

    Raises:
        InputError: CAPTION_COUNT.
    """
    lines = tuple(line.strip() for line in text.splitlines() if line.strip()) or (default,)
    if len(lines) not in (1, count):
        raise InputError(
            "CAPTION_COUNT",
            f"{plural(len(lines), 'caption')} for {plural(count, what)} without duplicates; give "
            f"one line per {what}, or a single line for all",
        )
    return lines if len(lines) == count else lines * count


def _bare(photos: Photos) -> Photos:
    facts = (replace(f, format="IMAGE", size=0, jpeg_quality=0.0) for f in photos.facts)
    return Photos(photos.images, tuple(facts))
