"""Pictures of a reproduction: the guidance figure, contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from ...images.photos import png_bytes
from ...report.figures import CONTROL, FAINT, LINE, PHOTO, png
from ...storage import write_atomic
from .rows import POINTS

_COLUMNS, _DPI = 8, 130


def guidance_plot(rows: Sequence[Mapping[str, Any]]) -> bytes | None:
    """AUC at each guidance scale with its sound interval, beside the published points, as PNG.

    Args:
        rows: entries of ``reproduction.json``.

    Returns:
        None without a row of the guidance figure.
    """
    keys = {f"6/{point}": float(point) for point in POINTS}
    points = {keys[row["key"]]: row for row in rows if row["key"] in keys}
    if not points:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        published = [row["published"]["auc"] for row in points.values()]
        axes.axhline(0.5, color=FAINT, lw=0.9, ls=(0, (4, 3)), label="chance")
        axes.plot(
            list(points),
            published,
            "--o",
            color=CONTROL,
            lw=1.3,
            ms=4,
            label="published, one seed",
        )
        own = [row["sound"] for row in points.values()]
        areas = [s["auc"] for s in own]
        reach = [[s["auc"] - s["low"] for s in own], [s["high"] - s["auc"] for s in own]]
        axes.errorbar(
            list(points),
            areas,
            yerr=reach,
            fmt="-o",
            color=PHOTO,
            lw=1.6,
            ms=4,
            capsize=3,
            label="ours, 95% for photos and seeds",
        )
        axes.set(xlabel="the paper's guidance scale", ylabel="AUC of row 6", ylim=(0.3, 1.02))
        axes.set_xticks(list(keys.values()))
        axes.grid(axis="y", color=LINE, lw=0.6)
        axes.legend(loc="lower left", handlelength=2.2)

    return png(5.6, 3.6, draw, _DPI)


def save_sheet(images: Tensor, path: Path) -> None:
    """Write images ``[N, 3, h, w]`` in 0..1 as one PNG grid."""
    write_atomic(path, png_bytes(make_grid(images, nrow=_COLUMNS, padding=2, pad_value=1.0)))
