"""Plots of the report: pure functions from numbers to SVG data URIs; no text of the user enters.

`attack_training` gives PNG bytes instead where a host shows pictures and not pages.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..metrics import auc as area_under

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
_MOST_POINTS = 1500


def _svg(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    data = _rendered(width, height, draw, format="svg", metadata=_NO_STAMP)
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode('ascii')}"


def _png(width: float, height: float, draw: Callable[[Figure], None], dpi: int) -> bytes:
    return _rendered(width, height, draw, format="png", metadata={"Software": None}, dpi=dpi)


def _rendered(width: float, height: float, draw: Callable[[Figure], None], **how: Any) -> bytes:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, **how)
    return buffer.getvalue()


def _finite(values: Numbers) -> Array:
    x = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return x[np.isfinite(x)]


def _with_gaps(values: Numbers) -> Array:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _span(*groups: Array) -> tuple[float, float]:
    every = np.concatenate(groups)
    low, high = float(every.min()), float(every.max())
    pad = 0.1 * (high - low) or max(abs(high) * 0.1, 0.1)
    return low - pad, high + pad


def scores(
    photos: Numbers, controls: Numbers, *, axis: str, marks: Sequence[tuple[float, str]] = ()
) -> str | None:
    """Distribution of photo and control scores: densities above, every single score below.

    Args:
        photos: one score a photo.
        controls: one score a control.
        axis: name of the score.
        marks: (value, label) of vertical lines, such as control thresholds.
    """
    x, y = _finite(photos), _finite(controls)
    if not len(x) or not len(y):
        return None

    def draw(figure: Figure) -> None:
        top, low = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.7, 1)})
        limits = _span(x, y, np.array([m for m, _ in marks]))
        _densities(top, x, y, limits)
        _strips(low, x, y)
        top.set_xlim(*limits)
        for i, (value, said) in enumerate(marks):
            _mark(top, low, value, said, i)
        low.set_xlabel(axis)
        handles, names = top.get_legend_handles_labels()
        figure.legend(handles[::-1], names[::-1], loc="outside upper left", ncols=2)

    return _svg(7.2, 4.3, draw)


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
    z = (grid[:, None] - values[None, :_MOST_POINTS]) / width
    return np.exp(-0.5 * z * z).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def _strips(axes: Axes, x: Array, y: Array) -> None:
    for values, colour, height, shape in ((x, PHOTO, 1.0, "o"), (y, CONTROL, 0.0, "D")):
        shown = values[:_MOST_POINTS]
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


def roc(photos: Numbers, controls: Numbers, legend: str) -> str | None:
    """ROC curve of photos against controls, with an inset for low false-alarm rates."""
    x, y = _finite(photos), _finite(controls)
    if not len(x) or not len(y):
        return None
    fpr, tpr = _steps(x, y)

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

    return _svg(4.1, 4.3, draw)


def _steps(x: Array, y: Array) -> tuple[Array, Array]:
    cuts = np.unique(np.concatenate((x, y)))[::-1]
    tpr = 1 - np.searchsorted(np.sort(x), cuts, side="left") / len(x)
    fpr = 1 - np.searchsorted(np.sort(y), cuts, side="left") / len(y)
    return np.concatenate(([0.0], fpr)), np.concatenate(([0.0], tpr))


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
    curves = [_with_gaps(g[k]) for g in (photo, control) for k in ("base", "tuned")]
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

    return _svg(11.4, 3.7, draw)


def dots(values: Numbers, *, axis: str, mark: tuple[float, str], zero: bool = True) -> str | None:
    """A row of values beside one marked value: effects over seeds, or nulls beside the suspect."""
    x = _finite(values)
    if not len(x) or mark[0] is None:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        heights = ((np.arange(len(x)) * 0.6180339887) % 1 - 0.5) * (0.7 if len(x) > 8 else 0.3)
        axes.scatter(x, heights, s=26, c=CONTROL if not zero else PHOTO, alpha=0.75, lw=0)
        axes.plot([mark[0]] * 2, [-0.75, 0.75], color=INK if zero else PHOTO, lw=2)
        if zero:
            axes.axvline(0, color=FAINT, lw=0.9, ls=(0, (2, 2)))
        limits = _span(x, np.array([mark[0]] + ([0.0] if zero else [])))
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

    return _svg(5.2, 1.6, draw)


def forest(rows: Sequence[tuple[str, float | None, float | None, float | None]]) -> str | None:
    """AUC and interval of each line of evidence on one axis; (name, auc, low, high) a row."""
    if not any(auc is not None for _, auc, _, _ in rows):
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for i, (_, auc, low, high) in enumerate(rows):
            if auc is None:
                axes.text(0.51, i, "not run", va="center", color=FAINT)
                continue
            if low is not None and high is not None:
                axes.plot([low, high], [i, i], color=PHOTO, lw=2.2, solid_capstyle="butt")
            axes.plot(auc, i, "o", color=PHOTO, ms=7)
            axes.text(1.012, i, f"{auc:.2f}", va="center", fontsize=9)
        axes.axvline(0.5, color=FAINT, lw=1, ls=(0, (4, 3)))
        lowest = min([0.4] + [low for _, _, low, _ in rows if low is not None])
        axes.set(xlim=(max(0.0, lowest - 0.03), 1.0), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [r[0] for r in rows], fontsize=9)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("AUC with 95% interval (0.5, dashed: photos and controls look alike)")
        axes.grid(axis="x", color=LINE, lw=0.6)

    return _svg(11.4, 0.8 + 0.4 * len(rows), draw)


def spectra(curves: Sequence[Numbers], note: str = "") -> str | None:
    """Singular values of the adapter's modules, each divided by its largest."""
    shown = [c for c in (_finite(c) for c in curves) if len(c) and c.max() > 0]
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
        axes.set_title(f"{len(shown)} modules; black: median{note}", fontsize=8.5, color=FAINT)

    return _svg(5.2, 2.6, draw)


