"""How the scores of photos and controls lie: densities above, every single score below."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import CONTROL, FAINT, INK, MOST_POINTS, PHOTO, Array, Numbers, finite, png, span, svg


def scores(
    photos: Numbers, controls: Numbers, *, axis: str, marks: Sequence[tuple[float, str]] = ()
) -> str | None:
    """Distribution of photo and control scores: densities above, every single score below.

    Args:
        photos: one score per photo.
        controls: one score a control.
        axis: name of the score.
        marks: (value, label) of vertical lines, such as control thresholds.
    """
    draw = _scores(photos, controls, axis, marks)
    return None if draw is None else svg(7.2, 4.3, draw)


def scores_png(photos: Numbers, controls: Numbers, *, axis: str, dpi: int = 100) -> bytes | None:
    """`scores` as a PNG file of 7.2 x 4.3 inches."""
    draw = _scores(photos, controls, axis, ())
    return None if draw is None else png(7.2, 4.3, draw, dpi)


def _scores(
    photos: Numbers, controls: Numbers, axis: str, marks: Sequence[tuple[float, str]]
) -> Callable[[Figure], None] | None:
    x, y = finite(photos), finite(controls)
    if not len(x) or not len(y):
        return None

    def draw(figure: Figure) -> None:
        top, low = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.7, 1)})
        limits = span(x, y, np.array([m for m, _ in marks]))
        _densities(top, x, y, limits)
        _strips(low, x, y)
        top.set_xlim(*limits)
        for i, (value, said) in enumerate(marks):
            _mark(top, low, value, said, i)
        low.set_xlabel(axis)
        handles, names = top.get_legend_handles_labels()
        figure.legend(handles[::-1], names[::-1], loc="outside upper left", ncols=2)

    return draw


def _densities(axes: Axes, x: Array, y: Array, limits: tuple[float, float]) -> None:
    grid = np.linspace(*limits, 256)
    for values, colour, style, name in (
        (y, CONTROL, "--", f"controls (n = {len(y):,})"),
        (x, PHOTO, "-", f"photos (n = {len(x):,})"),
    ):
        curve = _density(values, grid)
        axes.fill_between(grid, curve, color=colour, alpha=0.16, lw=0)
        axes.plot(grid, curve, style, color=colour, lw=1.6, label=name)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _density(values: Array, grid: Array) -> Array:
    spread = float(values.std()) or (grid[-1] - grid[0]) / 40
    width = 1.06 * spread * len(values) ** -0.2
    z = (grid[:, None] - values[None, :MOST_POINTS]) / width
    return np.exp(-0.5 * z * z).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def _strips(axes: Axes, x: Array, y: Array) -> None:
    for values, colour, height, shape in ((x, PHOTO, 1.0, "o"), (y, CONTROL, 0.0, "D")):
        shown = values[:MOST_POINTS]
        jitter = ((np.arange(len(shown)) * 0.6180339887) % 1 - 0.5) * 0.5
        size = 15 if len(shown) <= 200 else 6
        axes.scatter(shown, height + jitter, s=size, c=colour, marker=shape, alpha=0.62, lw=0)
        axes.plot([values.mean()] * 2, [height - 0.38, height + 0.38], color=INK, lw=1.8)
    axes.set_yticks([1, 0], ["photos", "controls"])
    axes.set_ylim(-0.6, 1.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _mark(top: Axes, low: Axes, value: float, said: str, place: int) -> None:
    for axes in (top, low):
        axes.axvline(value, color=FAINT, lw=0.9, ls=(0, (2, 2)))
    left, right = top.get_xlim()
    ends = value > left + 0.7 * (right - left)
    top.annotate(
        said,
        (value, 0.99 - 0.12 * place),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if ends else 5, 0),
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
        ha="right" if ends else "left",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
    )
