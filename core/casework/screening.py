"""The whole screening: four lines of evidence over one pair of models, then the verdict.

Each step is a verb of its own module; this one orders them, keeps what is done in the case
folder, and never lets a line of evidence speak without its controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..attack.line import attack
from ..attack.line import planned_forwards as attack_forwards
from ..decoys import DecoyRank
from ..encoders.embedding import embed
from ..errors import NotEnoughDataError
from ..extraction.line import extract, judge
from ..extraction.line import planned_forwards as extraction_forwards
from ..images.photos import probe_features
from ..images.sets import Sets
from ..membership.line import planned_forwards as membership_forwards
from ..membership.line import screen_membership
from ..membership.null_ranks import NullGroup
from ..protocols import ImageEncoder, ModelPair
from ..specs import LINES, ScreenSpec
from ..statistics.probe import BlindProbe, blind_probe
from ..storage import UNKEPT, Work
from ..types import Embeddings
from ..verdicts.case import Findings
from ..verdicts.evidence import AttackEvidence, ExtractionEvidence, MembershipEvidence
from ..verdicts.verdict import decide, unjudged
from .alike import alike_controls, alike_words


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """What is asked: these photos, against these controls.

    Attributes:
        sets: photos in question and controls.
        prompts: captions or trigger words.
        exchangeable: the controls are a hold-out of the photos' own source.
        n0: training images believed, for the number of representatives.
        negatives: label-0 images for the attack, ``[M, 3, H, W]``; None draws them from the base.
        negatives_from: ``base``, ``folder`` or ``shadow``.
        resnet: ImageNet weights for the attack.
        nulls: trained null models; noise adapters come from the pair itself.
        decoys: rank of the published variant of these photos among its decoys.
        device: where the attack's classifiers are trained.
        captions: each image's own, photos first; empty where nobody knows them.
        caveats: what was noticed before any line ran and must stand beside the verdict.
    """

    sets: Sets
    prompts: tuple[str, ...]
    exchangeable: bool = False
    n0: int = 0
    negatives: Tensor | None = None
    negatives_from: str = "base"
    resnet: Path | None = None
    nulls: tuple[NullGroup, ...] = ()
    decoys: DecoyRank | None = None
    device: str = "cpu"
    captions: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What a screening found, and its exhibit; `heat` as in `line.WhiteBox`, None without it."""

    findings: Findings
    heat: Tensor | None = None


def planned_forwards(question: Question, spec: ScreenSpec, lines: Sequence[str] = LINES) -> int:
    """Denoiser rows that a screening will spend at most."""
    cost = {
        "membership": membership_forwards(
            len(question.sets.photos),
            len(question.sets.controls),
            spec,
            question.nulls,
            captioned=len(set(question.captions)) > 1,
        ),
        "extraction": extraction_forwards(question.prompts, spec.extract),
        "attack": attack_forwards(
            question.prompts, spec.attack, 2 if question.negatives is None else 1
        ),
    }
    return sum(cost[line] for line in lines)


def screen(
    pair: ModelPair,
    encoder: ImageEncoder,
    question: Question,
    spec: ScreenSpec,
    *,
    lines: Sequence[str] = LINES,
    work: Work = UNKEPT,
) -> Screened:
    """Answer a question with the chosen lines of evidence.

    Args:
        pair: base and tuned model.
        encoder: copy descriptor.
        question: photos, controls, prompts.
        spec: all settings.
        lines: which lines to run; the verdict rests on ``membership``.
        work: keeps finished parts, is told of steps.
    """
    sets = question.sets
    photos, controls = (embed(p.images, encoder) for p in (sets.photos, sets.controls))
    membership = heat = extraction = black_box = None
    if "membership" in lines:
        white_box = screen_membership(
            pair, sets, question.prompts, spec,
            nulls=question.nulls, captions=question.captions, embed=encoder, work=work,
        )  # fmt: skip
        membership, heat = white_box.evidence, white_box.heat
    if "extraction" in lines:
        n0 = spec.extract.clusters or question.n0 or len(sets.photos)
        drawn = extract(pair, encoder, question.prompts, n0, spec.extract, work=work)
        extraction = judge(drawn, photos, controls, spec.verdict, clusters=sets.sessions)
    if "attack" in lines:
        black_box = attack(
            pair,
            sets.photos.images.pixels,
            sets.controls.images.pixels,
            question.prompts,
            spec.attack,
            spec.verdict,
            negatives=question.negatives,
            negatives_from=question.negatives_from,
            weights=question.resnet,
            device=question.device,
            clusters=sets.sessions,
            work=work,
        )
    findings = conclude(
        question, photos, controls, spec, encoder,
        membership=membership, extraction=extraction, attack=black_box,
    )  # fmt: skip
    return Screened(findings, heat)


def conclude(
    question: Question,
    photos: Embeddings,
    controls: Embeddings,
    spec: ScreenSpec,
    encoder: ImageEncoder,
    *,
    membership: MembershipEvidence | None,
    extraction: ExtractionEvidence | None = None,
    attack: AttackEvidence | None = None,
) -> Findings:
    """The verdict on what the lines found, with the checks of the sets that it needs.

    Args:
        question: what was asked.
        photos: descriptors of the photos.
        controls: descriptors of the controls.
        spec: levels.
        encoder: copy descriptor.
        membership: the white-box line; without it there is no verdict.
        extraction: secondary line, if it ran.
        attack: secondary line, if it ran.
    """
    probe = probe_sets(question, photos, controls, spec)
    alike = alike_controls(question.sets, photos, controls, encoder)
    verdict = (
        unjudged()
        if membership is None
        else decide(
            membership,
            probe,
            spec.verdict,
            exchangeable=question.exchangeable,
            extraction=extraction,
            attack=attack,
            decoys=question.decoys,
            noticed=(*question.caveats, *alike_words(alike)),
        )
    )
    return Findings(
        probe=probe,
        look_alikes=alike,
        membership=membership,
        extraction=extraction,
        attack=attack,
        decoys=question.decoys,
        verdict=verdict,
    )


def probe_sets(
    question: Question, photos: Embeddings, controls: Embeddings, spec: ScreenSpec
) -> BlindProbe | None:
    """Can a classifier that never saw the model tell photos from controls?

    Two probes, one on facts of files and colours, one on descriptors.

    Returns:
        None when there are too few photos for any probe.
    """
    facts = [probe_features(p) for p in (question.sets.photos, question.sets.controls)]
    vectors = [e.vectors.double().numpy() for e in (photos, controls)]
    limit = spec.verdict.probe_limit
    try:
        return blind_probe(facts, vectors, clusters=question.sets.sessions, limit=limit)
    except NotEnoughDataError:
        return None
