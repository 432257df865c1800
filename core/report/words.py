"""A case and its lines in plain text, for every door that shows text: figures with controls."""

from __future__ import annotations

from collections.abc import Sequence

from ..attack.classifier import TrainedClassifier
from ..decoys import DecoyRank
from ..errors import plural
from ..lora.inspection import Inspection
from ..lora.safeguard import clean_text
from ..rates.scope import sentences
from ..verdicts.case import Case
from ..verdicts.comparison import in_words
from ..verdicts.evidence import (
    NULL_WORDS,
    AttackEvidence,
    CaptionControls,
    Comparison,
    ExtractionEvidence,
    MembershipEvidence,
    NullRank,
)
from ..verdicts.lines import LINES

BASELINE_WORDS = {
    "centroid": "cosine with the mean of the suspect's images; it sees likeness, not use",
    "gan_leaks": "minus the pixel distance to the suspect's nearest image (GAN-Leaks); found "
    "largely ineffective on diffusion models",
    "gan_leaks_cosine": "minus 1 - cosine to the suspect's nearest image (GAN-Leaks on "
    "descriptors)",
    "set_membership": "share of the suspect's images near by (Monte Carlo set membership)",
    "reconstruction": "mean cosine with images drawn from the photo's own caption (Pang and Wang)",
}


def inspection_words(inspection: Inspection) -> str:
    """Findings, most serious first; what the metadata says is a claim."""
    head = [
        f"{inspection.format}, {inspection.family}, {plural(inspection.modules, 'module')}, "
        f"ranks {inspection.ranks}",
        f"SHA-256 {inspection.sha256}",
    ]
    findings = sorted(inspection.findings, key=lambda f: -f.severity)
    lines = [
        f"{f.severity.name} {f.subject}: {f.message}" + (f" ({f.evidence})" if f.evidence else "")
        for f in findings
    ]
    return "\n".join([*head, *lines])


def score_table(c: Comparison, names: Sequence[str]) -> str:
    """Score and conformal p-value of each photo, tab-separated, highest first."""
    rows = sorted(zip(names, c.photo_scores, c.photo_p, strict=True), key=lambda r: -r[1])
    return "\n".join(
        ["photo\tscore\tp", *(f"{clean_text(n)}\t{s:+.4f}\t{p:.3g}" for n, s, p in rows)]
    )


def membership_words(found: MembershipEvidence) -> str:
    """The white-box line: the declared signal, null models, then the other signals."""
    said = [f"White-box membership: {in_words(found.comparison)}"]
    said += [null_words(rank) for rank in found.null_ranks]
    if found.signals:
        said.append(signals_words(found))
    if found.captions is not None:
        said.append(captions_words(found.captions))
    return "\n".join([*said, *(f"not measured: {name} ({why})" for name, why in found.left_out)])


def null_words(rank: NullRank) -> str:
    """Rank among null models of one kind."""
    note = f"; {rank.note}" if rank.note else ""
    return (
        f"{plural(len(rank.nulls), 'null model')} {NULL_WORDS[rank.kind]}: effect "
        f"{rank.value:+.2f} sd, theirs at most {max(rank.nulls):+.2f}, p = {rank.p:.2g} "
        f"(floor {rank.floor:.2g}){note}"
    )


def signals_words(found: MembershipEvidence) -> str:
    """What the other signals say, strongest first; none of them raises a verdict."""
    ordered = sorted(found.signals, key=lambda s: -s.auc.auc)
    rows = [f"{s.title} AUC {s.auc.auc:.3f} (p = {s.holm_p:.2g} after Holm)" for s in ordered]
    return f"{plural(len(rows), 'further signal')}, for comparison: {'; '.join(rows)}"


def captions_words(captions: CaptionControls) -> str:
    """Whether the conditional gap lives on the captions alone."""
    aucs = ", ".join(f"{name} {value:.3f}" for name, value in captions.aucs.items())
    says = "depends on the paired captions" if captions.dependent else "outlives other captions"
    return f"Conditional gap by caption: AUC {aucs}; it {says}"


