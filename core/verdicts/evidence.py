"""What each line of evidence measured: plain frozen facts, ready for JSON; no tensor, no judgment.

The lines are siblings: each ends in a `Comparison` of the photos with the controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..statistics.auc import AucDifference, AucEstimate
from ..statistics.permutation import PermutationTest
from ..statistics.tpr_at_fpr import TprAtFpr
from ..statistics.usage import UsageShare

NullKind = Literal["noise", "placebo", "counterfactual"]
TRAINED_NULLS: tuple[NullKind, ...] = ("placebo", "counterfactual")
NULL_WORDS: dict[str, str] = {
    "noise": "of noise with the same norms",
    "placebo": "trained on other photos",
    "counterfactual": "trained on controls with the file's recipe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Scores of photos against controls, higher meaning member.

    Attributes:
        photo_scores: one per photo.
        control_scores: one per control.
        photo_p: conformal p-value of each photo.
        shortlist: indices of photos below Benjamini-Hochberg's line at q = 0.1.
        auc: photos against controls, with interval.
        permutation: one-sided test of the mean rank, valid if photos and controls are exchangeable.
        effect: mean photo score minus mean control score, in control standard deviations.
        effect_low: lower end of its 95% bootstrap interval.
        effect_high: upper end.
        tpr: share of photos above a control threshold, at each declared false-positive rate.
        photos_needed: photos that the observed AUC would need for the declared power; 0 when
            the AUC is at or below 0.5.
        photo_sessions, control_sessions: how many; 0 where every image stands for itself.
    """

    photo_scores: tuple[float, ...]
    control_scores: tuple[float, ...]
    photo_p: tuple[float, ...]
    shortlist: tuple[int, ...]
    auc: AucEstimate
    permutation: PermutationTest
    effect: float
    effect_low: float
    effect_high: float
    tpr: tuple[TprAtFpr, ...]
    photos_needed: int
    photo_sessions: int = 0
    control_sessions: int = 0


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Mean denoising loss (eps units) at each timestep, under base and tuned."""

    base: tuple[float, ...]
    tuned: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NullRank:
    """The suspect's effect among the same effect of null models of one kind.

    Attributes:
        kind: ``noise``: random changes as strong as the suspect's. ``placebo``: adapters trained
            on other photos. ``counterfactual``: trained on controls with the suspect's recipe.
        value: mean photo score minus mean control score, in control standard deviations.
        nulls: the same of each null model.
        p: (1 + nulls at or above) / (nulls + 1).
        floor: smallest p that so few nulls allow.
        photo_p: the same rank for each photo alone.
        difference: AUC of the suspect minus AUC of the nulls' mean score, on the same images.
        note: how the nulls were made.
    """

    kind: NullKind
    value: float
    nulls: tuple[float, ...]
    p: float
    floor: float
    photo_p: tuple[float, ...]
    difference: AucDifference
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFinding:
    """What one signal beside the primary one says; it never raises a verdict by itself.

    Attributes:
        name: key of the signal.
        title: for people.
        source: paper and section.
        published: a published attack on the tuned model alone, for comparison.
        forwards: denoiser rows per photo when it is measured alone.
        photo_scores: one per photo, higher meaning member.
        control_scores: one per control.
        auc: photos against controls.
        tpr: share of photos above the control threshold for 5% false alarms.
        p: one-sided permutation p of the mean rank.
        holm_p: the same after Holm's correction over all these signals.
    """

    name: str
    title: str
    source: str
    published: bool
    forwards: int
    photo_scores: tuple[float, ...]
    control_scores: tuple[float, ...]
    auc: AucEstimate
    tpr: TprAtFpr
    p: float
    holm_p: float


@dataclass(frozen=True, slots=True)
class CaptionControls:
    """The conditional gap under paired captions and under three prompt controls.

    Attributes:
        aucs: photos against controls: ``paired``, ``trigger``, ``shuffled``, ``generic``.
        p: one-sided permutation p of each.
        dependent: the gap lives only with the paired captions: it speaks of the caption.
    """

    aucs: dict[str, float]
    p: dict[str, float]
    dependent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipEvidence:
    """White-box membership: log ratio of base to tuned loss with shared noise.

    Attributes:
        signal: name of the primary statistic, declared before scoring.
        prompt: the conditioning used.
        timesteps: probed timesteps.
        draws: noise draws per timestep.
        comparison: photos against controls.
        seed_effects: the effect from each independent noise pair alone.
        photo_curve: losses averaged over photos.
        control_curve: losses averaged over controls.
        base_only_auc: AUC of the base model's loss alone; far from 0.5 means the sets differ.
        tuned_only_auc: AUC of the tuned model's loss alone (the classical loss attack).
        noise_floor: half the disagreement of two halves of the draws, median over images.
        control_shift: median absolute log ratio, over photos and controls.
        too_weak: the adapter changes the loss less than the noise of the measurement.
        null_ranks: rank among null models, one a kind that was run.
        forwards: denoiser rows spent.
        signals: what the other signals say.
        left_out: signals that could not be measured here, with the reason.
        captions: prompt controls of the conditional gap, when it was controlled.
        usage: share of the photos that was used, where a calibration study covers the case.
    """

    signal: str
    prompt: str
    timesteps: tuple[int, ...]
    draws: int
    comparison: Comparison
    seed_effects: tuple[float, ...]
    photo_curve: LossCurve
    control_curve: LossCurve
    base_only_auc: float
    tuned_only_auc: float
    noise_floor: float
    control_shift: float
    too_weak: bool
    null_ranks: tuple[NullRank, ...]
    forwards: int
    signals: tuple[SignalFinding, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    captions: CaptionControls | None = None
    usage: UsageShare | None = None


@dataclass(frozen=True, slots=True)
class PilotPoint:
    """One weight that the pilot tried, and its score without ground truth."""

    scale: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """One cluster's representative.

    Attributes:
        file: path inside the case folder.
        sha256: of its pixels.
        seed: noise seed.
        prompt: its prompt.
        guidance: its guidance label.
        size: images in its cluster (1: no cluster, added to fill the budget).
        intra: mean similarity inside the cluster.
        nearest_photo: index of the most similar photo.
        similarity: to that photo.
        control_similarity: to the most similar control.
    """

    file: str
    sha256: str
    seed: int
    prompt: str
    guidance: str
    size: int
    intra: float
    nearest_photo: int
    similarity: float
    control_similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionEvidence:
    """FineXtract: what guided sampling pulled out of the model.

    Attributes:
        guidance: label of the rule used.
        pilot: the pilot's table; empty when the user fixed the weight.
        images: images drawn.
        tau: similarity at which the clusters were cut.
        encoder: descriptor's name.
        encoder_note: limits of the descriptor.
        copy_threshold: strict threshold of A-ESR.
        lenient_threshold: lenient threshold of A-ESR.
        extracted: representatives, best cluster first, at most N0.
        average_similarity: AS of the photos through the representatives.
        control_similarity: AS of as many controls through the same representatives (mean).
        success_strict: A-ESR at the strict threshold.
        success_lenient: A-ESR at the lenient threshold.
        control_success_strict: share of controls above the strict threshold.
        best_of_all: AS of the photos over all images drawn.
        control_best_of_all: the same for controls.
        comparison: best similarity over all images, photos against controls.
        forwards: denoiser rows spent.
    """

    guidance: str
    pilot: tuple[PilotPoint, ...]
    images: int
    tau: float
    encoder: str
    encoder_note: str
    copy_threshold: float
    lenient_threshold: float
    extracted: tuple[Extracted, ...]
    average_similarity: float
    control_similarity: float
    success_strict: float
    success_lenient: float
    control_success_strict: float
    best_of_all: float
    control_best_of_all: float
    comparison: Comparison
    forwards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackEvidence:
    """Black-box attack: a ResNet-18 that tells tuned from negative images, applied to photos.

    Attributes:
        negatives: where label 0 came from: ``base``, ``folder`` or ``shadow``.
        pretrained: whether the backbone started from ImageNet weights.
        images: images per arm.
        cfgs: guidance scales, equal in both arms.
        comparison: mean logit difference over seeds, photos against controls.
        seed_aucs: AUC of each classifier seed on the same photos and controls.
        seed_low: lower end of the Student interval over seeds.
        seed_high: upper end.
        heldout_accuracy: accuracy on held-out generated images, mean over seeds.
        flagged_photos: share of photos with logit above 0 (P(member) above 0.5).
        flagged_controls: share of controls, likewise.
        forwards: denoiser rows spent.
        paper_low: lower end of the paper's interval over seeds, which is too narrow.
        paper_high: upper end.
        scores: ``logits``, or ``softmax`` in the paper's protocol.
        notes: what a reader must know about how it was run.
    """

    negatives: str
    pretrained: bool
    images: int
    cfgs: tuple[float, ...]
    comparison: Comparison
    seed_aucs: tuple[float, ...]
    seed_low: float
    seed_high: float
    heldout_accuracy: float
    flagged_photos: float
    flagged_controls: float
    forwards: int
    paper_low: float = 0.0
    paper_high: float = 1.0
    scores: str = "logits"
    notes: tuple[str, ...] = ()
