"""Clusters are cliques, are found again, and do not depend on the order of the images."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError
from lora_forensics.core.extraction import clustering
from lora_forensics.core.extraction.clustering import cluster
from scipy.sparse import csgraph


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def planted(sizes, strangers, *, dim=64, noise=0.03, seed=0):
    """Return noisy copies of hidden pictures among strangers, and the truth."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(len(sizes), dim)))
    copies = np.repeat(centres, sizes, axis=0)
    copies = unit(copies + noise * rng.normal(size=copies.shape))
    rows = np.concatenate([copies, unit(rng.normal(size=(strangers, dim)))])
    truth = np.r_[np.repeat(np.arange(len(sizes)), sizes), np.full(strangers, -1)]
    shuffle = rng.permutation(len(rows))
    return rows[shuffle], truth[shuffle]


def partition(clusters):
    return {frozenset(clusters.members(k).tolist()) for k in range(len(clusters))}


def check(rows, found):
    """Assert what holds for any result."""
    assert len(found.medoids) == len(found.sizes) == len(found.intra) == len(found)
    assert set(found.labels.tolist()) - {-1} == set(range(len(found)))
    similarity = rows @ rows.T
    for k in range(len(found)):
        members = found.members(k)
        assert len(members) == found.sizes[k]
        assert found.medoids[k] in members
        inner = similarity[np.ix_(members, members)]
        assert inner.min() >= found.tau - 1e-9
        nearest = (rows[members] @ rows[members].mean(axis=0)).max()
        assert rows[found.medoids[k]] @ rows[members].mean(axis=0) == pytest.approx(nearest)
        if len(members) > 1:
            pairs = [similarity[i, j] for i, j in combinations(members, 2)]
            assert found.intra[k] == pytest.approx(np.mean(pairs))
    real = found.sizes[: len(found) - found.n_filled]
    assert (np.diff(real) <= 0).all()


def test_planted_pictures_are_found():
    rows, truth = planted([12, 9, 7, 5, 4], 150)
    found = cluster(rows, n_clusters=5)
    check(rows, found)
    assert found.sizes.tolist() == [12, 9, 7, 5, 4]
    for k in range(5):
        assert set(np.flatnonzero(truth == k)) == set(found.members(k))


def test_auto_takes_the_highest_tau_with_enough():
    rows, _ = planted([6, 6], 50, noise=0.005)
    assert cluster(rows, n_clusters=2).tau == 0.9
    rows, _ = planted([6, 6], 50, noise=0.08)
    found = cluster(rows, n_clusters=2)
    assert 0.3 <= found.tau < 0.9
    higher = cluster(rows, n_clusters=2, tau_policy="fixed", tau=found.tau + 0.01)
    assert len(higher) < 2


def test_fewer_than_wanted_returns_what_exists():
    rows, _ = planted([6, 5], 40)
    found = cluster(rows, n_clusters=10, min_size=4)
    check(rows, found)
    assert found.sizes.tolist() == [6, 5]
    assert found.n_filled == 0


def test_fill_reaches_the_budget_with_single_images():
    rows, _ = planted([6, 5], 40)
    found = cluster(rows, n_clusters=10, min_size=4, fill=True)
    check(rows, found)
    assert (len(found), found.n_filled) == (10, 8)
    assert found.sizes.tolist() == [6, 5] + [1] * 8
    assert (found.intra[2:] == 0).all()
    assert len(set(found.medoids.tolist())) == 10
    similarity = rows[found.medoids] @ rows[found.medoids].T - np.eye(10)
    assert similarity.max() < 0.5
    everything = cluster(rows[:7], n_clusters=10, fill=True)
    assert len(everything.medoids) <= 7
    assert (everything.labels >= 0).sum() == everything.sizes.sum()


def test_fill_uses_near_copies_only_at_the_end():
    rows = unit(np.eye(3)[[0, 0, 0, 0, 1, 2]])
    found = cluster(rows, n_clusters=4, min_size=5, fill=True)
    assert found.n_filled == 4
    assert sorted(rows[found.medoids[:3]].argmax(axis=1)) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(8))
def test_shuffled_images_give_the_same_partition(seed):
    rng = np.random.default_rng(seed)
    # Few distinct values: many equal similarities and equal rows, the hard case for ties.
    rows = unit(rng.integers(-1, 2, (60, 4)) + np.array([0.0, 0, 0, 3]))
    order = rng.permutation(60)
    for settings_ in ({}, {"tau_policy": "fixed", "tau": 0.9}, {"fill": True}):
        a = cluster(rows, n_clusters=6, duplicate_similarity=0.99, **settings_)
        b = cluster(rows[order], n_clusters=6, duplicate_similarity=0.99, **settings_)
        check(rows, a)
        assert a.tau == b.tau
        assert a.sizes.tolist() == b.sizes.tolist()
        if "fill" not in settings_:
            assert partition(a) == {frozenset(order[list(p)].tolist()) for p in partition(b)}
        assert rows[a.medoids] == pytest.approx(rows[order][b.medoids])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from(["auto", "fixed"])
)
def test_any_input_gives_cliques(n, k, seed, policy):
    rows = unit(np.random.default_rng(seed).normal(size=(n, 3)))
    found = cluster(rows, n_clusters=k, tau_policy=policy, duplicate_similarity=0.8)
    check(rows, found)
    assert len(found) <= min(n, k)
    medoids = rows[found.medoids] @ rows[found.medoids].T
    assert (medoids[np.triu_indices(len(found), 1)] < 0.8).all()
    filled = cluster(rows, n_clusters=k, tau_policy=policy, fill=True)
    check(rows, filled)
    assert len(filled) == k or (filled.labels >= 0).all()


