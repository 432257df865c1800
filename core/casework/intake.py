"""What is checked before any work: folders, counts, the given models, the stop for minors."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import ForensicsError, InputError, NotEnoughDataError, RunError, plural
from ..images.photos import image_files
from ..lora.claims import Claims, read_claims
from ..lora.header import read_header, sha256_file, sha256_tensors
from ..lora.inspection import Inspection, Severity
from ..lora.safeguard import stop_words

MIN_PHOTOS, MIN_CONTROLS = 2, 2
MAX_PROMPTS = 4


def check_output(out: Path) -> None:
    """The case folder can be made, or is one already; nothing is created.

    Raises:
        RunError: it is a file, or its parent cannot be written (NOT_WRITABLE).
    """
    if out.exists() and not out.is_dir():
        raise RunError("NOT_WRITABLE", f"{out} is a file; give a folder for the case")
    parent = next(p for p in (out, *out.resolve().parents) if p.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunError("NOT_WRITABLE", f"{parent} cannot be written; choose another --out")


def read_given(path: Path) -> bytes:
    """Bytes of a file that a flag names.

    Raises:
        InputError: MISSING_FILE.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "MISSING_FILE", f"{path} cannot be read ({error.strerror}); give a file that is there"
        ) from error


def check_counts(photos: int, controls: int) -> None:
    """Enough of both to compare at all; too few for a verdict is a verdict (D), not an error.

    Raises:
        NotEnoughDataError: ONE_PHOTO or TOO_FEW_CONTROLS.
    """
    if photos < MIN_PHOTOS:
        raise NotEnoughDataError(
            "ONE_PHOTO",
            f"{plural(photos, 'photo')} given; a set-level test needs at least {MIN_PHOTOS} "
            "different photos. Add further photos of the same origin",
        )
    if controls < MIN_CONTROLS:
        raise NotEnoughDataError(
            "TOO_FEW_CONTROLS",
            f"{plural(controls, 'control')} given; at least {MIN_CONTROLS} are needed, 100 or more "
            "for a false-alarm rate of 1%. Add photos of the same source that were certainly not "
            "used",
        )


def check_placebos(files: Sequence[Path], suspect: Collection[str]) -> list[str]:
    """SHA-256 of each file, if no two hold the same tensors and none holds the suspect's.

    A copy with other metadata is another file and the same adapter.

    Args:
        files: the placebos.
        suspect: SHA-256 of the suspect's file and of its tensors' bytes, as far as known.

    Raises:
        InputError: SAME_ADAPTER.
        LoraFormatError: a file is not a safetensors file.
    """
    hashes, tensors = ([hashed(f) for f in files] for hashed in (sha256_file, sha256_tensors))
    for file, *known in zip(files, hashes, tensors, strict=True):
        if not {*known}.isdisjoint(suspect) or tensors.count(known[1]) > 1:
            raise InputError(
                "SAME_ADAPTER",
                f"{file.name} is the suspect or stands there twice, perhaps with other metadata; "
                "each must be another adapter, or the smallest possible p would be too small",
            )
    return hashes


def stop_if_minor(signs: Sequence[str], *, flagged: bool) -> None:
    """The stop that no setting switches off.

    Raises:
        ForensicsError: MINOR_SUSPECTED.
    """
    if signs or flagged:
        raise ForensicsError(
            "MINOR_SUSPECTED",
            "something points to a minor; nothing was sampled and no picture was opened. Do not "
            "open or copy the material. Follow your organisation's procedure, or report to the "
            "hotline of your country (NCMEC CyberTipline, IWF, police). `inspect` still reads "
            "metadata and weights",
        )


def names_in(photos: Path) -> list[str]:
    """Names of a folder of photos, its sessions and its files, which may point to a minor.

    Args:
        photos: folder, or one image file; nothing is opened.

    Raises:
        InputError, NotEnoughDataError: there is no such folder, or no picture in it.
    """
    below = (part for file in image_files(photos) for part in file.relative_to(photos).parts)
    return list(dict.fromkeys([own_name(photos), *below]))


def own_name(path: Path) -> str:
    """The last name of a path, also of one such as ``.`` that has none."""
    return Path(os.path.abspath(path)).name


def model_signs(model: Path, inspection: Inspection | None = None) -> list[str]:
    """Signs of a minor in a model's names and metadata, and in the prompts that these suggest.

    Args:
        model: adapter or checkpoint, a file or a folder; no tensor is read.
        inspection: of the file, where it was inspected already.

    Raises:
        LoraFormatError, UnsafeFileError: a file's header cannot be read.
    """
    if inspection is not None:
        said = stop_words([own_name(model), *recovered_prompts(inspection)])
        return [*said, *inspection.stop_words]
    files = sorted(model.glob("*.safetensors")) if model.is_dir() else [model]
    texts = [own_name(model), *(file.name for file in files)]
    for file in files:
        metadata = read_header(file, allow_zero_size=True).metadata
        texts += [*metadata, *metadata.values(), *claimed_prompts(read_claims(metadata))]
    return stop_words(texts)


def claimed_images(inspection: Inspection | None) -> int:
    """Training images that the file's metadata claims; 0 when it says nothing."""
    return 0 if inspection is None else inspection.claims.images or 0


def base_caveats(inspection: Inspection | None) -> tuple[str, ...]:
    """What a reader must know when the file names another base than the one that was used."""
    findings = () if inspection is None else inspection.findings
    return tuple(
        f"The file names another base: {f.message}."
        for f in findings
        if f.subject == "base" and f.severity == Severity.WARNING
    )


def recovered_prompts(inspection: Inspection | None) -> tuple[str, ...]:
    """Prompts that the file's metadata suggests, at most four; empty when it says nothing."""
    return () if inspection is None else claimed_prompts(inspection.claims)


def claimed_prompts(claims: Claims) -> tuple[str, ...]:
    """Prompts that metadata suggests, at most four.

    The stated trigger phrase and captions that at least half of the photos carry come first;
    else folder names, else the commonest caption.
    """
    stated = [claims.text[k] for k in ("trigger_phrase",) if k in claims.text]
    captions = [p for p in claims.prompts if p.source == "caption"]
    common = [p.text for p in captions if claims.images and 2 * p.count >= claims.images]
    folders = [p.text for p in claims.prompts if p.source == "folder"]
    found = [*stated, *common] or folders or [p.text for p in captions[:1]]
    return tuple(dict.fromkeys(found))[:MAX_PROMPTS]


def named_pictures(given: Sequence[Path]) -> list[tuple[Path, str]]:
    """Pictures in files and folders, each with a plain name of its own for what is made of it."""
    named: dict[str, Path] = {}
    for file in (f for place in given for f in image_files(place)):
        stem, k = file.stem, 2
        while stem in named:
            stem, k = f"{file.stem}-{k}", k + 1
        named[stem] = file
    return [(file, name) for name, file in named.items()]
