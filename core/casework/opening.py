"""From a request to models and photos in memory, checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..canonical import canonical
from ..images import Photos, check_disjoint, drop_duplicates, image_files, load_photos
from ..lora.inspection import Inspection
from ..lora.safeguard import stop_words
from ..protocols import Progress
from .intake import check_counts, check_output, stop_if_minor
from .questions import inspect_pair
from .request import Request


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A suspect and the photos in question.

    Attributes:
        pair: base and tuned model; `pair.close` gives back what it holds.
        inspection: of the suspect's file; None for a full checkpoint.
        photos: the photos in question, each once.
        controls: photos that were not used, each once.
        dropped: names of files that were there twice.
        steps: what photos and controls went through alike, in words.
    """

    pair: DiffusersPair
    inspection: Inspection | None
    photos: Photos
    controls: Photos
    dropped: tuple[str, ...]
    steps: tuple[str, ...]


def open_request(request: Request, progress: Progress) -> Opened:
    """Read and check everything that a request names; nothing is written.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any photo is opened.
    """
    check_output(request.out)
    photo_files, control_files = image_files(request.photos), image_files(request.controls)
    check_counts(len(photo_files), len(control_files))
    pair = open_pair(
        request.base,
        request.tuned,
        strength=request.strength,
        device=request.device,
        dtype=request.dtype,
    )
    inspection = inspect_pair(pair)
    safeguard(request, inspection)
    photos = load_photos(photo_files, "photo", pair.resolution, root=_root(request.photos))
    controls = load_photos(control_files, "control", pair.resolution, root=_root(request.controls))
    check_disjoint(photos, controls)
    photos, dropped = drop_duplicates(photos)
    controls, more = drop_duplicates(controls)
    check_counts(len(photos), len(controls))
    photos, controls, steps = _canonical(request, pair, photos, controls, progress)
    return Opened(pair, inspection, photos, controls, (*dropped, *more), steps)


def safeguard(request: Request, inspection: Inspection | None) -> None:
    """Stop before any sampling when anything points to a minor.

    Raises:
        ForensicsError: MINOR_SUSPECTED; only `inspect` may go on.
    """
    found = () if inspection is None else inspection.stop_words
    texts = [request.tuned.name, *request.prompts]
    stop_if_minor([*stop_words(texts), *found], flagged=request.minor_suspected)


def _root(given: Path) -> Path:
    """The folder whose sub-folders are sessions."""
    return given if given.is_dir() else given.parent


def _canonical(
    request: Request, pair: DiffusersPair, photos: Photos, controls: Photos, progress: Progress
) -> tuple[Photos, Photos, tuple[str, ...]]:
    """Photos and controls through the same steps, and the steps in words."""
    spec = request.spec.canonical
    mine, log = canonical(pair, photos, spec, progress=progress)
    others, _ = canonical(pair, controls, spec, progress=progress)
    return mine, others, log
