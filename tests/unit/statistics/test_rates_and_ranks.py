"""Thresholds and p-values by rank do not promise more than the controls hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_forensics.core.errors import NotEnoughDataError
from lora_forensics.core.statistics.holm import holm
from lora_forensics.core.statistics.ranks import conformal_p, null_rank_p
from lora_forensics.core.statistics.tpr_at_fpr import tpr_at_fpr
from scipy import stats


@pytest.mark.parametrize(
    ("m", "target", "ok"),
    [(99, 0.01, False), (100, 0.01, True), (999, 0.001, False), (1000, 0.001, True)],
)
def test_low_rates_need_controls(m, target, ok):
    r = tpr_at_fpr([5.0], np.linspace(0, 1, m), target)
    assert r.estimable is ok
    assert r.needed_controls == round(1 / target)
    assert r.fpr == int(target * m + 1e-9) / m
    assert r.fpr <= r.fpr_expected <= r.fpr_high


def test_threshold_is_the_next_control_and_float_shares_do_not_slip():
    r = tpr_at_fpr([70.5, 71.5], np.arange(100), 0.29)  # 0.29 * 100 is 28.999...
    assert (r.threshold, r.fpr, r.tpr) == (70, 0.29, 1)


def test_expected_rate_on_fresh_controls_is_k_plus_1_over_m_plus_1():
    rng = np.random.default_rng(0)
    alarms = [
        (rng.normal(size=500) > tpr_at_fpr([0.0], rng.normal(size=100)).threshold).mean()
        for _ in range(800)
    ]
    assert np.mean(alarms) == pytest.approx(2 / 101, abs=0.0015)


def test_conformal_p_is_super_uniform():
    rng = np.random.default_rng(0)
    p = np.concatenate([
        conformal_p(rng.integers(0, 30, 1), rng.integers(0, 30, 19)) for _ in range(4000)
    ])  # fmt: skip
    for level in (0.05, 0.1, 0.25, 0.5):
        assert (p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / 4000)
    assert p.min() >= 1 / 20


def test_null_rank_prints_its_floor():
    assert null_rank_p(1.0, np.zeros(99)).p == 0.01
    assert null_rank_p(0.5, [0.5, 0.2, 0.9]).p == 0.75  # a tie counts against the claim
    one = null_rank_p(1.0, [0.0])
    assert (one.contrast_only, one.p, one.floor) == (True, 0.5, 0.5)
    with pytest.raises(NotEnoughDataError, match="NO_NULLS"):
        null_rank_p(1.0, [])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_only_raises_p_and_is_stricter_than_benjamini_hochberg(p):
    adjusted = holm(p)
    assert (adjusted >= stats.false_discovery_control(p) - 1e-12).all()
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert adjusted.max() <= 1
