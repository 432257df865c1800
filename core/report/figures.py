"""What all plots share: colours, one style, figures as SVG data URIs or PNG files."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
Numbers = Sequence[float | None]

PHOTO, CONTROL, INK, FAINT, LINE = "#1f5f99", "#8a6a33", "#22262b", "#6a717b", "#d9dce1"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lora-forensics",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa1ab",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.usetex": False,
}
_NO_STAMP = {"Date": None, "Creator": None, "Format": None, "Type": None}
MOST_POINTS = 1500


def svg(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """A figure of so many inches as a data URI; equal numbers give equal bytes."""
    data = _rendered(width, height, draw, format="svg", metadata=_NO_STAMP)
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode('ascii')}"


def png(width: float, height: float, draw: Callable[[Figure], None], dpi: int) -> bytes:
    """A figure of so many inches as a PNG file."""
    return _rendered(width, height, draw, format="png", metadata={"Software": None}, dpi=dpi)


def _rendered(width: float, height: float, draw: Callable[[Figure], None], **how: Any) -> bytes:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, **how)
    return buffer.getvalue()


def finite(values: Numbers) -> Array:
    """The finite ones, as float64."""
    x = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return x[np.isfinite(x)]


def with_gaps(values: Numbers) -> Array:
    """All of them, missing ones as NaN."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def span(*groups: Array) -> tuple[float, float]:
    """Limits of an axis that holds all groups, with room at both ends."""
    every = np.concatenate(groups)
    low, high = float(every.min()), float(every.max())
    pad = 0.1 * (high - low) or max(abs(high) * 0.1, 0.1)
    return low - pad, high + pad
