"""The blind probe finds real differences, and false ones no more often than it says."""

import time

import numpy as np
import pytest
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics import probe
from lora_forensics.core.statistics.probe import blind_probe
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler


def exchangeable(seed, n=16, m=100, columns=160):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, columns)), rng.normal(size=(m, columns))


def test_exchangeable_sets_pass_as_often_as_promised():
    found = [blind_probe(exchangeable(seed), seed=seed, permutations=99) for seed in range(60)]
    above = np.mean([f.auc > 0.6 for f in found])
    fails = np.mean([f.fails for f in found])
    assert 0.05 < above < 0.36  # 0.20 of 400 measured: small sets reach 0.60 by luck
    assert fails < 0.22  # 0.10 is promised; three standard errors
    assert np.mean([f.auc for f in found]) == pytest.approx(0.5, abs=0.045)
    assert all((f.fails + f.inconclusive) == (f.auc > 0.6) for f in found)


def test_p_is_uniform_under_exchangeability():
    p = [blind_probe(exchangeable(s, 8, 24, 20), seed=s, permutations=99).p for s in range(250)]
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        slack = 3.5 * np.sqrt(level * (1 - level) / 250)
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=slack)


def test_a_shift_of_look_fails():
    claimed, control = exchangeable(0)
    found = blind_probe((claimed + 0.3, control))
    assert found.fails
    assert not found.inconclusive
    assert found.low > 0.6
    assert (found.n, found.m) == (16, 100)
    assert "without any model" in found.reason


def test_the_strongest_probe_counts_the_others():
    for seed in range(5):
        views = exchangeable(seed, 5, 12, 30), exchangeable(100 + seed, 5, 12, 4)
        alone = [blind_probe(view, seed=seed, permutations=99) for view in views]
        best = min(alone, key=lambda probe: (probe.p, -probe.auc))
        found = blind_probe(*views, seed=seed, permutations=99)
        assert (found.auc, found.p) == (best.auc, min(1.0, 2 * best.p))


def test_one_tell_tale_column_fails():
    fails = []
    for seed in range(10):
        claimed, control = exchangeable(seed, columns=12)
        claimed[:, 3] = claimed[:, 3] * 0.1 + 2.5
        fails.append(blind_probe((claimed, control), seed=seed).fails)
    assert all(fails)


def test_luck_is_called_inconclusive():
    found = [blind_probe(exchangeable(s, 5, 12, 30), seed=s) for s in range(30)]
    unsure = [f for f in found if f.inconclusive]
    assert unsure
    assert all(f.auc > 0.6 and f.p > 0.1 and "luck" in f.reason for f in unsure)


def test_sessions_are_never_split():
    rng = np.random.default_rng(0)
    ids = np.r_[np.arange(24) // 4, 100 + np.arange(80) // 4]
    false = np.zeros(2)
    for seed in range(40):
        rows = np.repeat(rng.normal(size=(26, 12)), 4, axis=0) + 0.1 * rng.normal(size=(104, 12))
        for k, clusters in enumerate((None, ids)):
            found = blind_probe(
                (rows[:24], rows[24:]), seed=seed, clusters=clusters, permutations=99
            )
            false[k] += found.fails / 40
    assert false[0] > 0.6  # twins across the fold give the session away
    assert false[1] < 0.25


def test_answers_repeat_and_ignore_units_of_measure():
    claimed, control = exchangeable(3, columns=10)
    a = blind_probe((claimed, control), seed=5)
    assert a == blind_probe((claimed, control), seed=5)
    scale, shift = np.logspace(-6, 6, 10), np.arange(10)
    b = blind_probe((claimed * scale + shift, control * scale + shift), seed=5)
    assert b.auc == pytest.approx(a.auc, abs=1e-3)


def test_fast_enough():
    start = time.perf_counter()
    blind_probe(exchangeable(0))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("columns", [5, 300])
def test_each_classifier_is_ridge_regression(columns):
    """Same held-out order as scikit-learn's scaler, components and ridge."""
    claimed, control = exchangeable(1, columns=columns)
    rows, labels = np.r_[claimed, control], np.r_[np.ones(16), np.zeros(100)].astype(bool)
    held = np.arange(116) % 5 == 0
    train, test = probe._standardise(rows[~held], rows[held])
    scaler = StandardScaler().fit(rows[~held])
    assert test == pytest.approx(scaler.transform(rows[held]))
    axes, variances = probe._components(train, 4)
    pca = PCA(4, svd_solver="full").fit(train)
    assert np.sort(variances) == pytest.approx(np.sort(pca.explained_variance_) * 92 / 93, rel=0.01)
    own = probe._discriminant(train @ axes, test @ axes, variances, labels[~held, None])[:, 0]
    ridge = Ridge(alpha=float(variances.mean() * len(train))).fit(
        pca.transform(train), labels[~held].astype(float)
    )
    reference = ridge.predict(pca.transform(test))
    assert np.corrcoef(own, reference)[0, 1] == pytest.approx(1, abs=1e-9)
    assert probe._areas(own[:, None], labels[held, None])[0] == pytest.approx(
        roc_auc_score(labels[held], reference)
    )


def test_relabelling_keeps_every_cell_as_it_was():
    rng = np.random.default_rng(0)
    cells = probe._cells(16, 100, rng)
    labels = probe._relabellings(16, cells, 99, rng)
    for cell in range(cells.max() + 1):
        counts = labels[cells == cell].sum(axis=0)
        assert (counts == counts[0]).all()
        assert counts[0] >= 1
    assert labels.sum(axis=0).tolist() == [16] * 100


def test_columns_that_never_change_are_ignored():
    claimed, control = np.ones((6, 3)), np.ones((20, 3))
    found = blind_probe((claimed, control))
    assert (found.auc, found.p, found.fails) == (0.5, 1.0, False)


@pytest.mark.parametrize(
    ("claimed", "control", "code"),
    [
        (np.zeros((0, 3)), np.zeros((9, 3)), "EMPTY_INPUT"),
        (np.zeros((9, 3)), np.zeros((9, 2)), "WRONG_SHAPE"),
        (np.zeros(9), np.zeros((9, 2)), "WRONG_SHAPE"),
        (np.full((9, 2), np.inf), np.zeros((9, 2)), "NON_FINITE"),
        (np.zeros((3, 2)), np.zeros((9, 2)), "FEW_PHOTOS"),
    ],
)
def test_bad_input_is_named(claimed, control, code):
    with pytest.raises(InputError) as caught:
        blind_probe((claimed, control))
    assert caught.value.code == code
    assert isinstance(caught.value, NotEnoughDataError) == (code == "FEW_PHOTOS")
