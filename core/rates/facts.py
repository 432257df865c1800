"""What a calibration study measured: plain frozen facts, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Share:
    """Hits among trials with a two-sided 95% Clopper-Pearson interval."""

    hits: int
    trials: int
    low: float
    high: float

    def __str__(self) -> str:
        return self.of("")

    def of(self, what: str) -> str:
        """In words.

        >>> Share(0, 36, 0.0, 0.0974).of("innocent adapters")
        '0 of 36 innocent adapters (0.0% to 9.7%)'
        """
        counted = f"{self.hits} of {self.trials} {what}".rstrip()
        return f"{counted} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over cases with a 95% bootstrap interval over cases."""

    value: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class LetterRate:
    """How often a verdict came up.

    Attributes:
        letter: ``A``, ``B``, ``C``, ``D``, or ``A or B``.
        innocent: among adapters that never saw the photos.
        guilty: among adapters trained on exactly the photos.
    """

    letter: str
    innocent: Share
    guilty: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRate:
    """One way to score photos.

    Attributes:
        name: short name.
        title: for people.
        group: ``white box``, ``published``, ``black box`` or ``extraction``.
        auc: photos against controls of the same source, mean over guilty cases.
        pooled: AUC of all guilty cases' photos against their controls, scores standardized by
            each case's controls.
        innocent_auc: the same mean over innocent cases; 0.5 without bias.
        false_alarm: innocent cases whose permutation p is at most 0.05.
        power: guilty cases whose permutation p is at most 0.05.
        photo_alarm: innocent cases' photos with a conformal p of at most 0.05, mean share.
        photo_power: the same of guilty cases.
    """

    name: str
    title: str
    group: str
    auc: Estimate
    pooled: float
    innocent_auc: Estimate
    false_alarm: Share
    power: Share
    photo_alarm: Estimate
    photo_power: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class PValueCheck:
    """Whether a p-value is what it says when nothing was used.

    Attributes:
        name: which p-value.
        cases: innocent cases.
        uniform_p: p of the uniformity test; small means that the p-values are not uniform.
        too_small_p: p of the one-sided test; small means that they are too small: accusing.
        at_05: cases at or below 0.05.
        at_01: cases at or below 0.01.
        verdict: ``uniform``, ``conservative`` (too large: allowed) or ``anti-conservative`` (too
            small: accusing too often), judged at level 0.01.
    """

    name: str
    cases: int
    uniform_p: float
    too_small_p: float
    at_05: Share
    at_01: Share
    verdict: str


@dataclass(frozen=True, slots=True)
class FactorRate:
    """Verdicts A and B, and the primary signal, at one level of one factor."""

    factor: str
    level: str
    false_accusation: Share
    power: Share
    auc: Estimate


@dataclass(frozen=True, slots=True)
class Claim:
    """What the study was to show, and whether it did."""

    text: str
    figure: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One case in brief; p is nan-free: -1 where a line did not run."""

    number: int
    used: float
    rank: int
    steps: int
    photos: int
    quality: str
    letter: str
    auc: float
    permutation_p: float
    placebo_p: float
    noise_p: float
    attack_auc: float
    extraction_auc: float
    usage: float


@dataclass(frozen=True, slots=True)
class UsageCheck:
    """Estimated share of photos used (DUCI) against the true share.

    Attributes:
        used: true share.
        estimate: mean estimate over cases.
        covered: cases whose interval holds the true share.
        refused: cases in which calls were too weak for any estimate.
    """

    used: float
    estimate: Estimate
    covered: Share
    refused: int


@dataclass(frozen=True, slots=True)
class LikelihoodCheck:
    """Likelihood ratios of whole cases, each calibrated on all other cases.

    Attributes:
        method: of the calibrator.
        cllr: cost of log likelihood ratios; below 1 they inform.
        cllr_min: after the best possible calibration.
        misleading_innocent: innocent cases with a ratio above 1.
        misleading_guilty: guilty cases with a ratio below 1.
        largest_innocent: largest ratio of an innocent case.
    """

    method: str
    cllr: float
    cllr_min: float
    misleading_innocent: Share
    misleading_guilty: Share
    largest_innocent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoCalls:
    """How often a photo is called "used", by truth, at one length of training.

    Attributes:
        steps: optimiser steps of these cases.
        threshold: standardized primary score at and above which a photo is called.
        hits: members called, among `members` that the threshold was not chosen on.
        false: non-members called, among `nonmembers`.
        member_cases: calls and photos of each guilty case among them.
        nonmember_cases: the same of innocent cases.
    """

    steps: int
    threshold: float
    hits: int
    members: int
    false: int
    nonmembers: int
    member_cases: tuple[tuple[int, int], ...]
    nonmember_cases: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Set statistics of the study's cases, to weigh that of another case.

    Attributes:
        guilty: one per guilty case: mean photo score over its standard error, in control standard
            deviations (`precedents.set_statistic`).
        innocent: one per innocent case.
        calls: photo by photo, one per length of training.
    """

    guilty: tuple[float, ...]
    innocent: tuple[float, ...]
    calls: tuple[PhotoCalls, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRates:
    """A calibration study.

    Attributes:
        scale: ``tiny`` for the embedded model, else the user's name for it.
        tool: version of the tool.
        base: SHA-256 of the base model.
        family: of the base.
        source: where the photos came from, in words.
        command: what made the study.
        seed: of the study.
        forwards: denoiser rows spent.
        seconds: of one core, without training.
        ranges: smallest and largest value of each fact that was varied.
        qualities: image qualities.
        guilty: cases asked about exactly the training photos.
        innocent: cases asked about photos of the same source that were not used.
        partial: cases in which half of the asked photos were used.
        shared_photos: cases share photos, so that the intervals are too narrow.
        planned: cases of the design; fewer finished ones say so.
    """

    scale: str
    tool: str
    base: str
    family: str
    source: str
    command: str
    seed: int
    forwards: int
    seconds: float
    ranges: dict[str, tuple[float, float]]
    qualities: tuple[str, ...]
    guilty: int
    innocent: int
    partial: int
    shared_photos: bool
    planned: int
    letters: tuple[LetterRate, ...]
    signals: tuple[SignalRate, ...]
    p_values: tuple[PValueCheck, ...]
    factors: tuple[FactorRate, ...]
    usage: tuple[UsageCheck, ...]
    likelihood: LikelihoodCheck | None
    reference: Reference
    claims: tuple[Claim, ...]
    cases: tuple[CaseRow, ...]
    settings: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def letter(self, letter: str) -> LetterRate | None:
        """Rates of one verdict; None for a letter that no case can get."""
        return next((r for r in self.letters if r.letter == letter), None)
