from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lora_forensics.core.decoys import DecoyRank
from lora_forensics.core.errors import InputError, LoraFormatError
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.statistics.auc import delong, delong_paired
from lora_forensics.core.statistics.probe import BlindProbe
from lora_forensics.core.statistics.tpr_at_fpr import tpr_at_fpr
from lora_forensics.core.verdicts.comparison import compare, effect_interval
from lora_forensics.core.verdicts.evidence import NullRank, SignalFinding
from lora_forensics.core.verdicts.verdict import decide, error_verdict, smallest_set, unjudged
from white_box import white_box

SPEC = VerdictSpec()


def probe(auc=0.5, p=0.5, fails=False, inconclusive=False):
    return BlindProbe(
        auc=auc, low=auc - 0.1, high=auc + 0.1, p=p, n=16, m=100, fails=fails,
        inconclusive=inconclusive, reason="Blind probe: as it says.",
    )  # fmt: skip


def evidence(shift=3.0, n=16, m=100, *, nulls=(), seeds=(1.0, 1.0), weak=False, seed=0):
    rng = np.random.default_rng(seed)
    comparison = compare(rng.normal(shift, 1, n), rng.normal(0, 1, m), SPEC)
    return white_box(comparison, seed_effects=seeds, too_weak=weak, null_ranks=nulls)


def ranked(p, kind="placebo", *, above=True):
    """Rank evidence of 19 null models, with an AUC clearly above theirs or level with it."""
    rng = np.random.default_rng(2)
    own, null, others = rng.normal(2.0 * above, 1, 30), rng.normal(0, 1, 30), rng.normal(0, 1, 90)
    difference = delong_paired((own, others), (null, rng.normal(0, 1, 90)))
    rank = NullRank(
        kind=kind, value=3.0, nulls=(0.1,) * 19, p=p, floor=0.05, photo_p=(), difference=difference
    )
    return (rank,)


def letter(membership, blind=None, *, exchangeable=True, **more):
    return decide(membership, blind or probe(), SPEC, exchangeable=exchangeable, **more).letter


@pytest.mark.parametrize(("shift", "expected"), [(3.0, "A"), (0.0, "D"), (-3.0, "D")])
def test_only_a_strong_difference_upward_is_a_with_exchangeable_controls(shift, expected):
    assert letter(evidence(shift)) == expected


def test_failing_probe_caps_at_c():
    blind = probe(0.9, 0.005, fails=True)
    assert letter(evidence(), blind) == "C"
    assert letter(evidence(), blind, exchangeable=False) == "C"


def test_without_a_probe_no_difference_is_trusted():
    verdict = decide(evidence(n=3), None, SPEC, exchangeable=True)
    assert verdict.letter == "D"
    assert verdict.photos_needed == 4


def test_undecided_probe_is_said_but_does_not_cap():
    verdict = decide(evidence(), probe(0.62, 0.2, inconclusive=True), SPEC, exchangeable=True)
    assert verdict.letter == "A"
    assert any("undecided" in c for c in verdict.caveats)
    assert "Blind probe: as it says." in [r.text for r in verdict.reasons]


def test_without_exchangeable_controls_never_a():
    assert letter(evidence(), exchangeable=False) == "C"
    suspect = evidence(nulls=ranked(0.05))
    assert letter(suspect, exchangeable=False) == "B"
    unranked = evidence(nulls=ranked(0.9))
    assert letter(unranked, exchangeable=False) == "C"


def test_seeds_that_disagree_take_a_and_b_away():
    shaky = evidence(nulls=ranked(0.05), seeds=(1.0, -0.1))
    assert letter(shaky) == "D"
    assert letter(shaky, exchangeable=False) == "C"


def test_too_few_photos_is_d_with_the_number_needed():
    verdict = decide(evidence(n=2, m=3), probe(), SPEC, exchangeable=True)
    assert verdict.letter == "D"
    assert verdict.photos_needed == smallest_set(3, SPEC.alpha_strong) > 2
    assert str(verdict.photos_needed) in verdict.reasons[0].text


def test_one_noise_draw_cannot_show_that_the_sign_holds():
    verdict = decide(evidence(seeds=(1.0,)), probe(), SPEC, exchangeable=True)
    assert verdict.letter == "D"
    assert "One noise draw" in verdict.reasons[0].text


