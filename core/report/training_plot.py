"""How the attack learnt: losses and ROC on held-out generated images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..statistics.auc import auc as area_under
from .figures import FAINT, INK, LINE, PHOTO, Array, Numbers, finite, png, svg, with_gaps
from .plots import roc_steps


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
    return None if draw is None else svg(11.4, 4.3, draw)


def attack_training_png(
    epochs: Sequence[Numbers], heldout: Sequence[tuple[Numbers, Numbers]], *, dpi: int = 100
) -> bytes | None:
    """`attack_training` as a PNG file of 11.4 x 4.3 inches: 1140 x 430 pixels at 100 dpi."""
    draw = _training(epochs, heldout)
    return None if draw is None else png(11.4, 4.3, draw, dpi)


def _training(
    epochs: Sequence[Numbers], heldout: Sequence[tuple[Numbers, Numbers]]
) -> Callable[[Figure], None] | None:
    curves = [c for c in map(with_gaps, epochs) if np.isfinite(c).any()]
    pairs = [(finite(tuned), finite(other)) for tuned, other in heldout]
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
        fpr, tpr = roc_steps(x, y)
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
