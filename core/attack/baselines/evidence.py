"""A baseline's scores, calibrated on the base and judged like every other line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...errors import InputError
from ...specs import VerdictSpec
from ...verdicts.comparison import compare
from ...verdicts.evidence import Comparison

Scores = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class BaselineEvidence:
    """What one baseline found.

    Attributes:
        name: key of `BASELINES`.
        calibrated: the base's score was subtracted.
        comparison: photos against controls.
        forwards: denoiser rows spent.
    """

    name: str
    calibrated: bool
    comparison: Comparison
    forwards: int


def base_calibrated(scores: Scores, tuned: Tensor, base: Tensor, queries: Tensor) -> Tensor:
    """A score under images of the tuned model minus the same score under images of the base.

    Args:
        scores: one of `BASELINES`.
        tuned: ``[P, D]`` rows of the tuned model's images.
        base: ``[P, D]`` rows of the base's, drawn with the same prompts, seeds and scales.
        queries: ``[N, D]`` rows of photos and controls.

    Returns:
        ``[N]`` float64, higher meaning member.

    Raises:
        InputError: the arms differ in number (BAD_ARMS), or what `scores` raises.
    """
    if tuned.shape != base.shape:
        raise InputError(
            "BAD_ARMS",
            f"tuned: {list(tuned.shape)}, base: {list(base.shape)}; draw as many images with both "
            "models, with the same prompts, seeds and scales",
        )
    return scores(tuned, queries) - scores(base, queries)


def baseline_evidence(
    name: str,
    photo_scores: Tensor,
    control_scores: Tensor,
    verdict: VerdictSpec,
    *,
    calibrated: bool = False,
    forwards: int = 0,
    clusters: tuple[str, ...] | None = None,
) -> BaselineEvidence:
    """Judge a baseline's scores.

    Args:
        name: key of `BASELINES`.
        photo_scores: ``[n]``, n >= 2, higher meaning member.
        control_scores: ``[m]``, m >= 2.
        verdict: levels.
        calibrated: the base's score was subtracted.
        forwards: denoiser rows spent.
        clusters: session of each photo, then of each control.

    Raises:
        InputError: a set is too small, or a score is not finite.
    """
    photos, controls = (scores.double().numpy() for scores in (photo_scores, control_scores))
    comparison = compare(photos, controls, verdict, clusters=clusters)
    return BaselineEvidence(name, calibrated, comparison, forwards)
