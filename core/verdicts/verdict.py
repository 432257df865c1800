"""Evidence -> one of the fixed verdicts, with the reasons and what limits it.

The gates are asked in order and each leaves a reason. The letter rests on one statistic declared
beforehand (white-box BaseRatio, rank permutation); the other lines are reported with Holm's
correction and never raise the letter by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..decoys import DecoyRank
from ..errors import ForensicsError, plural
from ..specs import VerdictSpec
from ..statistics.holm import holm
from ..statistics.intervals import clopper_pearson
from ..statistics.probe import MIN_UNITS, BlindProbe
from .case import Reason, Verdict
from .comparison import in_words
from .evidence import (
    NULL_WORDS,
    TRAINED_NULLS,
    AttackEvidence,
    Comparison,
    ExtractionEvidence,
    MembershipEvidence,
    NullRank,
)
from .letters import LETTERS, MIN_DECOYS
from .lines import LINES

MIN_SEEDS = 2  # independent noise draws, so that "all agree" says something

CAVEATS = (
    "Look-alikes and other data of the same source can produce B and C.",
    "Absence of signal is not absence of use: short training, defences, or edits can hide it.",
    "The verdict is about the set of photos, not about any single one.",
    "A person decides; this report is evidence for that decision, not the decision.",
)


def decide(
    membership: MembershipEvidence,
    probe: BlindProbe | None,
    spec: VerdictSpec,
    *,
    exchangeable: bool,
    extraction: ExtractionEvidence | None = None,
    attack: AttackEvidence | None = None,
    decoys: DecoyRank | None = None,
    noticed: Sequence[str] = (),
) -> Verdict:
    """The verdict of a case.

    Args:
        membership: the primary line of evidence.
        probe: the model-blind probe of photos against controls; None: too few for one.
        spec: levels, fixed before any result.
        exchangeable: the user declared the controls a hold-out of the photos' own source.
        extraction: secondary line, if it ran.
        attack: secondary line, if it ran.
        decoys: rank of the published variant among its decoys, if the owner drew any.
        noticed: further caveats: about the file's base, about the sets.
    """
    main = membership.comparison
    letter, why, photos = _letter(membership, probe, spec, exchangeable)
    if decoys is not None and decoys.k >= MIN_DECOYS and decoys.p <= spec.alpha_strong:
        letter, why, photos = "A", _decoy_words(decoys), 0
    secondary, found = _secondary(extraction, attack, spec)
    if letter == "D" and found:
        why += "; a secondary line did find a difference: look at it before closing the case"
    reasons = (
        Reason("decisive", why[0].upper() + why[1:] + "."),
        Reason("measured", f"White-box membership: {in_words(main)}."),
        *_decoy_reason(decoys, spec),
        *_signals_reason(membership, spec),
        *secondary,
        _probe_reason(probe),
        *_null_reasons(membership),
    )
    return Verdict(
        letter,
        LETTERS[letter].headline,
        reasons,
        (*noticed, *_caveats(membership, probe, exchangeable, attack)),
        _error_rates(main, spec, exchangeable, decoys),
        photos,
    )


def error_verdict(error: ForensicsError) -> Verdict:
    """The verdict of a file that could not be analysed: never "clean"."""
    return Verdict(
        "ERROR",
        f"{LETTERS['ERROR'].headline} ({error.code})",
        (Reason("cause", str(error)),),
        ("An error is not a clean bill: nothing was learned about this file.",),
        (),
    )


def unjudged() -> Verdict:
    """When only secondary lines ran: figures without a verdict."""
    return Verdict(
        "NONE",
        LETTERS["NONE"].headline,
        (Reason("decisive", "White-box membership was not run; screen runs it."),),
        ("A single line of evidence is not a verdict.", *CAVEATS),
        (),
    )


def _letter(
    membership: MembershipEvidence, probe: BlindProbe | None, spec: VerdictSpec, exchangeable: bool
) -> tuple[str, str, int]:
    """Letter, reason, photos needed: the gates in order."""
    main = membership.comparison
    p, needed = main.permutation.p, main.photos_needed
    if main.permutation.floor > spec.alpha_strong:
        return _too_small(main, spec)
    if membership.too_weak:
        return "D", "the adapter changes the loss less than the measurement's own noise", 0
    if p > spec.alpha:
        return _no_difference(main)
    if probe is None:
        why = f"the blind probe needs {MIN_UNITS} photos; without it no difference can be trusted"
        return "D", why, MIN_UNITS
    if probe.fails:
        return "C", "the sets differ even for a probe that never saw the model", 0
    steady = main.effect_low > 0 and all(e > 0 for e in membership.seed_effects)
    if steady and len(membership.seed_effects) < MIN_SEEDS:
        return "D", "one noise draw cannot show that the sign holds; measure with 4 or more", 0
    if exchangeable and steady and p <= spec.alpha_strong:
        against = _contradicting(membership, spec)
        if against is None:
            why = f"the model knows the photos better than exchangeable controls (p = {p:.2g})"
            return "A", why, 0
        return against
    if any(_bars(r, spec) for r in membership.null_ranks if r.kind == "noise"):
        return "D", "noise of the same strength moves the sets as far apart", 0
    if steady and (null := beaten_nulls(membership, spec)) is not None:
        kind = NULL_WORDS[null.kind]
        nulls = f"{plural(len(null.nulls), 'adapter')} {kind}"
        why = f"the suspect ranks above its {nulls} (p = {null.p:.2g})"
        return "B", why, 0
    if not exchangeable:
        return "C", "the controls were not declared exchangeable with the photos", 0
    return "D", f"p = {p:.3g} is suggestive but below the bar of verdicts A and B", needed


def _too_small(main: Comparison, spec: VerdictSpec) -> tuple[str, str, int]:
    """Too few photos, or too few sessions of them, for any result to count."""
    n, m = len(main.photo_scores), len(main.control_scores)
    photos, controls = plural(n, "photo"), plural(m, "control")
    sessions = main.photo_sessions > 0
    enough = smallest_set(main.control_sessions if sessions else m, spec.alpha_strong)
    what = (
        f"{photos} of {plural(main.photo_sessions, 'session')} and {controls} of "
        f"{main.control_sessions} cannot reach p = {spec.alpha_strong:g}, since only sessions are "
        f"independent; photos of {plural(enough, 'session')}"
        if sessions
        else f"{photos} and {controls} cannot reach p = {spec.alpha_strong:g}; "
        f"{plural(enough, 'photo')}"
    )
    return "D", f"{what} would be needed with these controls", enough


def _no_difference(main: Comparison) -> tuple[str, str, int]:
    found = f"the declared test found no difference (p = {main.permutation.p:.3g})"
    if main.photos_needed <= len(main.photo_scores):
        return "D", found, 0
    more = f"; an AUC of {main.auc.auc:.2f} would need {plural(main.photos_needed, 'photo')}"
    return "D", found + more, main.photos_needed


def _bars(rank: NullRank, spec: VerdictSpec) -> bool:
    """Whether enough null models ran, and one reaches the suspect's effect."""
    return rank.floor <= spec.alpha < rank.p