def test_levels_can_be_made_stricter_only():
    assert VerdictSpec(alpha_strong=0.001).alpha_strong == 0.001
    for laxer in ({"alpha": 0.1}, {"alpha_strong": 0.05}, {"probe_limit": 0.9}):
        with pytest.raises(InputError, match="BAD_SETTING"):
            VerdictSpec(**laxer)


def test_sessions_that_are_too_few_are_counted_as_sessions():
    rng = np.random.default_rng(0)
    clusters = ("one",) * 30 + tuple(f"c{i}" for i in range(40))
    c = compare(rng.normal(3, 1, 30), rng.normal(0, 1, 40), SPEC, clusters=clusters)
    verdict = decide(replace(evidence(), comparison=c), probe(), SPEC, exchangeable=True)
    assert verdict.letter == "D"
    assert (c.photo_sessions, c.control_sessions) == (1, 40)
    assert "30 photos of 1 session and" in verdict.reasons[0].text
    assert verdict.photos_needed == smallest_set(40, SPEC.alpha_strong) == 2
    assert "2 sessions would be needed" in verdict.reasons[0].text


@pytest.mark.parametrize("kind", ["placebo", "counterfactual", "noise"])
def test_null_models_that_do_the_same_take_a_away(kind):
    """Exchangeable is the user's word; models that never saw the photos speak against it."""
    level = evidence(nulls=ranked(1.0, kind, above=False))
    verdict = decide(level, probe(), SPEC, exchangeable=True)
    assert verdict.letter == ("D" if kind == "noise" else "C")
    assert "apart" in verdict.reasons[0].text
    beaten = evidence(nulls=ranked(0.05, kind))
    assert letter(beaten) == "A"
    one_above = evidence(nulls=ranked(0.10, kind))
    assert letter(one_above) == "A", "one chance null above, yet the AUC is clearly above theirs"
    few = (replace(ranked(1.0, kind, above=False)[0], floor=0.5),)
    assert letter(evidence(nulls=few)) == "A", "too few null models to say anything"


def test_weak_adapter_is_d_not_clean():
    verdict = decide(evidence(0.0, weak=True), probe(), SPEC, exchangeable=True)
    assert verdict.letter == "D"
    assert "noise" in verdict.reasons[0].text


def test_no_verdict_claims_innocence_and_all_carry_caveats():
    for shift in (-3.0, 0.0, 3.0):
        verdict = decide(evidence(shift), probe(), SPEC, exchangeable=True)
        text = " ".join((verdict.headline, *(r.text for r in verdict.reasons))).lower()
        assert not any(word in text for word in ("clean", "innocent", "not trained", "guilty"))
        assert any("person decides" in c for c in verdict.caveats)
        assert verdict.error_rates


def test_error_is_never_clean():
    verdict = error_verdict(LoraFormatError("NOT_APPLIED", "nothing changed"))
    assert verdict.letter == "ERROR"
    assert "NOT_APPLIED" in verdict.headline
    assert [r.kind for r in verdict.reasons] == ["cause"]
    assert unjudged().letter == "NONE"
    assert [r.kind for r in unjudged().reasons] == ["decisive"]


def kinds(membership, blind, **more):
    verdict = decide(membership, blind, SPEC, exchangeable=True, **more)
    return [r.kind for r in verdict.reasons]


@pytest.mark.parametrize(
    ("blind", "kind"),
    [
        (probe(), "met"),
        (probe(0.9, 0.005, fails=True), "not_met"),
        (probe(0.62, 0.2, inconclusive=True), "undecided"),
        (None, "not_run"),
    ],
)
def test_reasons_say_what_kind_of_finding_they_state(blind, kind):
    assert kinds(evidence(), blind) == ["decisive", "measured", kind, "not_run"]
    suspect = evidence(nulls=ranked(0.05))
    assert kinds(suspect, blind)[-1] == "measured"


@pytest.mark.parametrize(("shift", "kind"), [(3.0, "found"), (0.0, "not_found")])
def test_secondary_lines_are_found_or_not(shift, kind):
    attack = SimpleNamespace(comparison=evidence(shift).comparison)
    assert kinds(evidence(), probe(), attack=attack)[2] == kind


