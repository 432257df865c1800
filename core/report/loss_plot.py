"""How a fine-tuning learnt: the loss of every step and its running mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from .figures import FAINT, LINE, MOST_POINTS, PHOTO, Array, Numbers, png, with_gaps

_WINDOWS = 40


def losses_png(losses: Numbers, *, dpi: int = 100) -> bytes | None:
    """Losses by step as a PNG file of 7.6 x 3.6 inches; None when no loss is finite.

    Args:
        losses: one an optimizer step, mean squared errors in the model's own units.
        dpi: pixels an inch.
    """
    values = with_gaps(losses)
    if not np.isfinite(values).any():
        return None
    return png(7.6, 3.6, _drawing(values), dpi)


def running_mean(values: Array, width: int) -> Array:
    """Mean of the last `width` values at each place, of fewer at the beginning.

    >>> running_mean(np.array([1.0, 3.0, 5.0]), 2).tolist()
    [1.0, 2.0, 4.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _drawing(values: Array) -> Callable[[Figure], None]:
    steps = np.arange(1, len(values) + 1)
    shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).astype(int))
    width = max(1, len(values) // _WINDOWS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(steps[shown], values[shown], ".", color=FAINT, ms=3, alpha=0.5, label="one step")
        if width > 1:
            mean = running_mean(values, width)
            axes.plot(steps, mean, color=PHOTO, lw=1.6, label=f"mean of the last {width}")
        axes.set(xlabel="optimizer step", ylabel="loss (mean squared error)")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=LINE, lw=0.6)
        axes.legend(loc="best")

    return draw
