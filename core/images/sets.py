"""Photos beside controls: which are one picture, which belong to one session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..errors import InputError, plural
from ..types import Embeddings
from .fingerprints import same_pictures
from .photos import Photos

NEAR_DUPLICATE_RMS = 3.0 / 255
SESSION_SECONDS = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The photos in question beside their controls: what every line of evidence compares.

    Attributes:
        photos: the photos in question, each once.
        controls: photos that were not used, each once.
        twins: controls set aside by `set_twins_aside`; None where there are none.
        twin_of: index of the photo that each of them shows.
    """

    photos: Photos
    controls: Photos
    twins: Photos | None = None
    twin_of: tuple[int, ...] = ()

    @property
    def sessions(self) -> tuple[str, ...]:
        """Session of each photo, then of each control: sessions are independent, photos not."""
        return (*sessions(self.photos), *sessions(self.controls))

    @property
    def counted(self) -> str:
        """How many of both, in words."""
        return f"{plural(len(self.photos), 'photo')}, {plural(len(self.controls), 'control')}"

    @property
    def pixels(self) -> Tensor:
        """``[N, 3, H, W]`` in 0..1, photos first: all are measured together and alike."""
        return torch.cat([self.photos.images.pixels, self.controls.images.pixels])


def sessions(photos: Photos) -> tuple[str, ...]:
    """Which session each photo belongs to: evidence counts sessions, not photos.

    Photos of one sub-folder are one session, and so are photos of one camera taken within 120
    seconds of each other (chains of them, too). All others stand for themselves.

    Returns:
        One id a photo, the same for the same session; ids of photos and of controls differ.
    """
    folder = np.array([f.session for f in photos.facts])
    camera = np.array([f.camera for f in photos.facts])
    when = np.array([_seconds(f.taken) for f in photos.facts])
    together = (folder[:, None] == folder) & (folder != "")
    near = np.abs(when[:, None] - when) <= SESSION_SECONDS  # an unknown time is near nothing
    together |= near & (camera[:, None] == camera) & (camera != "")
    _, number = connected_components(together, directed=False)
    return tuple(f"{s.kind} {n}" for s, n in zip(photos.images.sources, number, strict=True))


def _seconds(taken: str) -> float:
    try:
        moment = datetime.strptime(taken, "%Y:%m:%d %H:%M:%S")
        return moment.replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("nan")


def near_duplicates(a: Tensor, b: Tensor) -> list[tuple[int, int]]:
    """Pairs of images that are the same picture but for size, compression, crop or mirroring.

    Args:
        a: ``[N, 3, H, W]`` in 0..1.
        b: ``[M, 3, H, W]`` in 0..1.

    Returns:
        Index pairs whose 32 x 32 thumbnails differ by less than 3/255 (root mean square), or whose
        perceptual hashes and aligned thumbnails agree (`fingerprints.same_pictures`).
    """
    small_a, small_b = (
        torch.nn.functional.interpolate(x, (32, 32), mode="bilinear", antialias=True).flatten(1)
        for x in (a, b)
    )
    rms = torch.cdist(small_a.double(), small_b.double()) / small_a.shape[1] ** 0.5
    close = {(int(i), int(j)) for i, j in (rms < NEAR_DUPLICATE_RMS).nonzero()}
    return sorted(close | set(same_pictures(a, b)))


def look_alikes(a: Embeddings, b: Embeddings) -> list[tuple[int, int, float]]:
    """Pairs that a copy descriptor takes for copies, for a person to look at.

    Nothing is dropped for it: among photos of one institution the descriptor also finds different
    photos of similar people.

    Returns:
        Index pairs above the encoder's `copy_threshold` and their similarity, most alike first.

    Raises:
        ProvenanceError: the two were made by different encoders.
    """
    similarity = a.similarity(b)
    pairs = (similarity > a.encoder.copy_threshold).nonzero()
    return sorted(
        ((int(i), int(j), float(similarity[i, j])) for i, j in pairs), key=lambda p: -p[2]
    )


def drop_duplicates(photos: Photos) -> tuple[Photos, tuple[str, ...]]:
    """Each picture once; also the names of the files dropped."""
    pairs = near_duplicates(photos.images.pixels, photos.images.pixels)
    dropped = sorted({j for i, j in pairs if i < j})
    return _without(photos, dropped), tuple(photos.facts[i].name for i in dropped)


def check_disjoint(photos: Photos, controls: Photos) -> None:
    """No file is both a photo in question and a control.

    Raises:
        InputError: some are (DUPLICATE_PHOTOS), named.
    """
    own = {f.sha256: f.name for f in photos.facts} | {
        s.sha256: s.name for s in photos.images.sources
    }
    known = zip(controls.facts, controls.images.sources, strict=True)
    pairs = [
        (own.get(f.sha256) or own[s.sha256], f.name)
        for f, s in known
        if f.sha256 in own or s.sha256 in own
    ]
    if pairs:
        shown = ", ".join(f"{photo} = {control}" for photo, control in pairs[:5])
        raise InputError(
            "DUPLICATE_PHOTOS",
            f"the same picture is in both folders ({shown}); controls must be pictures that the "
            "suspect was certainly not trained on: take it out of one folder",
        )


def set_twins_aside(photos: Photos, controls: Photos) -> Sets:
    """Photos and controls, without controls that show a photo once more.

    Such a control (another size, compression, crop, or mirrored) would score like the photo and
    hide its use. It is kept beside the sets, for a person to look at.

    Raises:
        InputError: DUPLICATE_PHOTOS, a file is in both sets.
    """
    check_disjoint(photos, controls)
    pairs = near_duplicates(photos.images.pixels, controls.images.pixels)
    twin_of = {j: i for i, j in reversed(pairs)}  # the first photo of each control
    if not twin_of:
        return Sets(photos, controls)
    index = sorted(twin_of)
    return Sets(
        photos,
        _without(controls, index),
        controls.select(index),
        tuple(twin_of[j] for j in index),
    )


def _without(photos: Photos, index: Sequence[int]) -> Photos:
    left_out = set(index)
    return photos.select([i for i in range(len(photos)) if i not in left_out])
