"""Photos against controls under one score: every line of evidence ends in the same comparison."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import NotEnoughDataError, plural
from ..specs import VerdictSpec
from ..statistics.auc import AucEstimate, auc, delong
from ..statistics.auc_bootstrap import bootstrap_auc
from ..statistics.clusters import resample_counts, units
from ..statistics.permutation import permutation_test
from ..statistics.ranks import conformal_p
from ..statistics.sample_size import photos_needed
from ..statistics.tpr_at_fpr import tpr_at_fpr
from .evidence import Comparison

Floats = npt.NDArray[np.float64]
TARGET_FPRS = (0.01, 0.05)
FALSE_FINDS = 0.10  # share of a shortlist that may be false (Benjamini and Hochberg 1995)


def compare(
    photos: npt.ArrayLike,
    controls: npt.ArrayLike,
    spec: VerdictSpec,
    *,
    permutations: int = 9999,
    seed: int = 0,
    clusters: tuple[str, ...] | None = None,
) -> Comparison:
    """Photos against controls under one score, higher meaning member.

    Args:
        photos: ``[n]`` finite scores, n >= 2.
        controls: ``[m]`` finite scores, m >= 2.
        spec: levels and power.
        permutations: Monte Carlo draws when there are too many permutations to enumerate.
        seed: of permutations and bootstrap.
        clusters: session of each photo, then of each control; sessions, not photos, are then
            relabelled and resampled. None when every photo stands for itself.

    Raises:
        InputError: a score is not finite, a set is empty, or a session is on both sides.
        NotEnoughDataError: photos are one session and controls another (FEW_CLUSTERS).
    """
    x, y = np.asarray(photos, np.float64), np.asarray(controls, np.float64)
    if clusters is not None and len(set(clusters)) == len(clusters):
        clusters = None
    area, n = area_of(x, y, clusters, seed), len(x)
    p = conformal_p(x, y)
    effect, low, high = effect_interval(x, y, seed=seed, clusters=clusters)
    # Conformal p-values are positively dependent, which Benjamini and Hochberg's rule allows.
    shortlist = np.flatnonzero(stats.false_discovery_control(p) <= FALSE_FINDS + 1e-12)
    return Comparison(
        photo_scores=tuple(x.tolist()),
        control_scores=tuple(y.tolist()),
        photo_p=tuple(p.tolist()),
        shortlist=tuple(int(i) for i in shortlist),
        auc=area,
        permutation=permutation_test(x, y, "rank", permutations, seed=seed, clusters=clusters),
        effect=effect,
        effect_low=low,
        effect_high=high,
        tpr=tuple(tpr_at_fpr(x, y, rate) for rate in TARGET_FPRS),
        photos_needed=needed(area.auc, spec, len(y) / len(x)),
        photo_sessions=0 if clusters is None else len(set(clusters[:n])),
        control_sessions=0 if clusters is None else len(set(clusters[n:])),
    )


def in_words(c: Comparison) -> str:
    """The one sentence of a comparison: every figure with its interval, its floor, its controls."""
    return (
        f"AUC {c.auc.auc:.3f} (95% {c.auc.low:.3f} to {c.auc.high:.3f}), effect {c.effect:+.2f} "
        f"control standard deviations ({c.effect_low:+.2f} to {c.effect_high:+.2f}), permutation "
        f"p = {c.permutation.p:.2g} (smallest possible {c.permutation.floor:.1g}); "
        f"{plural(len(c.photo_scores), 'photo')}, {plural(len(c.control_scores), 'control')}"
    )


def needed(area: float, spec: VerdictSpec, control_ratio: float) -> int:
    """Photos that a test at the strong level would need for this AUC; 0 when it is hopeless."""
    if area <= 0.5:
        return 0
    return photos_needed(min(area, 0.999), spec.alpha_strong, spec.power, control_ratio)


def area_of(
    x: Floats, y: Floats, clusters: tuple[str, ...] | None = None, seed: int = 0
) -> AucEstimate:
    """DeLong's interval, or a bootstrap over sessions; one session alone bounds nothing."""
    if clusters is None or len(set(clusters)) == len(clusters):
        return delong(x, y)
    try:
        return bootstrap_auc(x, y, seed=seed, clusters=clusters)
    except NotEnoughDataError:
        return AucEstimate(
            auc=auc(x, y), se=0.5, low=0.0, high=1.0, n_members=len(x), n_nonmembers=len(y),
            level=0.95, method="one session on a side: no interval",
        )  # fmt: skip


def effect_interval(
    x: Floats,
    y: Floats,
    *,
    draws: int = 2000,
    seed: int = 0,
    clusters: tuple[str, ...] | None = None,
) -> tuple[float, float, float]:
    """Mean difference in control standard deviations, with a 95% bootstrap interval.

    Both sets are resampled, by whole sessions where `clusters` names them; a single session is
    taken to vary as much as the other side's sessions do. Constant controls give a difference of
    0 for equal means, and an infinite one is never printed: the scale falls back to the pooled
    deviation.

    Returns:
        effect, low, high.

    Raises:
        NotEnoughDataError: one session on each side (FEW_CLUSTERS).
    """
    scale = float(np.std(y, ddof=1)) if len(y) > 1 else 0.0
    scale = scale or float(np.std(np.concatenate([x, y]))) or 1.0
    rng = np.random.default_rng(seed)
    if clusters is None:
        mx = x[rng.integers(0, len(x), (draws, len(x)))].mean(1)
        my = y[rng.integers(0, len(y), (draws, len(y)))].mean(1)
        differences = mx - my
    else:
        differences = _session_differences(x, y, clusters, draws, rng)
    low, high = np.quantile(differences / scale, [0.025, 0.975])
    return float((x.mean() - y.mean()) / scale), float(low), float(high)


def _session_differences(
    x: Floats, y: Floats, clusters: tuple[str, ...], draws: int, rng: np.random.Generator
) -> Floats:
    groups = units(clusters, len(x), len(y))
    means, spreads = [], []
    for scores, own in ((x, groups.first), (y, groups.second)):
        sums, sizes = np.bincount(own, weights=scores), np.bincount(own)
        counts = resample_counts(len(sums), draws, rng)
        means.append((counts @ sums) / (counts @ sizes))
        spreads.append(sums / sizes - scores.mean())
    single = [len(s) == 1 for s in spreads]
    if all(single):
        message = "photos are one session and controls another; give controls of more sessions."
        raise NotEnoughDataError("FEW_CLUSTERS", message)
    if any(single):
        lone = single.index(True)
        means[lone] = means[lone] + rng.choice(spreads[1 - lone], draws)
    return means[0] - means[1]


def standardized(scores: Floats, photos: int) -> Floats:
    """Scores in control standard deviations from the control mean; free of a model's strength.

    Args:
        scores: ``[N]``, photos first.
        photos: how many are photos.
    """
    controls = scores[photos:]
    scale = float(np.std(controls, ddof=1)) or float(np.std(scores)) or 1.0
    return (scores - controls.mean()) / scale
