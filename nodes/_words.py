"""What nodes say in plain text: summaries, tables; every figure with its unit and its controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..core.attack import TrainedClassifier
from ..core.evidence import (
    AttackEvidence,
    Comparison,
    ExtractionEvidence,
    MembershipEvidence,
    Verdict,
)
from ..core.lora.inspection import Inspection
from ..core.lora.safeguard import clean_text
from ._suspect import Suspect


def suspect_summary(suspect: Suspect) -> str:
    """Hashes, coverage and claims of a suspect."""
    lines = [
        f"suspect {clean_text(suspect.name)}",
        f"base SHA-256 {suspect.hashes.base} (weights)",
        f"suspect SHA-256 {suspect.hashes.tuned}",
        suspect.coverage,
        suspect.mode,
        *suspect.notes,
    ]
    prompts = ", ".join(p for p in suspect.prompts() if p)
    return "\n".join(
        [line for line in lines if line] + [f"prompts in the file: {prompts or 'none'}"]
    )


def inspection_summary(inspection: Inspection) -> str:
    """Findings, most serious first; what the metadata says is a claim."""
    head = [
        f"{inspection.format}, {inspection.family}, {inspection.modules} modules, "
        f"ranks {inspection.ranks}",
        f"SHA-256 {inspection.sha256}",
    ]
    found = sorted(inspection.findings, key=lambda f: -f.severity)
    lines = [
        f"{f.severity.name} {f.subject}: {f.message}" + (f" ({f.evidence})" if f.evidence else "")
        for f in found
    ]
    return "\n".join([*head, *lines])


def comparison_words(c: Comparison) -> str:
    """A comparison in one sentence."""
    return (
        f"AUC {c.auc.auc:.3f} (95% {c.auc.low:.3f} to {c.auc.high:.3f}), effect {c.effect:+.2f} sd "
        f"({c.effect_low:+.2f} to {c.effect_high:+.2f}), permutation p = {c.permutation.p:.2g} "
        f"(floor {c.permutation.floor:.1g}); {len(c.photo_scores)} photos, "
        f"{len(c.control_scores)} controls"
    )


def score_table(c: Comparison, names: Sequence[str]) -> str:
    """Score and conformal p-value of each photo, tab-separated, highest first."""
    rows = sorted(zip(names, c.photo_scores, c.photo_p, strict=True), key=lambda r: -r[1])
    return "\n".join(
        ["photo\tscore\tp", *(f"{clean_text(n)}\t{s:+.4f}\t{p:.3g}" for n, s, p in rows)]
    )


def membership_words(found: MembershipEvidence) -> str:
    """The white-box line."""
    return f"White-box membership: {comparison_words(found.comparison)}"


def extraction_words(found: ExtractionEvidence) -> str:
    """The extraction line, photos beside controls."""
    return (
        f"Extraction with {found.guidance}, {found.images} images, {found.encoder}: AS "
        f"{found.average_similarity:.3f} (controls {found.control_similarity:.3f}), A-ESR "
        f"{found.success_strict:.2f} (controls {found.control_success_strict:.2f}); "
        f"{comparison_words(found.comparison)}"
    )


def attack_words(found: AttackEvidence) -> str:
    """The black-box line, with what it cannot tell."""
    return (
        f"Black-box attack: {comparison_words(found.comparison)}; {found.flagged_photos:.0%} of "
        f"photos and {found.flagged_controls:.0%} of controls flagged. It tells sources apart, "
        "not photos (published AUC 0.53 inside one source)"
    )


def training_words(classifiers: Sequence[TrainedClassifier]) -> str:
    """How well an attack learnt its own task, and what that does not say."""
    accuracy = sum(c.heldout_accuracy for c in classifiers) / len(classifiers)
    return (
        f"{len(classifiers)} seeds, accuracy on held-out generated images {accuracy:.2f}: how well "
        "it tells the two models' images apart, not photos"
    )


def verdict_words(verdict: Verdict) -> str:
    """Letter, headline, reasons, error rates and caveats."""
    return "\n".join(
        [
            f"{verdict.letter}: {verdict.headline}",
            *(f"- {r.text}" for r in verdict.reasons),
            "Error rates:",
            *(f"- {r}" for r in verdict.error_rates),
            "Before acting:",
            *(f"- {r}" for r in verdict.caveats),
        ]
    )


def verdict_card(verdict: Verdict, rows: Iterable[tuple[str, str]]) -> dict[str, object]:
    """What the front end draws, as plain text only."""
    return {
        "letter": verdict.letter,
        "headline": verdict.headline,
        "reasons": [r.text for r in verdict.reasons],
        "error_rates": list(verdict.error_rates),
        "caveats": list(verdict.caveats),
        "rows": [list(row) for row in rows],
    }