def _contradicting(
    membership: MembershipEvidence, spec: VerdictSpec
) -> tuple[str, str, int] | None:
    """Null models that tell the sets apart as well as the suspect does.

    That the controls are exchangeable is the user's word; models that never saw the photos speak
    against it when one of them reaches the suspect's effect and its AUC is not above theirs.
    """
    level = [r for r in membership.null_ranks if _bars(r, spec) and r.difference.low <= 0]
    if not level:
        return None
    if all(r.kind == "noise" for r in level):
        return "D", "noise of the same strength moves the sets as far apart", 0
    kind = next(NULL_WORDS[r.kind] for r in level if r.kind != "noise")
    why = f"adapters {kind} tell photos and controls apart as well: the sets are not exchangeable"
    return "C", why, 0


def smallest_set(controls: int, alpha: float) -> int:
    """Photos from which on an exact rank test can reach `alpha` with so many controls.

    Example:
        >>> smallest_set(10, 0.01)
        3
    """
    n = 1
    while 1 / math.comb(n + controls, n) > alpha and n < 1000:
        n += 1
    return n


def _decoy_words(decoys: DecoyRank) -> str:
    return (
        f"the variant that was published ranks first among {plural(decoys.k, 'decoy')} that only "
        f"chance kept back (p = {decoys.p:.2g})"
    )


def _decoy_reason(decoys: DecoyRank | None, spec: VerdictSpec) -> list[Reason]:
    if decoys is None:
        return []
    enough = "" if decoys.k >= MIN_DECOYS else f"; verdict A needs {MIN_DECOYS} or more"
    kind = "met" if decoys.p <= spec.alpha_strong and not enough else "not_met"
    text = (
        f"Decoys ({decoys.kind}): rank p = {decoys.p:.2g} among {decoys.k} (floor "
        f"{decoys.floor:.2g}{enough}); commitment {decoys.commitment[:16]}."
    )
    return [Reason(kind, text)]


def _signals_reason(membership: MembershipEvidence, spec: VerdictSpec) -> list[Reason]:
    """One sentence on the other white-box signals, which never raise the letter."""
    signals = membership.signals
    if not signals:
        return []
    significant = [s for s in signals if s.holm_p <= spec.alpha_strong]
    best = max(signals, key=lambda s: s.auc.auc)
    text = (
        f"Other white-box signals: a difference in {len(significant)} of {len(signals)} "
        f"(Holm-adjusted p <= {spec.alpha_strong:g}); the highest AUC is {best.title}'s, "
        f"{best.auc.auc:.3f}."
    )
    return [Reason("found" if significant else "not_found", text)]


