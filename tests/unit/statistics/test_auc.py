"""Areas are symmetric, and never more certain than their images allow."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError
from lora_forensics.core.statistics.auc import auc, delong, delong_paired
from lora_forensics.core.statistics.auc_bootstrap import bootstrap_auc
from lora_forensics.core.statistics.intervals import bootstrap_ci

scores = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=25)
quick = settings(max_examples=80, deadline=None)


@quick
@given(scores, scores)
def test_auc_is_symmetric_and_blind_to_monotone_maps(x, y):
    a = auc(x, y)
    assert 0 <= a <= 1
    assert auc(y, x) == pytest.approx(1 - a)
    assert auc(np.exp(np.array(x) / 5), np.exp(np.array(y) / 5)) == pytest.approx(a)
    assert auc(-np.array(x), -np.array(y)) == pytest.approx(1 - a)


@quick
@given(scores, scores, st.sampled_from([0.8, 0.95, 0.99]))
def test_delong_never_claims_certainty(x, y, level):
    e = delong(x, y, level)
    assert 0 <= e.low <= e.auc <= e.high <= 1
    assert e.high - e.low > 0
    assert e.se > 0 or (e.low, e.high) == (0, 1)
    flipped = delong(y, x, level)
    assert (1 - flipped.high, 1 - flipped.low) == pytest.approx((e.low, e.high), abs=1e-9)


@pytest.mark.parametrize(("x", "y", "low"), [([5.0] * 8, [1.0] * 30, 0.025 ** (1 / 8))])
def test_perfect_separation_is_bounded_by_disjoint_pairs(x, y, low):
    e, back = delong(x, y), delong(y, x)
    assert e.method == "disjoint pairs, exact binomial"
    assert (e.auc, e.high) == (1, 1)
    assert e.low == pytest.approx(low)
    assert (back.auc, back.low, back.high) == pytest.approx((0, 0, 1 - low))


def test_all_ties_fall_back_to_hoeffding():
    e = delong([1.0] * 50, [1.0] * 60)
    assert (e.auc, e.method) == (0.5, "Hoeffding bound")
    assert e.low == pytest.approx(0.5 - math.sqrt(math.log(40) / 100))


def test_delong_covers_the_truth():
    truth, hits = 0.7603, 0  # normal scores, one standard deviation apart
    rng = np.random.default_rng(0)
    for _ in range(600):
        e = delong(rng.normal(1, 1, 16), rng.normal(0, 1, 100))
        hits += e.low <= truth <= e.high
    assert hits / 600 > 0.93


def test_paired_difference_of_equal_and_of_perfect_scores():
    x, y = [3.0, 1, 2, 5], [0.0, 2, 1]
    same = delong_paired((x, y), (x, y))
    assert same.difference == 0
    assert same.low < 0 < same.high
    perfect = delong_paired(([5, 6, 7, 8], [1, 2, 3]), (x, y))
    assert perfect.method == "separate intervals, Bonferroni"
    assert perfect.low < perfect.difference <= perfect.high
    with pytest.raises(InputError, match="PAIR_MISMATCH"):
        delong_paired((x, y), (x[:-1], y))


def test_cluster_bootstrap_is_wider():
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=10), 8)
    x = centres + 0.1 * rng.normal(size=80)
    ids = np.repeat(np.arange(10), 8)
    plain, grouped = bootstrap_ci(x, n=1000), bootstrap_ci(x, n=1000, clusters=ids)
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)
    y = np.repeat(rng.normal(size=10), 8) - 0.5
    both = np.r_[ids, ids + 100]
    a, b = bootstrap_auc(x, y, n=1000), bootstrap_auc(x, y, n=1000, clusters=both)
    assert b.high - b.low > 1.5 * (a.high - a.low)


def test_bootstrap_does_not_call_a_perfect_score_certain():
    e = bootstrap_auc([5.0] * 9, [1.0] * 9, clusters=np.arange(18) // 3)
    assert e.low == pytest.approx(0.025 ** (1 / 3))
    assert "not an error bound" in bootstrap_ci([1.0, 1.0]).method
