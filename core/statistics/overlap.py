"""How well a map finds a region: IoU, PBCA, F1, average precision, and what guessing would score.

Masks are boolean, True where a photo was repainted.

Source: the authors' code of arXiv 2311.04584, read in specification localization.md, section 3. Its
conventions, and ours where ours differ: a map counts where it is *strictly* above 0.5; an empty
union is an IoU of 1 (others print 0 for it); only repainted photos enter IoU and PBCA.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError, NotEnoughDataError, plural

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
THRESHOLD = 0.5
PAPER_DRAWS, PAPER_SEED = 5, 1337


@dataclass(frozen=True, slots=True)
class Overlap:
    """One map against one mask.

    Attributes:
        iou: repainted pixels marked among those marked or repainted; 1 if there is neither.
        pbca: share of pixels called rightly (pixel-wise binary classification accuracy).
        f1: harmonic mean of precision and recall; 1 if nothing was marked or repainted.
        pixel_ap: average precision of the soft map over pixels; NaN where nothing was repainted.
        area: share of repainted pixels: the IoU and PBCA of calling every pixel repainted, and
            1 minus the PBCA of calling none.
    """

    iou: float
    pbca: float
    f1: float
    pixel_ap: float
    area: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """Mean figures of maps that look at nothing.

    Attributes:
        real_iou: of calling no pixel repainted.
        real_pbca: the same map's.
        fake_iou: of calling every pixel repainted.
        fake_pbca: the same map's.
    """

    real_iou: float
    real_pbca: float
    fake_iou: float
    fake_pbca: float


def iou(marked: Bools, mask: Bools) -> float:
    """Intersection over union; 1 when both are empty.

    Example:
        >>> iou(np.array([True, True, False]), np.array([False, True, True]))
        0.3333333333333333
    """
    _same_shape(marked, mask)
    union = np.logical_or(marked, mask).sum()
    return float(np.logical_and(marked, mask).sum() / union) if union else 1.0


def pbca(marked: Bools, mask: Bools) -> float:
    """Share of pixels on which the two agree."""
    _same_shape(marked, mask)
    return float((marked == mask).mean())


def f1(marked: Bools, mask: Bools) -> float:
    """Twice the intersection over the sum of both areas; 1 when both are empty."""
    _same_shape(marked, mask)
    both = marked.sum() + mask.sum()
    return float(2 * np.logical_and(marked, mask).sum() / both) if both else 1.0


def pixel_ap(soft: Floats, mask: Bools) -> float:
    """Average precision over the pixels of one photo; NaN where nothing was repainted."""
    _same_shape(soft, mask)
    if not mask.any():
        return float("nan")
    return _average_precision(mask.ravel(), soft.ravel())


def overlap(soft: Floats, mask: Bools, threshold: float = THRESHOLD) -> Overlap:
    """All figures of one map.

    Args:
        soft: ``[H, W]``, higher where repainted.
        mask: ``[H, W]``.
        threshold: a pixel is marked strictly above it.

    Raises:
        InputError: sizes differ or a value is not finite (BAD_SHAPE, NON_FINITE).
    """
    soft, mask = np.asarray(soft), np.asarray(mask, bool)
    if not np.isfinite(soft).all():
        raise InputError("NON_FINITE", "the map holds values that are not finite")
    marked = soft > threshold
    return Overlap(
        iou(marked, mask), pbca(marked, mask), f1(marked, mask), pixel_ap(soft, mask),
        float(mask.mean()),
    )  # fmt: skip


def baselines(masks: Sequence[Bools]) -> Baselines:
    """What calling nothing, and calling everything, would score on these masks.

    Example:
        >>> baselines([np.array([[True, False], [False, False]])])
        Baselines(real_iou=0.0, real_pbca=0.75, fake_iou=0.25, fake_pbca=0.25)
    """
    if not len(masks):
        raise NotEnoughDataError("NO_MASKS", "no mask was given; figures need one at least")
    none = [(iou(np.zeros_like(m), m), pbca(np.zeros_like(m), m)) for m in masks]
    every = [(iou(np.ones_like(m), m), pbca(np.ones_like(m), m)) for m in masks]
    means = [float(v) for pair in (none, every) for v in np.mean(pair, axis=0)]
    return Baselines(*means)


def image_ap(
    fake: npt.ArrayLike,
    real: npt.ArrayLike,
    *,
    draws: int = PAPER_DRAWS,
    seed: int = PAPER_SEED,
) -> tuple[float, float]:
    """Average precision of image scores, as the authors compute it.

    They draw equal numbers of both classes from one stream of random numbers, untouched photos
    first; the order decides which photos a seed draws.

    Args:
        fake: scores of repainted photos, the positive class.
        real: scores of untouched ones.
        draws: how often equal numbers of both are drawn.
        seed: of the draws.

    Returns:
        Mean, and twice the standard deviation over the draws (which the authors print as +-).

    Raises:
        NotEnoughDataError: an empty class (TOO_FEW_IMAGES).
    """
    negatives, positives = (np.asarray(s, np.float64).tolist() for s in (real, fake))
    count = min(len(positives), len(negatives))
    if not count:
        raise NotEnoughDataError(
            "TOO_FEW_IMAGES",
            f"{len(positives)} repainted and {plural(len(negatives), 'untouched photo')}; average "
            "precision needs both",
        )
    rng, labels = random.Random(seed), np.repeat([0, 1], count)
    each = [
        _average_precision(labels, rng.sample(negatives, count) + rng.sample(positives, count))
        for _ in range(draws)
    ]
    return float(np.mean(each)), float(2 * np.std(each))


def _average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    from sklearn.metrics import average_precision_score  # slow to import, and few need it

    return float(average_precision_score(labels, scores))


def _same_shape(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> None:
    if a.shape != b.shape or not a.size:
        raise InputError(
            "BAD_SHAPE", f"a map of {list(a.shape)} and a mask of {list(b.shape)}; give equal sizes"
        )