def decoy_words(rank: DecoyRank) -> str:
    """Rank of a published variant among its decoys."""
    only = "; one decoy gives a contrast, no test" if rank.contrast_only else ""
    return (
        f"Decoys ({rank.kind}): the published variant scores {rank.statistic:+.4f}, {rank.k} "
        f"decoys {min(rank.decoys):+.4f} to {max(rank.decoys):+.4f}; p = {rank.p:.2g} (floor "
        f"{rank.floor:.2g}){only}\ncommitment {rank.commitment}"
    )


def baseline_words(name: str, found: Comparison, *, calibrated: bool) -> str:
    """A baseline's result, with what it measures."""
    less = ", minus the same under the base's images" if calibrated else ""
    return f"{name}: {BASELINE_WORDS[name]}{less}. {in_words(found)}"


def extraction_words(found: ExtractionEvidence) -> str:
    """The extraction line, photos beside controls."""
    return (
        f"Extraction with {found.guidance}, {plural(found.images, 'image')}, {found.encoder}: AS "
        f"{found.average_similarity:.3f} (controls {found.control_similarity:.3f}), A-ESR "
        f"{found.success_strict:.2f} (controls {found.control_success_strict:.2f}); "
        f"{in_words(found.comparison)}"
    )


def attack_words(found: AttackEvidence) -> str:
    """The black-box line, with what it cannot tell."""
    return (
        f"Black-box attack: {in_words(found.comparison)}; {found.flagged_photos:.0%} of "
        f"photos and {found.flagged_controls:.0%} of controls flagged. {_seeds(found)}It tells "
        "sources apart, not photos (published AUC 0.53 inside one source)"
        + "".join(f"\n{note}" for note in found.notes)
    )


def _seeds(found: AttackEvidence) -> str:
    """Mean AUC over seeds with both intervals; nothing for a single seed."""
    if len(found.seed_aucs) < 2:
        return ""
    mean = sum(found.seed_aucs) / len(found.seed_aucs)
    return (
        f"Over {plural(len(found.seed_aucs), 'seed')} the AUC is {mean:.3f} (95% "
        f"{found.seed_low:.3f} to {found.seed_high:.3f}; the paper's too narrow interval "
        f"{found.paper_low:.3f} to {found.paper_high:.3f}). "
    )


def training_words(classifiers: Sequence[TrainedClassifier]) -> str:
    """How well an attack learnt its own task, and what that does not say."""
    accuracy = sum(c.heldout_accuracy for c in classifiers) / len(classifiers)
    return (
        f"{plural(len(classifiers), 'seed')}, accuracy on held-out generated images "
        f"{accuracy:.2f}: how well it tells the two models' images apart, not photos"
    )


def case_words(case: Case) -> str:
    """Verdict, reasons, what each line measured, error rates and caveats."""
    verdict = case.verdict
    head = f"Verdict {verdict.letter}: {verdict.headline}"
    why = [reason.text for reason in verdict.reasons]
    parts = {
        "Why": why,
        "Figures": _figures(case, "\n".join(why)),
        "Error rates": [*verdict.error_rates, *sentences(case.known_rates or {}, verdict.letter)],
        "Before acting": list(verdict.caveats),
    }
    listed = ("\n  - ".join([f"{name}:", *texts]) for name, texts in parts.items() if texts)
    return "\n".join([head, *listed])


def _figures(case: Case, known: str) -> list[str]:
    """Comparisons that the reasons do not state, and how the attack was run."""
    notes = () if case.attack is None else case.attack.notes
    rows = (f"{name}: {words}" for name, words in line_rows(case) if words not in known)
    return [*rows, *notes]


def line_rows(case: Case) -> list[tuple[str, str]]:
    """Title of each line that ran, and its comparison in one sentence."""
    return [(LINES[key].title, in_words(e.comparison)) for key, e in case.lines.items()]


def verdict_card(case: Case) -> dict[str, object]:
    """What a page draws of a case, as plain text only."""
    verdict = case.verdict
    counts = [("photos", str(len(case.photos))), ("controls", str(len(case.controls)))]
    return {
        "letter": verdict.letter,
        "headline": verdict.headline,
        "reasons": [r.text for r in verdict.reasons],
        "error_rates": list(verdict.error_rates),
        "caveats": list(verdict.caveats),
        "rows": [list(row) for row in (*counts, *line_rows(case))],
    }
