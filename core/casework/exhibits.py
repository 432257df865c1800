"""The small pictures of photos and controls that a report shows, by path in the case folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..images.heat import overlay
from ..images.photos import png_bytes
from ..images.sets import Sets
from ..report.pictures import contact_sheet
from ..storage import write_atomic
from ..verdicts.case import LookAlike
from ..verdicts.evidence import ExtractionEvidence

PICTURE_SIDE = 256


def photo_path(number: int) -> str:
    """A photo's small picture."""
    return f"pictures/photo-{number:04d}.png"


def heat_path(number: int) -> str:
    """Where the adapter helps, over a photo's small picture."""
    return f"pictures/heat-{number:04d}.png"


def control_path(number: int) -> str:
    """A control's small picture; only look-alikes are kept."""
    return f"pictures/control-{number:04d}.png"


def twin_path(number: int) -> str:
    """The small picture of a control that was set aside."""
    return f"pictures/twin-{number:04d}.png"


def small_picture(pixels: Tensor) -> Tensor:
    """``[3, H, W]`` at no more than 256 pixels a side, its shape kept."""
    longest = max(pixels.shape[-2:])
    if longest <= PICTURE_SIDE:
        return pixels
    size = [round(side * PICTURE_SIDE / longest) for side in pixels.shape[-2:]]
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0]


def exhibits(
    sets: Sets, heat: Tensor | None = None, look_alikes: Sequence[LookAlike] = ()
) -> dict[str, Tensor]:
    """Small pictures ``[3, H, W]`` by path: photos, heat maps, controls that look like a photo.

    Args:
        sets: photos and controls.
        heat: ``[n, h, w]``, one map per photo; None where the white-box line did not run.
        look_alikes: those with a path are shown.
    """
    photos = [small_picture(p) for p in sets.photos.images.pixels]
    shown = {photo_path(i): p for i, p in enumerate(photos)}
    if heat is not None:
        shown |= heat_pictures(sets, heat)
    controls = {control_path(i): p for i, p in enumerate(sets.controls.images.pixels)}
    if sets.twins is not None:
        controls |= {twin_path(i): p for i, p in enumerate(sets.twins.images.pixels)}
    listed = (one.picture for one in look_alikes if one.picture)
    return shown | {path: small_picture(controls[path]) for path in listed}


def heat_pictures(sets: Sets, heat: Tensor) -> dict[str, Tensor]:
    """Where the adapter helps, over small pictures of the photos, by path."""
    pairs = zip(sets.photos.images.pixels, heat, strict=True)
    return {heat_path(i): overlay(small_picture(p), m) for i, (p, m) in enumerate(pairs)}


def write_pictures(root: Path, pictures: Mapping[str, Tensor]) -> None:
    """PNG files by path below `root`."""
    for relative, pixels in pictures.items():
        write_atomic(root / relative, png_bytes(pixels))


def pairs_sheet(found: ExtractionEvidence, pictures: Mapping[str, Tensor]) -> bytes:
    """PNG of each extracted picture beside its nearest photo."""
    rows = [(e.file, photo_path(e.nearest_photo), f"{e.similarity:.2f}") for e in found.extracted]
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), pictures)
        return contact_sheet(Path(folder), rows, cell=128)


def grid(pixels: Tensor, columns: int = 8) -> Tensor:
    """Many pictures in rows, as one ``[3, H, W]``."""
    cells = torch.stack([small_picture(p) for p in pixels])
    columns = min(columns, len(cells))
    missing = -len(cells) % columns
    if missing:
        cells = torch.cat([cells, torch.ones_like(cells[:1]).expand(missing, -1, -1, -1)])
    rows = [torch.cat(list(cells[i : i + columns]), 2) for i in range(0, len(cells), columns)]
    return torch.cat(rows, 1)
