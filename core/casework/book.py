"""Writes a finished case: what it lists, its report and its twin; needs no model library."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from .. import __version__
from ..errors import InputError
from ..images.photos import Photos
from ..report.redaction import redact
from ..report.twin import REDACTED_NAME, render_json
from ..storage import write_atomic
from ..verdicts.evidence import SCHEMA_VERSION, Case, ItemRecord

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "scipy", "scikit-learn")
PICTURE_SIDE = 256


def tool_facts() -> dict[str, str]:
    """Versions of the tool and of what it stands on, and the machine's kind."""
    facts = {"lora-forensics": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "missing"
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return facts


def item_records(
    photos: Photos, kind: str, pictures: dict[int, str], heat: dict[int, str] | None = None
) -> tuple[ItemRecord, ...]:
    """Photos as the report lists them: by number and hash, never by name."""
    exhibits = heat or {}
    return tuple(
        ItemRecord(
            i,
            f"{kind} {i}",
            f.sha256,
            s.sha256,
            f.width,
            f.height,
            f.format,
            pictures.get(i, ""),
            exhibits.get(i, ""),
        )
        for i, (f, s) in enumerate(zip(photos.facts, photos.images.sources, strict=True))
    )


def picture_unit(number: int) -> str:
    """Path of a photo's small picture below the case folder, without its suffix."""
    return f"pictures/photo-{number:04d}"


def heat_unit(number: int) -> str:
    """Path of a photo's heat map below the case folder, without its suffix."""
    return f"pictures/heat-{number:04d}"


def small_picture(pixels: torch.Tensor) -> torch.Tensor:
    """``[3, H, W]`` at no more than 256 pixels a side, its shape kept."""
    longest = max(pixels.shape[-2:])
    if longest <= PICTURE_SIDE:
        return pixels
    size = [round(side * PICTURE_SIDE / longest) for side in pixels.shape[-2:]]
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def write_report(root: Path, case: Case) -> None:
    """Write report.json and report.html."""
    twin = render_json(asdict(case))
    write_atomic(root / "report.json", twin.encode())
    write_atomic(root / "report.html", _html(_reread(root), root).encode())


def rewrite_report(root: Path) -> Path:
    """Draw report.html again from report.json.

    Raises:
        InputError: the folder holds no report.json (NOT_A_CASE), or it cannot be read.
    """
    html = _html(_reread(root), root)
    write_atomic(root / "report.html", html.encode())
    return root / "report.html"


def write_redacted(root: Path) -> tuple[Path, Path]:
    """Write report-redacted.html and report-redacted.json from report.json; see `redact`.

    Raises:
        InputError: the folder holds no report.json (NOT_A_CASE), or it cannot be read.
    """
    case = redact(_reread(root))
    html, twin = root / "report-redacted.html", root / REDACTED_NAME
    write_atomic(twin, render_json(case).encode())
    write_atomic(html, _html(case, root).encode())
    return html, twin


def _html(case: dict[str, Any], root: Path) -> str:
    from ..report.html import render_html  # matplotlib: half of the pack's import time

    return render_html(case, root)


def _reread(root: Path) -> dict[str, Any]:
    import json

    path = root / "report.json"
    if not path.is_file():
        raise InputError("NOT_A_CASE", f"{root} holds no report.json; give a finished case folder")
    try:
        case = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError("CORRUPT_REPORT", f"{path} is no JSON: {error}") from error
    if not isinstance(case, dict) or "schema_version" not in case:
        raise InputError("CORRUPT_REPORT", f"{path} has no schema_version")
    return _upgraded(case)


def _upgraded(case: dict[str, Any]) -> dict[str, Any]:
    """A case of schema 1, which knew one rank among noise adapters, as one of today."""
    membership = case.get("membership")
    if isinstance(membership, dict) and "null_rank" in membership:
        old = membership.pop("null_rank")
        area = dict.fromkeys(("difference", "low", "high"))
        rank = {"kind": "noise", "photo_p": [], "difference": area, "note": ""}
        membership["null_ranks"] = [rank | old] if old else []
    return case | {"schema_version": SCHEMA_VERSION}