def attack_training(
    epochs: Sequence[Numbers], heldout: Sequence[tuple[Numbers, Numbers]]
) -> str | None:
    """How the attack learnt: loss of each epoch, and ROC of held-out generated images.

    Args:
        epochs: for each seed, its mean cross-entropy (nats) at each epoch.
        heldout: for each seed, its logits of held-out tuned and of held-out negative images; a
            seed that held out one kind alone has no ROC.
    """
    draw = _training(epochs, heldout)
    return None if draw is None else _svg(11.4, 4.3, draw)


def attack_training_png(
    epochs: Sequence[Numbers], heldout: Sequence[tuple[Numbers, Numbers]], *, dpi: int = 100
) -> bytes | None:
    """`attack_training` as a PNG file of 11.4 x 4.3 inches: 1140 x 430 pixels at 100 dpi."""
    draw = _training(epochs, heldout)
    return None if draw is None else _png(11.4, 4.3, draw, dpi)


def _training(
    epochs: Sequence[Numbers], heldout: Sequence[tuple[Numbers, Numbers]]
) -> Callable[[Figure], None] | None:
    curves = [c for c in map(_with_gaps, epochs) if np.isfinite(c).any()]
    pairs = [(_finite(tuned), _finite(other)) for tuned, other in heldout]
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.7, 1)})
        _epochs(left, curves)
        _heldout(right, [(x, y) for x, y in pairs if len(x) and len(y)])

    return draw


def _epochs(axes: Axes, curves: Sequence[Array]) -> None:
    longest = max(len(c) for c in curves)
    grid = np.full((len(curves), longest), np.nan)
    for row, c in zip(grid, curves, strict=True):
        row[: len(c)] = c
    seen = np.flatnonzero(np.isfinite(grid).any(axis=0))
    for i, c in enumerate(curves):
        name = "each seed" if i == 0 else None
        axes.plot(np.arange(1, len(c) + 1), c, "-o", color=PHOTO, lw=1, ms=3, alpha=0.5, label=name)
    if len(curves) > 1:
        axes.plot(seen + 1, np.nanmean(grid[:, seen], axis=0), color=INK, lw=2, label="mean")
    axes.axhline(np.log(2), color=FAINT, lw=0.9, ls=(0, (4, 3)), label="coin toss (ln 2)")
    axes.set(xlabel="epoch", ylabel="training loss (cross-entropy, nats)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(axis="y", color=LINE, lw=0.6)
    axes.legend(loc="best", handlelength=2.2)


def _heldout(axes: Axes, pairs: Sequence[tuple[Array, Array]]) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.9, ls=(0, (4, 3)), label="chance")
    areas = []
    for x, y in pairs:
        fpr, tpr = _steps(x, y)
        areas.append(area_under(x, y))
        axes.plot(fpr, tpr, color=PHOTO, lw=1.2, alpha=0.6, drawstyle="steps-post")
    if areas:
        said = f"{len(areas)} seeds, mean AUC {np.mean(areas):.2f}"
        said = f"AUC {areas[0]:.2f}" if len(areas) == 1 else said
        axes.plot([], [], color=PHOTO, lw=1.2, label=said)
    else:
        axes.text(0.35, 0.88, "too few held-out images", ha="center", color=FAINT)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("held-out negatives above threshold")
    axes.set_ylabel("held-out tuned images above threshold")
    axes.grid(color=LINE, lw=0.6)
    axes.legend(loc="lower right", handlelength=1.8)
