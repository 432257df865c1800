"""From a request to models and photos in memory, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..attack.classifier import check_weights
from ..backends.diffusers import DiffusersPair
from ..backends.loading import load_base, pair_of
from ..backends.networks import Networks
from ..errors import InputError
from ..images.canonical import canonical
from ..images.captions import load_captions
from ..images.photos import Photos
from ..images.sets import Sets
from ..lora.inspection import Inspection
from ..lora.safeguard import stop_words
from ..protocols import Progress
from .intake import check_counts, check_output, model_signs, names_in, own_name, stop_if_minor
from .photo_sets import PhotoSet, compared_sets, folder_set
from .placebos import check_headers, placebos_of
from .questions import inspect_pair, load_negatives
from .request import Request


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A suspect and the photos in question.

    Attributes:
        pair: base and tuned model; `pair.close` gives back what it holds.
        inspection: of the suspect's file; None for a full checkpoint.
        sets: photos in question and controls.
        negatives: label-0 images of the attack, where the person gave a folder of them.
        dropped: names of files that were there twice.
        steps: what photos and controls went through alike, in words.
    """

    pair: DiffusersPair
    inspection: Inspection | None
    sets: Sets
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
    folders = check_folders(request)
    suspect = open_suspect(request, open_base(request))
    return open_sets(request, folders, *suspect, progress=progress, texts=texts)


def check_folders(request: Request) -> tuple[PhotoSet, PhotoSet]:
    """Photos and controls as files, and whether the case can be written; no picture is opened.

    Raises:
        ForensicsError: one of its named kinds.
    """
    check_output(request.out)
    if not request.tuned.exists():
        raise InputError("MISSING_FILE", f"there is no file or folder {request.tuned}")
    photos, controls = folder_set(request.photos), folder_set(request.controls)
    check_counts(len(photos), len(controls))
    if request.attack_weights is not None:
        check_weights(request.attack_weights)
    return photos, controls


def open_sets(
    request: Request,
    folders: tuple[PhotoSet, PhotoSet],
    pair: DiffusersPair,
    inspection: Inspection | None,
    *,
    progress: Progress,
    texts: Sequence[str] = (),
) -> Opened:
    """Photos and controls for a suspect that was opened; arguments and errors as `open_request`."""
    captions = [] if request.captions is None else load_captions(request.captions).values()
    safeguard(request, inspection, [*texts, *captions])
    check_headers(placebos_of(request), "unknown" if inspection is None else inspection.family)
    sets, dropped = compared_sets(*folders, pair.resolution, progress)
    negatives = load_negatives(request, pair, sets)
    sets, steps = _canonical(request, pair, sets, progress)
    return Opened(pair, inspection, sets, negatives, dropped, steps)


def open_base(request: Request) -> Networks:
    """The base, whose errors are the person's to mend; errors as `load_base`."""
    return load_base(request.base, device=request.device, dtype=request.dtype)


def open_suspect(request: Request, base: Networks) -> tuple[DiffusersPair, Inspection | None]:
    """The models, and the inspection of the suspect's file (None for a full checkpoint).

    Raises:
        UnsafeFileError, LoraFormatError: the suspect is hostile, broken, or of another base.
        ForensicsError: others of its kinds.
    """
    pair = pair_of(base, request.tuned, strength=request.strength)
    return pair, inspect_pair(pair, request.base)


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


def _canonical(
    request: Request, pair: DiffusersPair, sets: Sets, progress: Progress
) -> tuple[Sets, tuple[str, ...]]:
    """Photos and controls through the same steps, and the steps in words."""
    spec = request.spec.canonical
    photos, log = canonical(pair, sets.photos, spec, progress=progress)
    controls, _ = canonical(pair, sets.controls, spec, progress=progress)
    return replace(sets, photos=photos, controls=controls), log
