# `lir` is an optional package without complete types.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Likelihood ratios by `lir`, the library of the Netherlands Forensic Institute.

Hp: the photos were among the training data. Hd: other photos were. The ratio weighs a score
between the two; it is never a probability that the photos were used. Scores of known truth come
from calibration models. Nothing here is estimated by code of our own but the interval and the cap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError, MissingDependencyError, NotEnoughDataError, plural
from .samples import Array, at_least, finite, open_share

Calibrator = Literal["logistic", "kde"]

LEAST = 10  # scores of known truth on each side
FOLDS = 5
BANDS = (
    (1.0, "weak"),
    (2.0, "moderate"),
    (3.0, "moderately strong"),
    (4.0, "strong"),
    (math.inf, "very strong"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodRatio:
    """How much more probable a score is under Hp (used) than under Hd (not used).

    Attributes:
        lr: ratio within its bounds; below 1 it supports Hd.
        log10: its decimal logarithm.
        low: lower end of a bootstrap interval over the calibration scores, within the bounds.
        high: upper end.
        capped: the raw ratio lay outside the bounds.
        cap: largest ratio that the calibration supports.
        floor: smallest ratio that it supports.
        verbal: band in words; never stronger than the cap.
        calibrator: ``logistic`` or ``kde``.
        level: nominal coverage of the interval.
    """

    lr: float
    log10: float
    low: float
    high: float
    capped: bool
    cap: float
    floor: float
    verbal: str
    calibrator: str
    level: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How good the ratios are on scores that they were not fitted on.

    Attributes:
        cllr: log-likelihood-ratio cost; 0 is perfect, 1 says nothing, above 1 misleads.
        cllr_min: the part that no calibration could remove.
        members: out-of-fold log10 ratios of members.
        nonmembers: out-of-fold log10 ratios of non-members.
        calibrator: ``logistic`` or ``kde``.
    """

    cllr: float
    cllr_min: float
    members: tuple[float, ...]
    nonmembers: tuple[float, ...]
    calibrator: str


def likelihood_ratio(
    score: float,
    member_scores: npt.ArrayLike,
    nonmember_scores: npt.ArrayLike,
    *,
    calibrator: Calibrator = "logistic",
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> LikelihoodRatio:
    """Weigh one score between members and non-members of calibration models.

    Ratios are cut at the empirical lower and upper bounds, at the number of non-members above
    and at one over the number of members below: m controls cannot show what happens once in
    more than m cases.

    Args:
        score: score to weigh, higher means member.
        member_scores: ``[n]`` scores of known members.
        nonmember_scores: ``[m]`` scores of known non-members.
        calibrator: ``logistic`` (monotone, shrunk) or ``kde`` (Silverman's bandwidth).
        level: coverage of the interval.
        draws: bootstrap draws of it.
        seed: makes the answer repeatable.

    Raises:
        InputError: bad numbers or settings.
        NotEnoughDataError: FEW_CALIBRATION, under ten scores on a side; NO_SPREAD.
        MissingDependencyError: NO_LIR.

    Source:
        Vergeer et al. 2016 for the bounds; membership_sota.md, section 2, point 4 and section 6.
    """
    value = float(finite([score], "score")[0])
    x, y = _checked(member_scores, nonmember_scores)
    open_share(level, "level")
    draws = at_least(draws, 20, "draws")
    raw = float(log_ratios([value], x, y, calibrator)[0])
    bottom, top = bounds(x, y, calibrator)
    rng = np.random.default_rng(seed)
    again = [
        float(log_ratios([value], _resampled(x, rng), _resampled(y, rng), calibrator)[0])
        for _ in range(draws)
    ]
    ends = np.quantile(again, [(1 - level) / 2, (1 + level) / 2])
    cut = min(top, max(bottom, raw))
    low, high = (float(e) for e in np.clip([min(ends[0], raw), max(ends[1], raw)], bottom, top))
    return LikelihoodRatio(
        lr=10**cut,
        log10=cut,
        low=10**low,
        high=10**high,
        capped=raw != cut,
        cap=10**top,
        floor=10**bottom,
        verbal=verbal(cut),
        calibrator=calibrator,
        level=level,
    )


def log_ratios(
    scores: npt.ArrayLike, members: Array, nonmembers: Array, calibrator: Calibrator = "logistic"
) -> Array:
    """Unbounded log10 ratios of scores by `lir`'s calibrator, fitted on known truth.

    Args:
        scores: ``[k]`` scores.
        members: ``[n]`` scores of known members.
        nonmembers: ``[m]`` scores of known non-members.
        calibrator: ``logistic`` or ``kde``.

    Returns:
        ``[k]`` log10 likelihood ratios.

    Raises:
        InputError: unknown calibrator, or scores without spread (NO_SPREAD).
    """
    pooled, labels = _labelled(members, nonmembers)
    center, scale = float(pooled.mean()), float(pooled.std())
    if scale == 0.0:
        raise NotEnoughDataError("NO_SPREAD", "all calibration scores are equal; nothing to fit.")
    fitted = _calibrator(calibrator).fit((pooled - center) / scale, labels)
    asked = finite(scores, "scores")
    return np.asarray(fitted.transform((asked - center) / scale), np.float64)


def bounds(
    members: Array, nonmembers: Array, calibrator: Calibrator = "logistic"
) -> tuple[float, float]:
    """Smallest and largest log10 ratio that the calibration scores support.

    The empirical bounds (ELUB) of `lir`, and never beyond one over the members and the number of
    non-members.

    Args:
        members: ``[n]`` scores of known members.
        nonmembers: ``[m]`` scores of known non-members.
        calibrator: ``logistic`` or ``kde``.

    Returns:
        Lower bound <= 0 and upper bound >= 0.
    """
    pooled, labels = _labelled(members, nonmembers)
    ratios = log_ratios(pooled, members, nonmembers, calibrator)
    low, high = _lir().bayeserror.elub(ratios, labels)
    return (
        max(float(low), -math.log10(len(members))),
        min(float(high), math.log10(len(nonmembers))),
    )


def calibration_quality(
    member_scores: npt.ArrayLike,
    nonmember_scores: npt.ArrayLike,
    *,
    calibrator: Calibrator = "logistic",
    seed: int = 0,
) -> Calibration:
    """Cost of the ratios (Cllr), each computed by a calibrator that did not see its score.

    Args:
        member_scores: ``[n]`` scores of known members.
        nonmember_scores: ``[m]`` scores of known non-members.
        calibrator: ``logistic`` or ``kde``.
        seed: of the five folds.

    Raises:
        InputError, NotEnoughDataError, MissingDependencyError: see `likelihood_ratio`.

    Source:
        Brümmer and du Preez 2006.
    """
    x, y = _checked(member_scores, nonmember_scores)
    rng = np.random.default_rng(seed)
    fold_x, fold_y = (rng.permutation(len(s)) % FOLDS for s in (x, y))
    out_x, out_y = np.empty_like(x), np.empty_like(y)
    for k in range(FOLDS):
        train = x[fold_x != k], y[fold_y != k]
        limits = bounds(*train, calibrator)
        for scores, fold, out in ((x, fold_x, out_x), (y, fold_y, out_y)):
            out[fold == k] = np.clip(log_ratios(scores[fold == k], *train, calibrator), *limits)
    lir = _lir()
    pooled, labels = _labelled(out_x, out_y)
    data = lir.LLRData(features=pooled, labels=labels)
    return Calibration(
        lir.metrics.cllr(data), lir.metrics.cllr_min(data), tuple(out_x.tolist()),
        tuple(out_y.tolist()), calibrator,
    )  # fmt: skip


def verbal(log10: float) -> str:
    """Band of a ratio in words.

    Source:
        ENFSI guideline for evaluative reporting 2015; membership_sota.md, section 6, point 9.

    Example:
        >>> verbal(1.3), verbal(-0.2)
        ('moderate support for Hp (used)', 'weak support for Hd (not used)')
    """
    if log10 == 0.0:
        return "no support for either"
    band = next(word for limit, word in BANDS if abs(log10) < limit)
    return f"{band} support for {'Hp (used)' if log10 > 0 else 'Hd (not used)'}"


def _calibrator(name: str) -> Any:
    lir = _lir()
    calibrators: dict[str, Callable[[], Any]] = {
        "logistic": lir.logistic_regression.LogitCalibrator,
        "kde": lambda: lir.kde.KDECalibrator(bandwidth="silverman"),
    }
    if name not in calibrators:
        raise InputError("OUT_OF_RANGE", f"calibrator: logistic or kde, got {name!r}.")
    return calibrators[name]()


def _lir() -> SimpleNamespace:
    """The modules of `lir` that are used here."""
    try:
        import sklearn.linear_model  # noqa: F401  (lir uses it without importing it)
        from lir import metrics
        from lir.algorithms import bayeserror, kde, logistic_regression
        from lir.data.models import LLRData
    except ImportError as error:
        raise MissingDependencyError(
            "NO_LIR", "likelihood ratios need lir; install lora-forensics[likelihood]"
        ) from error
    return SimpleNamespace(
        metrics=metrics,
        bayeserror=bayeserror,
        kde=kde,
        logistic_regression=logistic_regression,
        LLRData=LLRData,
    )


def _labelled(members: Array, nonmembers: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    labels = np.repeat([1, 0], [len(members), len(nonmembers)])
    return np.concatenate([members, nonmembers]), labels


def _checked(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> tuple[Array, Array]:
    x = finite(members, "member_scores")
    y = finite(nonmembers, "nonmember_scores")
    if min(len(x), len(y)) < LEAST:
        raise NotEnoughDataError(
            "FEW_CALIBRATION",
            f"{plural(len(x), 'score')} of members and {len(y)} of non-members; a likelihood ratio "
            f"needs {LEAST} of each: run more calibration models",
        )
    return x, y


def _resampled(scores: Array, rng: np.random.Generator) -> Array:
    return scores[rng.integers(0, len(scores), len(scores))]
