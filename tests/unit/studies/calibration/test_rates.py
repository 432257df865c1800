"""Rates of made-up results against scipy, scikit-learn and hand-made vectors."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from calibration_studies import PLAN, examined, many
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.rates.reading import load_rates
from lora_forensics.core.studies.calibration import rates as R
from lora_forensics.core.studies.calibration.document import main, render
from lora_forensics.core.studies.calibration.examine import PRIMARY, Nulls, read_examined, with_test
from lora_forensics.core.studies.calibration.summary import METHODS, chosen_elsewhere, known_rates
from lora_forensics.core.studies.calibration.weighing import (
    case_usage,
    likelihood_check,
    usage_checks,
)
from scipy import stats
from sklearn.metrics import roc_auc_score


@pytest.fixture(scope="module")
def results():
    return R.Results.of(many(partial=9))


def test_letter_rates_have_scipys_exact_intervals(results):
    rate = next(r for r in R.letter_rates(results) if r.letter == "A or B")
    assert (rate.innocent.hits, rate.innocent.trials) == (1, 36)
    assert (rate.guilty.hits, rate.guilty.trials) == (18, 36)
    for share in (rate.innocent, rate.guilty):
        exact = stats.binomtest(share.hits, share.trials).proportion_ci(0.95, "exact")
        assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_letters_sum_to_all_cases(results):
    rates = {r.letter: r for r in R.letter_rates(results)}
    assert sum(rates[k].innocent.hits for k in "ABCD") == 36
    assert rates["A or B"].guilty.hits == rates["A"].guilty.hits + rates["B"].guilty.hits


def test_signal_rates_are_scikit_learns_areas(results):
    rate = R.signal_rate(results, PRIMARY, METHODS[PRIMARY])

    def area(e):
        s = e.scores[PRIMARY]
        truth = [1] * len(s.photos) + [0] * len(s.controls)
        return roc_auc_score(truth, [*s.photos, *s.controls])

    assert rate.auc.value == pytest.approx(np.mean([area(e) for e in results.guilty]))
    assert rate.auc.low < rate.auc.value < rate.auc.high
    assert rate.power.hits > 30
    assert rate.false_alarm.hits <= 6
    assert rate.innocent_auc.low < 0.5 < rate.innocent_auc.high
    assert rate.photo_power.value > 3 * rate.photo_alarm.value


def test_pooling_undoes_each_cases_own_scale():
    one = examined(1, 1.0, gap=3.0)
    s = one.scores[PRIMARY]
    moved = with_test([100 * x + 7 for x in s.photos], [100 * x + 7 for x in s.controls])
    other = replace(one, scores={PRIMARY: moved})
    assert R.pooled_auc([one, other], PRIMARY) == pytest.approx(R.pooled_auc([one], PRIMARY))


def test_signals_that_some_case_lacks_are_left_out():
    rows = many(4, 4)
    short = {k: v for k, v in rows[0].scores.items() if k != "loss"}
    found = R.signal_rates(R.Results.of([replace(rows[0], scores=short), *rows[1:]]), METHODS)
    assert {r.name for r in found} == {PRIMARY, "attack", "extraction"}
    assert [r.auc.value for r in found] == sorted((r.auc.value for r in found), reverse=True)


def test_rates_need_two_cases_of_each_truth():
    with pytest.raises(NotEnoughDataError, match="FEW_CASES"):
        R.Results.of(many(5, 1))


def test_factor_rates_keep_levels_apart():
    rows = [examined(i, u, "A", gap=1, rank=r) for i, (u, r) in enumerate([(1.0, 4), (1.0, 8)] * 3)]
    rows += [examined(50 + i, 0.0, rank=r) for i, r in enumerate([4, 8] * 3)]
    found = [f for f in R.factor_rates(R.Results.of(rows)) if f.factor == "rank"]
    assert [(f.level, f.power.hits, f.power.trials) for f in found] == [("4", 3, 3), ("8", 3, 3)]


def test_uniform_p_values_pass_and_small_ones_do_not():
    rng = np.random.default_rng(0)

    def cells(a):
        return [(k / 20, 20) for k in a]

    even, other = rng.integers(1, 21, (2, 200))
    assert R.check_p("even", cells(even)).verdict == "uniform"
    small = R.check_p("small", cells(np.minimum(even, other)))
    assert small.verdict == "anti-conservative"
    assert small.too_small_p <= 0.01
    large = R.check_p("large", cells(np.maximum(even, other)))
    assert large.verdict == "conservative"
    assert large.too_small_p > 0.5


def test_hits_at_five_percent_count_the_value_itself():
    found = R.check_p("x", [(0.05, 100), (0.1, 100), (0.15, 100), (0.01, 100)])
    assert (found.at_05.hits, found.at_01.hits) == (2, 1)


def test_p_values_carry_the_grid_they_live_on(results):
    found = R.p_values(results, METHODS)
    assert {cells for _, cells in found[R.PHOTO_P]} == {41}
    assert {cells for _, cells in found[R.PLACEBO_P]} == {20}
    assert {cells for _, cells in found[R.PRIMARY_P]} == {200}
    assert all(len(p) == 36 for p in found.values())


def test_the_best_signal_is_chosen_on_other_cases():
    table = {"a": [0.9, 0.3, 0.2], "b": [0.5, 0.6, 0.7]}
    assert chosen_elsewhere(table).tolist() == [0.5, 0.6, 0.2]


def test_usage_estimates_follow_the_truth(results):
    rows = {c.used: c for c in usage_checks(results)}
    assert rows[0.0].estimate.value < 0.2
    assert rows[1.0].estimate.value > 0.8
    assert rows[0.0].covered.hits > 0.8 * rows[0.0].covered.trials
    assert case_usage(results.guilty[0], R.Results.of(many(2, 2))) is None


def test_likelihood_ratios_of_separable_cases_inform(results):
    pytest.importorskip("lir")
    found = likelihood_check(results)
    assert found is not None
    assert found.cllr < 0.5
    assert found.cllr_min <= found.cllr
    assert likelihood_check(R.Results.of(many(4, 4))) is None


def test_claims_say_held_and_not_held():
    held = {c.text: c.held for c in known_rates(many(), PLAN).claims}
    assert list(held.values()).count(True) >= 3
    guilty_looking = [replace(e, letter="A") for e in many(36, 36)]
    for rows in (guilty_looking, many(36, 29)):
        assert not known_rates(rows, PLAN).claims[0].held


def test_a_claim_about_p_values_fails_when_nulls_accuse():
    rows = [
        replace(e, nulls={"placebo": Nulls(1.0, tuple([0.0] * 19), 0.05)})
        if e.case.used == 0.0 else e
        for e in many()
    ]  # fmt: skip
    claim = next(c for c in known_rates(rows, PLAN).claims if "uniform" in c.text)
    assert not claim.held


def test_results_come_back_from_json(tmp_path):
    e, path = examined(3, 1.0, "A", 1.0), tmp_path / "result.json"
    path.write_bytes(e.json(1.0))
    assert read_examined(path) == replace(e, seconds=1.0)
    path.write_bytes(path.read_bytes().replace(b'"floor"', b'"ceiling"', 1))
    with pytest.raises(InputError, match=r"BAD_RESULT.*scores\['primary'\].floor is missing"):
        read_examined(path)


def test_page_and_json_say_the_same(tmp_path):
    rates = known_rates(many(partial=9), PLAN, command="lora-forensics calibrate --out FOLDER")
    (tmp_path / "rates.json").write_text(json.dumps(asdict(rates)))
    main([str(tmp_path / "rates.json"), str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert page == render(load_rates(tmp_path / "rates.json")) == render(rates)
    both = rates.letter("A or B")
    assert str(both.innocent) in page
    assert all(s.title in page for s in rates.signals)
    assert page.count("\n| 2") >= 9