def _secondary(
    extraction: ExtractionEvidence | None, attack: AttackEvidence | None, spec: VerdictSpec
) -> tuple[list[Reason], bool]:
    """A reason per secondary line, and whether any found a difference after Holm's correction."""
    given = {"extraction": extraction, "attack": attack}
    lines = [(LINES[key].title, e.comparison) for key, e in given.items() if e is not None]
    if not lines:
        return [], False
    adjusted = holm([c.permutation.p for _, c in lines])
    significant = adjusted <= spec.alpha_strong
    reasons = [
        Reason(
            "found" if hit else "not_found",
            f"{name} {'found a difference' if hit else 'found no difference'} (Holm-adjusted "
            f"p = {p:.2g}): {in_words(c)}.",
        )
        for (name, c), p, hit in zip(lines, adjusted, significant, strict=True)
    ]
    return reasons, bool(significant.any())


def _probe_reason(probe: BlindProbe | None) -> Reason:
    if probe is None:
        few = f"Blind probe: not possible with fewer than {MIN_UNITS} photos and controls."
        return Reason("not_run", few)
    kind = "undecided" if probe.inconclusive else "not_met" if probe.fails else "met"
    return Reason(kind, probe.reason)


def trained_nulls(membership: MembershipEvidence) -> list[NullRank]:
    """Ranks among trained null models; noise adapters learned nothing."""
    return [r for r in membership.null_ranks if r.kind in TRAINED_NULLS]


def beaten_nulls(membership: MembershipEvidence, spec: VerdictSpec) -> NullRank | None:
    """The rank with the largest p, if every kind of trained null models is beaten."""
    trained = trained_nulls(membership)
    if not all(r.p <= spec.alpha and r.difference.low > 0 for r in trained):
        return None
    return max(trained, key=lambda rank: rank.p, default=None)


def _null_reasons(membership: MembershipEvidence) -> list[Reason]:
    ranks = membership.null_ranks
    reasons = [
        Reason(
            "measured",
            f"Null models: rank p = {r.p:.2g} among {plural(len(r.nulls), 'adapter')} "
            f"{NULL_WORDS[r.kind]} (floor {r.floor:.2g}), AUC {r.difference.difference:+.3f} over "
            f"theirs ({r.difference.low:+.3f} to {r.difference.high:+.3f}).",
        )
        for r in ranks
    ]
    if not trained_nulls(membership):
        none = "No trained null models were run; verdict B was out of reach."
        reasons.append(Reason("not_run", none))
    return reasons


def _caveats(
    membership: MembershipEvidence,
    probe: BlindProbe | None,
    exchangeable: bool,
    attack: AttackEvidence | None,
) -> tuple[str, ...]:
    extra = []
    if exchangeable:
        extra.append("That the controls are exchangeable with the photos is the user's statement.")
    else:
        extra.append("Without exchangeable controls a different source cannot be told from use.")
    if probe is not None and probe.inconclusive:
        extra.append("The blind probe is undecided: with so few photos it cannot rule out a shift.")
    if abs(membership.base_only_auc - 0.5) > 0.15:
        extra.append(
            f"The base model alone separates the sets (AUC {membership.base_only_auc:.2f}): "
            "part of any difference may be the sets' own."
        )
    if membership.captions is not None and membership.captions.dependent:
        extra.append(
            "The conditional gap lives only with the paired captions: it speaks of captions, not "
            "of photos."
        )
    if attack is not None:
        extra.append("The black-box attack tells sources apart, not photos (published: AUC 0.53).")
    return (*extra, *CAVEATS)


def _error_rates(
    c: Comparison, spec: VerdictSpec, exchangeable: bool, decoys: DecoyRank | None
) -> tuple[str, ...]:
    m = len(c.control_scores)
    bound = clopper_pearson(0, m, side="upper").high
    rates = [
        *_letter_rates(spec, exchangeable, decoys),
        f"A single photo's p-value cannot fall below 1/{m + 1}; no alarm among "
        f"{plural(m, 'control')} bounds its false-alarm rate at {bound:.1%} (95%).",
    ]
    for target, r in zip((0.01, 0.05), c.tpr, strict=True):
        if r.estimable:
            rates.append(
                f"Share of photos above the {target:.0%} control threshold: {r.tpr:.0%} "
                f"({r.tpr_low:.0%} to {r.tpr_high:.0%}); expected {r.fpr_expected:.1%} without use."
            )
        else:
            rates.append(f"At {target:.0%} false alarms: not estimable under {r.needed_controls}.")
    return tuple(rates)


def _letter_rates(spec: VerdictSpec, exchangeable: bool, decoys: DecoyRank | None) -> list[str]:
    """How often the letters accuse by chance: each way to an A adds its own level."""
    strong = spec.alpha_strong
    drawn = decoys is not None and decoys.k >= MIN_DECOYS
    by_decoys = (
        f"If the published variant was not used, its decoys give verdict A by chance in at most "
        f"{strong:.0%} of cases, whatever the controls."
    )
    if exchangeable:
        both = f" With the decoys' own {strong:.0%} this makes {2 * strong:.0%} for A."
        return [
            f"If the photos were not used and the controls are exchangeable, verdict A comes up "
            f"by chance in at most {strong:.0%} of cases, A or B in {spec.alpha:.0%}."
            + (both if drawn else "")
        ]
    if drawn:
        return [by_decoys, "Beside the decoys, without exchangeable controls, none can be stated."]
    return ["Without exchangeable controls no false-accusation rate can be stated."]
