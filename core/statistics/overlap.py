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
        iou: repainted pixels found among those found or repainted; 1 if there is neither.
        pbca: share of pixels called rightly (pixel-wise binary classification accuracy).
        f1: harmonic mean of precision and recall; 1 if nothing was found or repainted.
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


def iou(found: Bools, mask: Bools) -> float:
    """Intersection over union; 1 when both are empty.

    Example:
        >>> iou(np.array([True, True, False]), np.array([False, True, True]))
        0.3333333333333333
    """
    _same_shape(found, mask)
    union = np.logical_or(found, mask).sum()
    return float(np.logical_and(found, mask).sum() / union) if union else 1.0


def pbca(found: Bools, mask: Bools) -> float:
    """Share of pixels on which the two agree."""
    _same_shape(found, mask)
    return float((found == mask).mean())


def f1(found: Bools, mask: Bools) -> float:
    """Twice the intersection over the sum of both areas; 1 when both are empty."""
    _same_shape(found, mask)
    both = found.sum() + mask.sum()
    return float(2 * np.logical_and(found, mask).sum() / both) if both else 1.0


def pixel_ap(soft: Floats, mask: Bools) -> float:
    """Average precision over the pixels of one photo; NaN where nothing was repainted."""
    _same_shape(soft, mask)
    if not mask.any():
        return float("nan")
    return average_precision(mask.ravel(), soft.ravel())


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean precision over positives, ranked by score; equal scores are one threshold.

    Args:
        labels: ``[N]``, true for positives; at least one is.
        scores: ``[N]``, higher for positives.

    Source:
        ``sum_k (R_k - R_{k-1}) P_k`` over distinct thresholds, without interpolation.

    Example:
        >>> average_precision([True, False, True], [3.0, 2.0, 1.0])
        0.8333333333333333
    """
    y, s = np.asarray(labels, bool), np.asarray(scores, np.float64)
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)
    hits = np.cumsum(y[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1])


def overlap(soft: Floats, mask: Bools, threshold: float = THRESHOLD) -> Overlap:
    """All figures of one map.

    Args:
        soft: ``[H, W]``, higher where repainted.
        mask: ``[H, W]``.
        threshold: a pixel is found strictly above it.

    Raises:
        InputError: sizes differ or a value is not finite (BAD_SHAPE, NON_FINITE).
    """
    soft, mask = np.asarray(soft), np.asarray(mask, bool)
    if not np.isfinite(soft).all():
        raise InputError("NON_FINITE", "the map holds values that are no numbers")
    found = soft > threshold
    return Overlap(
        iou(found, mask), pbca(found, mask), f1(found, mask), pixel_ap(soft, mask),
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


def best_f1(soft: Sequence[Floats], masks: Sequence[Bools]) -> tuple[float, float]:
    """Highest mean F1 over thresholds 0.05 to 0.95, and its threshold.

    The threshold is chosen on the photos it is judged on: a ceiling, not a result.
    """
    cuts = np.arange(1, 20) / 20
    table = [
        np.mean([f1(s > c, np.asarray(m, bool)) for s, m in zip(soft, masks, strict=True)])
        for c in cuts
    ]
    best = int(np.argmax(table))
    return float(table[best]), float(cuts[best])


def image_ap(
    fake: npt.ArrayLike,
    real: npt.ArrayLike,
    *,
    draws: int = PAPER_DRAWS,
    seed: int = PAPER_SEED,
) -> tuple[float, float]:
    """Average precision of image scores, as the authors compute it.

    Args:
        fake: scores of repainted photos, the positive class.
        real: scores of untouched ones.
        draws: equal numbers of both are drawn so many times.
        seed: of the draws.

    Returns:
        Mean, and twice the standard deviation over the draws (which the authors print as +-).

    Raises:
        NotEnoughDataError: an empty class (TOO_FEW_IMAGES).
    """
    positives, negatives = (np.asarray(s, np.float64) for s in (fake, real))
    count = min(len(positives), len(negatives))
    if not count:
        raise NotEnoughDataError(
            "TOO_FEW_IMAGES",
            f"{len(positives)} repainted and {plural(len(negatives), 'untouched photo')}; average "
            "precision needs both",
        )
    rng = random.Random(seed)
    found = []
    for _ in range(draws):
        chosen = [np.array(rng.sample(list(s), count)) for s in (positives, negatives)]
        labels = np.repeat([1, 0], count)
        found.append(average_precision(labels, np.concatenate(chosen)))
    return float(np.mean(found)), float(2 * np.std(found))


def _same_shape(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> None:
    if a.shape != b.shape or not a.size:
        raise InputError(
            "BAD_SHAPE", f"a map of {list(a.shape)} and a mask of {list(b.shape)}; give equal sizes"
        )
