"""Properties that the statistics promise, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics import metrics as M
from lora_forensics.core.statistics import permutation

scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=25)
quick = settings(max_examples=80, deadline=None)


@quick
@given(scores, scores)
def test_auc_is_symmetric_and_blind_to_monotone_maps(x, y):
    a = M.auc(x, y)
    assert 0 <= a <= 1
    assert M.auc(y, x) == pytest.approx(1 - a)
    assert M.auc(np.exp(np.array(x) / 5), np.exp(np.array(y) / 5)) == pytest.approx(a)
    assert M.auc(-np.array(x), -np.array(y)) == pytest.approx(1 - a)


@quick
@given(scores, scores, st.sampled_from([0.8, 0.95, 0.99]))
def test_delong_never_claims_certainty(x, y, level):
    e = M.delong(x, y, level)
    assert 0 <= e.low <= e.auc <= e.high <= 1
    assert e.high - e.low > 0
    assert e.se > 0 or (e.low, e.high) == (0, 1)
    flipped = M.delong(y, x, level)
    assert (1 - flipped.high, 1 - flipped.low) == pytest.approx((e.low, e.high), abs=1e-9)


@quick
@given(scores, scores)
def test_roc_curve_climbs(x, y):
    fpr, tpr = M.roc_curve(x, y)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()


@pytest.mark.parametrize(("x", "y", "low"), [([5.0] * 8, [1.0] * 30, 0.025 ** (1 / 8))])
def test_perfect_separation_is_bounded_by_disjoint_pairs(x, y, low):
    e, back = M.delong(x, y), M.delong(y, x)
    assert e.method == "disjoint pairs, exact binomial"
    assert (e.auc, e.high) == (1, 1)
    assert e.low == pytest.approx(low)
    assert (back.auc, back.low, back.high) == pytest.approx((0, 0, 1 - low))


def test_all_ties_fall_back_to_hoeffding():
    e = M.delong([1.0] * 50, [1.0] * 60)
    assert (e.auc, e.method) == (0.5, "Hoeffding bound")
    assert e.low == pytest.approx(0.5 - math.sqrt(math.log(40) / 100))


def test_delong_covers_the_truth():
    truth, hits = 0.7603, 0  # normal scores, one standard deviation apart
    rng = np.random.default_rng(0)
    for _ in range(600):
        e = M.delong(rng.normal(1, 1, 16), rng.normal(0, 1, 100))
        hits += e.low <= truth <= e.high
    assert hits / 600 > 0.93


def test_paired_difference_of_equal_and_of_perfect_scores():
    x, y = [3.0, 1, 2, 5], [0.0, 2, 1]
    same = M.delong_paired(x, y, x, y)
    assert same.difference == 0
    assert same.low < 0 < same.high
    perfect = M.delong_paired([5, 6, 7, 8], [1, 2, 3], x, y)
    assert perfect.method == "separate intervals, Bonferroni"
    assert perfect.low < perfect.difference <= perfect.high
    with pytest.raises(InputError, match="PAIR_MISMATCH"):
        M.delong_paired(x, y, x[:-1], y)


@pytest.mark.parametrize(
    ("m", "target", "ok"),
    [(99, 0.01, False), (100, 0.01, True), (999, 0.001, False), (1000, 0.001, True)],
)
def test_low_rates_need_controls(m, target, ok):
    r = M.tpr_at_fpr([5.0], np.linspace(0, 1, m), target)
    assert r.estimable is ok
    assert r.needed_controls == round(1 / target)
    assert r.fpr == int(target * m + 1e-9) / m
    assert r.fpr <= r.fpr_expected <= r.fpr_high


def test_threshold_is_the_next_control_and_float_shares_do_not_slip():
    r = M.tpr_at_fpr([70.5, 71.5], np.arange(100), 0.29)  # 0.29 * 100 is 28.999...
    assert (r.threshold, r.fpr, r.tpr) == (70, 0.29, 1)


def test_expected_rate_on_fresh_controls_is_k_plus_1_over_m_plus_1():
    rng = np.random.default_rng(0)
    alarms = [
        (rng.normal(size=500) > M.tpr_at_fpr([0.0], rng.normal(size=100)).threshold).mean()
        for _ in range(800)
    ]
    assert np.mean(alarms) == pytest.approx(2 / 101, abs=0.0015)


def test_conformal_p_is_super_uniform():
    rng = np.random.default_rng(0)
    p = np.concatenate([
        M.conformal_p(rng.integers(0, 30, 1), rng.integers(0, 30, 19)) for _ in range(4000)
    ])  # fmt: skip
    for level in (0.05, 0.1, 0.25, 0.5):
        assert (p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / 4000)
    assert p.min() >= 1 / 20


@pytest.mark.parametrize(("n", "m", "clustered"), [(4, 7, False), (12, 40, False), (8, 24, True)])
def test_permutation_p_is_uniform_under_the_null(n, m, clustered):
    rng = np.random.default_rng(1)
    ids = np.r_[np.arange(n) // 2, 1000 + np.arange(m) // 2] if clustered else None
    p = []
    for i in range(600):
        values = rng.normal(size=n + m)
        if ids is not None:
            values = values + 3 * np.repeat(rng.normal(size=(n + m) // 2), 2)
        test = M.permutation_test(values[:n], values[n:], "mean", 199, seed=i, clusters=ids)
        p.append(test.p)
    for level in (0.05, 0.1, 0.25, 0.5):
        slack = 3.5 * math.sqrt(level * (1 - level) / 600)
        assert level - slack - 0.01 < np.mean(np.array(p) <= level) <= level + slack


def test_ignoring_clusters_would_accuse_falsely():
    rng = np.random.default_rng(2)
    ids = np.r_[np.arange(16) // 8, 9 + np.arange(32) // 8]
    rates = np.zeros(2)
    for _ in range(150):
        values = 3 * np.repeat(rng.normal(size=6), 8) + rng.normal(size=48)
        for k, clusters in enumerate((None, ids)):
            t = M.permutation_test(values[:16], values[16:], permutations=199, clusters=clusters)
            rates[k] += (t.p <= 0.1) / 150
    assert rates[0] > 0.25
    assert rates[1] <= 0.15


def test_permutation_ignores_shift_and_scale_and_repeats_itself():
    x, y = np.array([0.1, 0.2, 0.35]), np.array([0.1, 0.15, 0.3, 0.2])
    p = M.permutation_test(x, y).p
    assert M.permutation_test(x * 1e-9, y * 1e-9).p == p
    assert M.permutation_test(x * 4 + 1024, y * 4 + 1024).p == p
    rng = np.random.default_rng(0)
    big = rng.normal(size=30), rng.normal(size=40)
    assert M.permutation_test(*big, seed=4) == M.permutation_test(*big, seed=4)
    assert M.permutation_test([1.0, 1.0], [1.0, 1.0, 1.0]).p == 1


def test_drawn_relabellings_are_split_into_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 20), rng.normal(size=30)
    whole = M.permutation_test(x, y, permutations=999)
    monkeypatch.setattr("lora_forensics.core.statistics.intervals.BLOCK_ELEMENTS", 500)
    assert M.permutation_test(x, y, permutations=999).p == whole.p


def test_exact_and_drawn_agree(monkeypatch):
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.7, 1, 6), rng.normal(size=9)
    exact = M.permutation_test(x, y)
    monkeypatch.setattr(permutation, "EXACT_LIMIT", 0)
    drawn = M.permutation_test(x, y, permutations=20000)
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=0.008)


def test_null_rank_prints_its_floor():
    assert M.null_rank_p(1.0, np.zeros(99)).p == 0.01
    assert M.null_rank_p(0.5, [0.5, 0.2, 0.9]).p == 0.75  # a tie counts against the claim
    one = M.null_rank_p(1.0, [0.0])
    assert (one.contrast_only, one.p, one.floor) == (True, 0.5, 0.5)
    with pytest.raises(NotEnoughDataError, match="NO_NULLS"):
        M.null_rank_p(1.0, [])


def test_cluster_bootstrap_is_wider():
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=10), 8)
    x = centres + 0.1 * rng.normal(size=80)
    ids = np.repeat(np.arange(10), 8)
    plain, grouped = M.bootstrap_ci(x, n=1000), M.bootstrap_ci(x, n=1000, clusters=ids)
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)
    y = np.repeat(rng.normal(size=10), 8) - 0.5
    both = np.r_[ids, ids + 100]
    a, b = M.bootstrap_auc(x, y, n=1000), M.bootstrap_auc(x, y, n=1000, clusters=both)
    assert b.high - b.low > 1.5 * (a.high - a.low)


def test_bootstrap_does_not_call_a_perfect_score_certain():
    e = M.bootstrap_auc([5.0] * 9, [1.0] * 9, clusters=np.arange(18) // 3)
    assert e.low == pytest.approx(0.025 ** (1 / 3))
    assert "not an error bound" in M.bootstrap_ci([1.0, 1.0]).method


def test_more_power_and_better_scores_change_the_number_of_photos():
    assert M.photos_needed(0.6, 0.001) > M.photos_needed(0.6, 0.01) > M.photos_needed(0.65, 0.01)
    assert M.photos_needed(0.6, power=0.9) > M.photos_needed(0.6)
    for bad in (0.5, 0.4, 1.0):
        with pytest.raises(InputError, match="OUT_OF_RANGE"):
            M.photos_needed(bad)


def test_photos_needed_reaches_its_power():
    rng, n = np.random.default_rng(0), M.photos_needed(0.7)
    shift = math.sqrt(2) * 0.5244005
    means = rng.normal(shift, 1, (4000, n)).mean(axis=1) * math.sqrt(n)
    assert (means > 2.326348).mean() == pytest.approx(0.8, abs=0.025)


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrections_only_raise_p_and_holm_is_stricter(p):
    bh, h = M.benjamini_hochberg(p).p, M.holm(p).p
    assert (bh >= np.array(p) - 1e-12).all()
    assert (h >= bh - 1e-12).all()
    assert max(h.max(), bh.max()) <= 1


TWO_SAMPLES = [M.auc, M.roc_curve, M.delong, M.bootstrap_auc, M.tpr_at_fpr, M.conformal_p,
               M.permutation_test]  # fmt: skip
BAD = [([], "EMPTY_INPUT"), ([1.0, math.nan], "NON_FINITE"), ([math.inf], "NON_FINITE"),
       ([[1.0]], "WRONG_SHAPE"), (["a"], "NOT_NUMERIC")]  # fmt: skip


@pytest.mark.parametrize("function", TWO_SAMPLES)
@pytest.mark.parametrize(("bad", "code"), BAD)
def test_bad_samples_are_named(function, bad, code):
    for arguments in ((bad, [1.0, 2.0]), ([1.0, 2.0], bad)):
        with pytest.raises(InputError, match=code) as caught:
            function(*arguments)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "call",
    [
        lambda: M.clopper_pearson(3, 2),
        lambda: M.clopper_pearson(0, 0),
        lambda: M.clopper_pearson(1, 2, side="left"),
        lambda: M.clopper_pearson(1, 2, 1.0),
        lambda: M.delong([1.0], [0.0], 95),
        lambda: M.tpr_at_fpr([1.0], [0.0], 0.0),
        lambda: M.holm([1.2]),
        lambda: M.benjamini_hochberg([0.1], 1.0),
        lambda: M.permutation_test([1.0], [0.0], "median"),
        lambda: M.permutation_test([1.0], [0.0], permutations=0),
        lambda: M.extraction_success_rate([[0.1]], 2.0),
        lambda: M.photos_needed(0.6, control_ratio=0),
    ],
)
def test_settings_out_of_range_are_named(call):
    with pytest.raises(InputError, match="OUT_OF_RANGE"):
        call()


def test_clusters_are_checked():
    with pytest.raises(InputError, match="WRONG_SHAPE"):
        M.permutation_test([1.0, 2.0], [0.0], clusters=[1, 2])
    with pytest.raises(InputError, match="MIXED_CLUSTER"):
        M.permutation_test([1.0, 2.0], [0.0], clusters=["a", "b", "a"])
    with pytest.raises(NotEnoughDataError, match="FEW_CLUSTERS"):
        M.bootstrap_auc([1.0, 2.0], [0.0, 3.0], clusters=[1, 1, 2, 3])
    with pytest.raises(NotEnoughDataError, match="FEW_CLUSTERS"):
        M.bootstrap_ci([1.0])
    with pytest.raises(NotEnoughDataError, match="FEW_SEEDS"):
        M.mean_seed_interval([1.0])


@pytest.mark.parametrize(
    "function", [M.average_similarity, M.extraction_success_rate, M.hungarian_similarity]
)
def test_similarity_of_nothing_is_named_and_of_itself_is_one(function):
    assert function(np.eye(4)) == 1
    with pytest.raises(InputError, match="EMPTY_INPUT"):
        function(np.empty((3, 0)))
    with pytest.raises(InputError, match="WRONG_SHAPE"):
        function([1.0])


def test_one_medoid_may_serve_one_photo_only():
    s = [[0.9, 0.1], [0.9, 0.1]]
    assert M.average_similarity(s) == pytest.approx(0.9)
    assert M.hungarian_similarity(s) == pytest.approx(0.5)
