"""Photos of one session are one unit of evidence, in every interval and test of a comparison."""

import numpy as np
import pytest
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.verdicts.comparison import compare, effect_interval

SPEC = VerdictSpec()


def sessions(rng, n, size, mood=1.0):
    """Scores of `n` sessions of `size` photos that share their session's mood, and their ids."""
    scores = rng.normal(0, mood, (n, 1)) + rng.normal(0, 0.2, (n, size))
    return scores.ravel(), np.repeat(np.arange(n), size)


def ids(photos, controls):
    return (*(f"p{i}" for i in photos), *(f"c{i}" for i in controls))


def test_sessions_bound_what_a_test_can_say():
    rng = np.random.default_rng(0)
    (x, px), (y, cy) = sessions(rng, 3, 6), sessions(rng, 7, 6)
    own = compare(x, y, SPEC, clusters=ids(px, cy))
    assert own.permutation.n_permutations == 120
    assert own.permutation.floor == pytest.approx(1 / 120)
    assert own.auc.method == "percentile bootstrap"
    alone = compare(x, y, SPEC)
    assert own.effect == alone.effect
    assert own.effect_high - own.effect_low > 1.5 * (alone.effect_high - alone.effect_low)
    assert own.auc.high - own.auc.low > alone.auc.high - alone.auc.low


def test_photos_that_stand_alone_change_nothing():
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 1, 6), rng.normal(0, 1, 9)
    assert compare(x, y, SPEC, clusters=ids(range(6), range(9))) == compare(x, y, SPEC)


def test_effect_interval_of_sessions_covers_the_truth_where_that_of_photos_does_not():
    rng = np.random.default_rng(2)
    hits = {"sessions": 0, "photos": 0}
    for _ in range(150):
        (x, px), (y, cy) = sessions(rng, 12, 5), sessions(rng, 12, 5)
        for name, clusters in (("sessions", ids(px, cy)), ("photos", None)):
            _, low, high = effect_interval(x, y, draws=400, clusters=clusters)
            hits[name] += low <= 0 <= high
    assert hits["sessions"] >= 0.88 * 150
    assert hits["photos"] < 0.80 * 150


def test_one_session_of_photos_gives_a_wide_honest_interval():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(150):
        (x, px), (y, cy) = sessions(rng, 1, 10), sessions(rng, 20, 3)
        _, low, high = effect_interval(x, y, draws=400, clusters=ids(px, cy))
        covered += low <= 0 <= high
    assert covered >= 0.88 * 150
    lone = compare(x, y, SPEC, clusters=ids(px, cy))
    assert (lone.auc.low, lone.auc.high) == (0.0, 1.0)
    assert lone.permutation.floor == pytest.approx(1 / 21)


def test_bad_sessions_are_named():
    x, y = np.arange(4.0), np.arange(4.0)
    with pytest.raises(NotEnoughDataError, match="FEW_CLUSTERS"):
        compare(x, y, SPEC, clusters=ids([0] * 4, [0] * 4))
    with pytest.raises(InputError, match="MIXED_CLUSTER"):
        compare(x, y, SPEC, clusters=("a", "a", "b", "b", "b", "b", "c", "d"))
    with pytest.raises(InputError, match="WRONG_SHAPE"):
        compare(x, y, SPEC, clusters=("a", "a", "b"))