def test_identical_images_are_one_cluster():
    rows = np.tile(unit(np.array([1.0, 2.0, 2.0])), (9, 1))
    found = cluster(rows, n_clusters=3)
    assert found.sizes.tolist() == [9]
    assert found.medoids.tolist() == [0]
    assert found.intra[0] == pytest.approx(1)
    assert len(cluster(rows, n_clusters=3, fill=True)) == 1  # nothing is left to fill with


def test_no_edge_means_no_cluster():
    found = cluster(np.eye(6), n_clusters=2)
    assert len(found) == 0
    assert (found.labels == -1).all()
    assert len(cluster(np.eye(6), n_clusters=2, fill=True)) == 2
    one = cluster(np.eye(6)[:1], n_clusters=2)
    assert len(one) == 0


def test_smallest_cluster_depends_on_the_number_of_images():
    pair, _ = planted([2], 150)
    assert cluster(pair, n_clusters=1, tau_policy="fixed", tau=0.8).sizes.tolist() == [2]
    pair, _ = planted([2], 198)
    assert len(cluster(pair, n_clusters=1, tau_policy="fixed", tau=0.8)) == 0


def test_fragments_of_one_picture_are_dropped_unless_asked_for():
    centre, side = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    other = unit(0.75 * centre + np.sqrt(1 - 0.75**2) * side)
    rows = np.array([centre] * 4 + [other] * 3 + [[0, 0, 1.0]] * 2)
    assert cluster(rows, n_clusters=3).sizes.tolist() == [4, 2]
    assert cluster(rows, n_clusters=3, duplicate_similarity=0.8).sizes.tolist() == [4, 3, 2]


@pytest.mark.parametrize("policy", ["auto", "fixed"])
def test_a_large_set_by_components_equals_one_dendrogram(monkeypatch, policy):
    rows, _ = planted([9, 8, 6], 200, noise=0.05, seed=4)
    whole = cluster(rows, n_clusters=6, tau_policy=policy)
    monkeypatch.setattr(clustering, "DENSE_LIMIT", 50)
    monkeypatch.setattr(clustering, "BLOCK_ROWS", 37)
    parts = cluster(rows, n_clusters=6, tau_policy=policy)
    assert partition(parts) == partition(whole)
    assert parts.tau == whole.tau
    assert "components at" in parts.method


def test_the_floor_rises_until_components_fit_or_says_so(monkeypatch):
    rows, _ = planted([9, 8], 100, dim=8, seed=1)
    monkeypatch.setattr(clustering, "DENSE_LIMIT", 10)
    monkeypatch.setattr(clustering, "COMPONENT_LIMIT", 12)
    found = cluster(rows, n_clusters=2)
    check(rows, found)
    assert float(found.method.split()[2].rstrip(",")) > 0.3
    with pytest.raises(InputError, match="COMPONENT_TOO_LARGE"):
        cluster(rows, n_clusters=2, tau_policy="fixed", tau=0.3)


def test_the_forest_keeps_the_components_of_every_higher_tau(monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK_ROWS", 13)
    rows = unit(np.random.default_rng(0).normal(size=(80, 4)))
    forest = clustering._similarity_forest(rows, 0.3)
    for tau in (0.3, 0.6, 0.9):
        _, want = csgraph.connected_components(rows @ rows.T >= tau)
        _, own = csgraph.connected_components(forest.multiply(forest >= 1 + tau), directed=False)
        assert len(set(zip(want, own, strict=True))) == want.max() + 1 == own.max() + 1


def test_two_thousand_images_in_under_ten_seconds():
    rows, _ = planted([40, 30, 20, 10], 1900)
    start = time.perf_counter()
    found = cluster(rows, n_clusters=50)
    assert time.perf_counter() - start < 10
    check(rows, found)
    assert found.sizes[:3].tolist() == [40, 30, 20]


@pytest.mark.parametrize(
    ("rows", "more", "code"),
    [
        (np.empty((0, 4)), {}, "EMPTY_INPUT"),
        (np.ones(4), {}, "WRONG_SHAPE"),
        (np.full((2, 2), np.nan), {}, "NON_FINITE"),
        (np.ones((2, 2)), {}, "NOT_UNIT_NORM"),
        (np.zeros((2, 2)), {}, "NOT_UNIT_NORM"),
        (np.eye(3), {"n_clusters": 0}, "OUT_OF_RANGE"),
        (np.eye(3), {"tau": 1.5}, "OUT_OF_RANGE"),
        (np.eye(3), {"tau_policy": "paper"}, "OUT_OF_RANGE"),
        (np.eye(3), {"min_size": 0}, "OUT_OF_RANGE"),
    ],
)
def test_bad_input_is_named(rows, more, code):
    with pytest.raises(InputError) as caught:
        cluster(rows, **{"n_clusters": 2, **more})
    assert caught.value.code == code
