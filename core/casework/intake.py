"""What is checked before any work: folders, counts, the suspect's file, the stop for minors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import ForensicsError, NotEnoughDataError, RunError
from ..lora.inspection import Inspection

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


def check_counts(photos: int, controls: int) -> None:
    """Enough of both to compare at all; too few for a verdict is a verdict (D), not an error.

    Raises:
        NotEnoughDataError: ONE_PHOTO or TOO_FEW_CONTROLS.
    """
    if photos < MIN_PHOTOS:
        raise NotEnoughDataError(
            "ONE_PHOTO",
            f"{photos} photo was given; a set-level test needs at least {MIN_PHOTOS} different "
            "photos. Add further photos of the same origin",
        )
    if controls < MIN_CONTROLS:
        raise NotEnoughDataError(
            "TOO_FEW_CONTROLS",
            f"{controls} control was given; at least {MIN_CONTROLS} are needed, 100 or more for "
            "a false-alarm rate of 1%. Add photos of the same source that were certainly not used",
        )


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


def recovered_prompts(inspection: Inspection | None) -> tuple[str, ...]:
    """Prompts that the file's metadata suggests, at most four; empty when it says nothing.

    The stated trigger phrase and captions that at least half of the photos carry come first;
    else folder names, else the commonest caption.
    """
    if inspection is None:
        return ()
    claims = inspection.claims
    stated = [claims.text[k] for k in ("trigger_phrase",) if k in claims.text]
    captions = [p for p in claims.prompts if p.source == "caption"]
    common = [p.text for p in captions if claims.images and 2 * p.count >= claims.images]
    folders = [p.text for p in claims.prompts if p.source == "folder"]
    found = [*stated, *common] or folders or [p.text for p in captions[:1]]
    return tuple(dict.fromkeys(found))[:MAX_PROMPTS]