def test_false_accusation_rate_under_the_null():
    """A at most 1% and A or B at most 5% of exchangeable innocent cases (exact test)."""
    rng = np.random.default_rng(7)
    letters, m = [], evidence(0.0)
    for _ in range(400):
        scores = rng.standard_t(3, 40)
        null = ranked(float(rng.integers(1, 21)) / 20)
        c = compare(scores[:10], scores[10:], SPEC, permutations=999)
        letters.append(letter(replace(m, comparison=c, null_ranks=null)))
    accused = sum(x in "AB" for x in letters)
    assert accused <= 28  # 99.9% binomial bound for a rate of 5% of 400 is 35; A is 1%
    assert sum(x == "A" for x in letters) <= 11


def test_noise_adapters_alone_never_make_a_b():
    suspect = evidence(nulls=ranked(0.05, "noise"))
    assert letter(suspect, exchangeable=False) == "C"
    both = evidence(nulls=ranked(0.05, "noise") + ranked(0.05))
    assert letter(both, exchangeable=False) == "B"


def test_b_needs_an_auc_above_that_of_the_nulls():
    assert letter(evidence(nulls=ranked(0.05, above=False)), exchangeable=False) == "C"


def test_noise_that_reaches_the_same_effect_bars_b():
    both = evidence(nulls=ranked(0.5, "noise") + ranked(0.05))
    assert letter(both, exchangeable=False) == "D"


@pytest.mark.parametrize("worse", [ranked(0.3), ranked(0.05, above=False)])
@pytest.mark.parametrize("kind", ["placebo", "counterfactual"])
def test_every_kind_of_trained_null_must_be_beaten(worse, kind):
    """By rank and by AUC, whichever kind has the larger p."""
    other = "counterfactual" if kind == "placebo" else "placebo"
    for p in (0.01, 0.05):
        both = (*ranked(p, other), replace(worse[0], kind=kind))
        assert letter(evidence(nulls=both), exchangeable=False) == "C"
    assert letter(evidence(nulls=ranked(0.05) + ranked(0.05, other)), exchangeable=False) == "B"


@pytest.mark.parametrize(
    ("k", "p", "expected"), [(99, 0.01, "A"), (99, 0.02, "D"), (98, 1 / 99, "D")]
)
def test_a_decoy_rank_among_99_carries_verdict_a(k, p, expected):
    rank = DecoyRank(p, 1 / (k + 1), k, "mark", "c" * 64, 1.0, (0.0,) * k, False)
    assert letter(evidence(0.0), exchangeable=False, decoys=rank) == expected
    told = kinds(evidence(0.0), probe(), decoys=rank)
    assert told[2] == ("met" if expected == "A" else "not_met")


def test_error_rates_add_the_ways_to_an_a():
    rank = DecoyRank(0.01, 0.01, 99, "mark", "c" * 64, 1.0, (0.0,) * 99, False)
    few = replace(rank, k=9, floor=0.1, p=0.1, decoys=(0.0,) * 9)

    def said(decoys, exchangeable):
        made = decide(evidence(0.0), probe(), SPEC, exchangeable=exchangeable, decoys=decoys)
        return " ".join(made.error_rates)

    assert "2% for A" in said(rank, True)
    assert "whatever the controls" in said(rank, False)
    assert "no false-accusation rate can be stated" not in said(rank, False)
    assert "no false-accusation rate can be stated" in said(few, False)
    assert "for A" not in said(None, True).replace("verdict A", "")


def test_other_signals_never_raise_the_letter():
    area = delong(np.arange(10) + 5.0, np.arange(40) / 10)
    share = tpr_at_fpr(np.arange(10) + 5.0, np.arange(40) / 10, 0.05)
    found = SignalFinding(
        name="s",
        title="S",
        source="x",
        published=False,
        forwards=2,
        photo_scores=(1.0,),
        control_scores=(0.0,),
        auc=area,
        tpr=share,
        p=1e-4,
        holm_p=1e-3,
    )
    loud = replace(evidence(0.0), signals=(found,))
    assert letter(loud) == "D"
    assert kinds(loud, probe())[2] == "found"


def test_effect_interval_of_constant_controls_is_finite():
    effect, low, high = effect_interval(np.array([1.0, 2.0]), np.zeros(5))
    assert np.isfinite([effect, low, high]).all()
    assert low <= effect <= high


@pytest.mark.parametrize(("m", "alpha"), [(10, 0.01), (100, 0.01), (3, 0.05)])
def test_smallest_set_is_smallest(m, alpha):
    from math import comb

    n = smallest_set(m, alpha)
    assert 1 / comb(n + m, n) <= alpha
    assert n == 1 or 1 / comb(n - 1 + m, n - 1) > alpha
