"""Plots of the report: pure functions from numbers to SVG data URIs; no text of the user enters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ..errors import plural
from . import text
from .figures import CONTROL, FAINT, INK, LINE, PHOTO, Array, Numbers, finite, span, svg, with_gaps


def roc(photos: Numbers, controls: Numbers, legend: str) -> str | None:
    """ROC curve of photos against controls, with an inset for low false-alarm rates."""
    x, y = finite(photos), finite(controls)
    if not len(x) or not len(y):
        return None
    fpr, tpr = roc_steps(x, y)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, lw=0.9, ls=(0, (4, 3)), label="chance")
        axes.plot(fpr, tpr, color=PHOTO, lw=1.8, label=legend, drawstyle="steps-post")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("controls above threshold")
        axes.set_ylabel("photos above threshold")
        axes.grid(color=LINE, lw=0.6)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], names[::-1], loc="outside upper left", handlelength=1.8)
        _inset(axes, fpr, tpr, 1 / len(y))

    return svg(4.1, 4.3, draw)


def roc_steps(x: Array, y: Array) -> tuple[Array, Array]:
    """Corners of the ROC of scores `x` against `y`: false and true positive rates."""
    labels = np.repeat([1, 0], [len(x), len(y)])
    fpr, tpr, _ = roc_curve(labels, np.concatenate((x, y)), drop_intermediate=False)
    return fpr, tpr


def _inset(axes: Axes, fpr: Array, tpr: Array, finest: float) -> None:
    floor = min(finest, 0.1) / 1.5
    box = axes.inset_axes((0.54, 0.1, 0.43, 0.4))
    box.plot(np.maximum(fpr, floor), tpr, color=PHOTO, lw=1.5, drawstyle="steps-post")
    line = np.geomspace(floor, 1, 60)
    box.plot(line, line, color=FAINT, lw=0.8, ls=(0, (4, 3)))
    box.set_xscale("log")
    box.set(xlim=(floor, 1), ylim=(0, 1.03))
    box.set_xticks([t for t in (0.001, 0.01, 0.1, 1) if t >= floor])
    box.set_xticklabels([f"{t:g}" for t in (0.001, 0.01, 0.1, 1) if t >= floor])
    box.minorticks_off()
    box.set_yticks([0, 1])
    box.tick_params(labelsize=7, length=2)
    box.set_title("same, log scale", fontsize=7.5, color=FAINT, pad=3)


def losses(
    timesteps: Sequence[int], photo: dict[str, Numbers], control: dict[str, Numbers]
) -> str | None:
    """Loss of base and tuned at each timestep, and the drop that the adapter brought."""
    t = np.array(timesteps, dtype=np.float64)
    curves = [with_gaps(g[k]) for g in (photo, control) for k in ("base", "tuned")]
    if not len(t) or any(len(c) != len(t) for c in curves):
        return None

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for i, (name, colour) in enumerate((("photos", PHOTO), ("controls", CONTROL))):
            base, tuned = curves[2 * i], curves[2 * i + 1]
            left.plot(t, base, "--", color=colour, lw=1.2, label=f"{name}, base")
            left.plot(t, tuned, "-", color=colour, lw=1.8, label=f"{name}, tuned")
            gain = 100 * (1 - tuned / np.where(base > 0, base, np.nan))
            right.plot(t, gain, "-o", color=colour, lw=1.8, ms=4, label=name)
        right.axhline(0, color=FAINT, lw=0.9)
        left.set_ylabel("mean denoising loss")
        right.set_ylabel("loss removed by the adapter (%)")
        for axes in (left, right):
            axes.set_xlabel("timestep (more noise to the right)")
            axes.grid(axis="y", color=LINE, lw=0.6)
            axes.legend(loc="best", handlelength=2.2)

    return svg(11.4, 3.7, draw)


def dots(values: Numbers, *, axis: str, mark: tuple[float, str], zero: bool = True) -> str | None:
    """A row of values beside one marked value: effects over seeds, or nulls beside the suspect."""
    x = finite(values)
    if not len(x) or mark[0] is None:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        heights = ((np.arange(len(x)) * 0.6180339887) % 1 - 0.5) * (0.7 if len(x) > 8 else 0.3)
        axes.scatter(x, heights, s=26, c=CONTROL if not zero else PHOTO, alpha=0.75, lw=0)
        axes.plot([mark[0]] * 2, [-0.75, 0.75], color=INK if zero else PHOTO, lw=2)
        if zero:
            axes.axvline(0, color=FAINT, lw=0.9, ls=(0, (2, 2)))
        limits = span(x, np.array([mark[0]] + ([0.0] if zero else [])))
        side = "right" if mark[0] > sum(limits) / 2 else "left"
        axes.annotate(
            mark[1],
            (mark[0], 0.85),
            xytext=(-4 if side == "right" else 4, 0),
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
        )
        axes.set(xlim=limits, ylim=(-0.9, 1.35), yticks=[], xlabel=axis)
        axes.spines["left"].set_visible(False)

    return svg(5.2, 1.6, draw)


def forest(
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    faint: Sequence[bool] = (),
) -> str | None:
    """AUC and interval of each line of evidence on one axis.

    Args:
        rows: (name, auc, low, high) of each; a name from a file goes through `plain_words` first.
        faint: rows shown for comparison only; none when empty.
    """
    if not any(auc is not None for _, auc, _, _ in rows):
        return None
    pale = list(faint) or [False] * len(rows)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (row, grey) in enumerate(zip(rows, pale, strict=True)):
            _whisker(axes, i, row[1:], FAINT if grey else PHOTO)
        axes.axvline(0.5, color=FAINT, lw=1, ls=(0, (4, 3)))
        lowest = min([0.4] + [low for _, _, low, _ in rows if low is not None])
        axes.set(xlim=(max(0.0, lowest - 0.03), 1.0), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [r[0] for r in rows], fontsize=9, parse_math=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("AUC with 95% interval (0.5, dashed: photos and controls look alike)")
        axes.grid(axis="x", color=LINE, lw=0.6)

    wide, high = (11.4, 0.4) if len(rows) < 6 else (9.4, 0.27)
    return svg(wide, 0.8 + high * len(rows), draw)


def _whisker(axes: Axes, at: int, values: Sequence[float | None], colour: str) -> None:
    auc, low, high = values
    if auc is None:
        axes.text(0.51, at, "not run", va="center", color=FAINT)
        return
    if low is not None and high is not None:
        axes.plot([low, high], [at, at], color=colour, lw=2.2, solid_capstyle="butt")
    axes.plot(
        auc, at, "o", color=colour, ms=7, mfc="white" if colour == FAINT else colour, clip_on=False
    )
    axes.text(1.012, at, f"{auc:.2f}", va="center", fontsize=9)


def plain_words(name: str, most: int = 40) -> str:
    """A name that any font can draw: visible Latin-1 characters on one line, cut to length."""
    shown = " ".join(text.clean(str(name), most).split())
    return shown.encode("latin-1", "replace").decode("latin-1")


def spectra(curves: Sequence[Numbers], note: str = "") -> str | None:
    """Singular values of the adapter's modules, each divided by its largest."""
    shown = [c for c in (finite(c) for c in curves) if len(c) and c.max() > 0]
    if not shown:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        faint = min(0.6, max(0.06, 12 / len(shown)))
        for c in shown[:400]:
            axes.plot(np.arange(1, len(c) + 1), c / c.max(), color=PHOTO, lw=0.9, alpha=faint)
        longest = max(len(c) for c in shown)
        grid = np.full((len(shown), longest), np.nan)
        for row, c in zip(grid, shown, strict=True):
            row[: len(c)] = c / c.max()
        axes.plot(np.arange(1, longest + 1), np.nanmedian(grid, axis=0), color=INK, lw=2)
        axes.set(ylim=(0, 1.04), xlabel="singular value number", ylabel="share of the largest")
        axes.grid(axis="y", color=LINE, lw=0.6)
        axes.set_title(
            f"{plural(len(shown), 'module')}; black: median{note}", fontsize=8.5, color=FAINT
        )

    return svg(5.2, 2.6, draw)
