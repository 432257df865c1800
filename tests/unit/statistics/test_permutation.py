"""The permutation test keeps its level, and sessions keep their photos together."""

import math

import numpy as np
import pytest
from lora_forensics.core.statistics import permutation
from lora_forensics.core.statistics.permutation import permutation_test


@pytest.mark.parametrize(("n", "m", "clustered"), [(4, 7, False), (12, 40, False), (8, 24, True)])
def test_permutation_p_is_uniform_under_the_null(n, m, clustered):
    rng = np.random.default_rng(1)
    ids = np.r_[np.arange(n) // 2, 1000 + np.arange(m) // 2] if clustered else None
    p = []
    for i in range(600):
        values = rng.normal(size=n + m)
        if ids is not None:
            values = values + 3 * np.repeat(rng.normal(size=(n + m) // 2), 2)
        test = permutation_test(values[:n], values[n:], "mean", 199, seed=i, clusters=ids)
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
            t = permutation_test(values[:16], values[16:], permutations=199, clusters=clusters)
            rates[k] += (t.p <= 0.1) / 150
    assert rates[0] > 0.25
    assert rates[1] <= 0.15


def test_permutation_ignores_shift_and_scale_and_repeats_itself():
    x, y = np.array([0.1, 0.2, 0.35]), np.array([0.1, 0.15, 0.3, 0.2])
    p = permutation_test(x, y).p
    assert permutation_test(x * 1e-9, y * 1e-9).p == p
    assert permutation_test(x * 4 + 1024, y * 4 + 1024).p == p
    rng = np.random.default_rng(0)
    big = rng.normal(size=30), rng.normal(size=40)
    assert permutation_test(*big, seed=4) == permutation_test(*big, seed=4)
    assert permutation_test([1.0, 1.0], [1.0, 1.0, 1.0]).p == 1


def test_drawn_relabellings_are_split_into_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, 20), rng.normal(size=30)
    whole = permutation_test(x, y, permutations=999)
    monkeypatch.setattr("lora_forensics.core.statistics.clusters.BLOCK_ELEMENTS", 500)
    assert permutation_test(x, y, permutations=999).p == whole.p


def test_exact_and_drawn_agree(monkeypatch):
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.7, 1, 6), rng.normal(size=9)
    exact = permutation_test(x, y)
    monkeypatch.setattr(permutation, "EXACT_LIMIT", 0)
    drawn = permutation_test(x, y, permutations=20000)
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=0.008)
