"""From a request to models and photos in memory, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..attack.classifier import check_weights
from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..images.canonical import canonical
from ..images.captions import load_captions
from ..images.photos import Photos, check_disjoint, drop_duplicates, image_files, load_photos
from ..lora.inspection import Inspection
from ..lora.safeguard import stop_words
from ..protocols import Progress
from .intake import check_counts, check_output, model_signs, names_in, own_name, stop_if_minor
from .placebos import check_headers, placebos_of
from .questions import inspect_pair, load_negatives
from .request import Request


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A suspect and the photos in question.

    Attributes:
        pair: base and tuned model; `pair.close` gives back what it holds.
        inspection: of the suspect's file; None for a full checkpoint.
        photos: the photos in question, each once.
        controls: photos that were not used, each once.
        negatives: label-0 images of the attack, where the person gave a folder of them.
        dropped: names of files that were there twice.
        steps: what photos and controls went through alike, in words.
    """

    pair: DiffusersPair
    inspection: Inspection | None
    photos: Photos
    controls: Photos
    negatives: Photos | None
    dropped: tuple[str, ...]
    steps: tuple[str, ...]


def open_request(request: Request, progress: Progress, texts: Sequence[str] = ()) -> Opened:
    """Read and check everything that a request names; nothing is written.

    Args:
        request: what the person asked for.
        progress: long work.
        texts: further captions and prompts that will be used.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any photo is opened.
    """
    check_output(request.out)
    photo_files, control_files = image_files(request.photos), image_files(request.controls)
    check_counts(len(photo_files), len(control_files))
    if request.attack_weights is not None:
        check_weights(request.attack_weights)
    pair = open_pair(
        request.base,
        request.tuned,
        strength=request.strength,
        device=request.device,
        dtype=request.dtype,
    )
    inspection = inspect_pair(pair)
    captions = [] if request.captions is None else load_captions(request.captions).values()
    safeguard(request, inspection, [*texts, *captions])
    check_headers(placebos_of(request), "unknown" if inspection is None else inspection.family)
    photos = load_photos(photo_files, "photo", pair.resolution, root=_root(request.photos))
    controls = load_photos(control_files, "control", pair.resolution, root=_root(request.controls))
    check_disjoint(photos, controls)
    negatives = load_negatives(request, pair, photos, controls)
    photos, dropped = drop_duplicates(photos)
    controls, more = drop_duplicates(controls)
    check_counts(len(photos), len(controls))
    photos, controls, steps = _canonical(request, pair, photos, controls, progress)
    return Opened(pair, inspection, photos, controls, negatives, (*dropped, *more), steps)


def safeguard(request: Request, inspection: Inspection | None, texts: Sequence[str] = ()) -> None:
    """Stop before any sampling when anything points to a minor; no picture is opened for it.

    Args:
        request: its names, prompts, suspect and shadow.
        inspection: of the suspect's file; None for a full checkpoint.
        texts: further captions and prompts that will be used.

    Raises:
        ForensicsError: MINOR_SUSPECTED; only `inspect` may go on.
    """
    signs = model_signs(request.tuned, inspection)
    origin, source = request.label_0
    if origin == "shadow" and source is not None:
        signs += model_signs(source)
    signs += stop_words([*request.prompts, *texts, *_names(request)])
    stop_if_minor(signs, flagged=request.minor_suspected)


def _names(request: Request) -> list[str]:
    """Names of all photos, and of the placebos, whose losses alone are measured."""
    origin, source = request.label_0
    folders = [request.photos, request.controls]
    if origin == "folder" and source is not None:
        folders.append(source)
    names = [name for folder in folders for name in names_in(folder)]
    if request.placebos is not None and (files := placebos_of(request)):
        names += [own_name(request.placebos), *(file.name for file in files)]
    return names


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
