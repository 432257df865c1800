"""Sessions, conformal p-values, ranks and thresholds against other people's code."""

import numpy as np
import pytest
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.statistics import metrics as M
from lora_forensics.core.verdicts.comparison import compare, effect_interval
from scipy import stats
from sklearn import metrics as sk


def single(a, b, axis):
    return a.mean(axis=axis) - b.mean(axis=axis)


@pytest.mark.parametrize("seed", range(6))
def test_conformal_p_is_scipys_exact_rank_test_of_one_photo(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.5, 1, 4), rng.normal(0, 1, 12)
    for score, own in zip(x, M.conformal_p(x, y), strict=True):
        ref = stats.mannwhitneyu([score], y, alternative="greater", method="exact")
        assert own == pytest.approx(ref.pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_null_rank_is_the_percentile_from_above(seed):
    rng = np.random.default_rng(seed)
    nulls, value = rng.normal(size=19).round(1), round(rng.normal(), 1)
    below = stats.percentileofscore(nulls, value, kind="strict") / 100
    assert M.null_rank_p(value, nulls).p == pytest.approx((1 + 19 * (1 - below)) / 20)


@pytest.mark.parametrize(("m", "target"), [(100, 0.01), (250, 0.05), (40, 0.05)])
def test_share_above_the_threshold_is_a_point_of_sklearns_curve(m, target):
    rng = np.random.default_rng(m)
    x, y = rng.normal(1, 1, 60), rng.normal(0, 1, m)
    fpr, tpr, _ = sk.roc_curve(
        np.r_[np.ones(60), np.zeros(m)], np.r_[x, y], drop_intermediate=False
    )
    own = M.tpr_at_fpr(x, y, target)
    assert own.tpr == pytest.approx(tpr[fpr <= target + 1e-12].max())
    assert own.fpr == pytest.approx(fpr[fpr <= target + 1e-12].max())


def clustered(seed, n=9, m=14, size=4):
    rng = np.random.default_rng(seed)
    mood_x, mood_y = rng.normal(1, 1, (n, 1)), rng.normal(0, 1, (m, 1))
    x, y = mood_x + rng.normal(0, 0.3, (n, size)), mood_y + rng.normal(0, 0.3, (m, size))
    ids = tuple(f"{side}{i}" for side, k in (("p", n), ("c", m)) for i in np.repeat(range(k), size))
    return x, y, ids


@pytest.mark.parametrize("seed", range(3))
def test_interval_over_sessions_is_scipys_bootstrap_of_session_means(seed):
    x, y, ids = clustered(seed)
    _, low, high = effect_interval(x.ravel(), y.ravel(), draws=20_000, clusters=ids)
    ref = stats.bootstrap(
        (x.mean(1), y.mean(1)), single, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    scale = y.ravel().std(ddof=1)
    assert (low * scale, high * scale) == pytest.approx((ref.low, ref.high), abs=0.04)


def test_test_over_sessions_is_scipys_permutation_of_session_rank_means():
    x, y, ids = clustered(5, 4, 5)
    ranks = stats.rankdata(np.r_[x.ravel(), y.ravel()]).reshape(9, 4).mean(1)
    ref = stats.permutation_test(
        (ranks[:4], ranks[4:]), single, alternative="greater", n_resamples=np.inf, vectorized=True
    )
    own = compare(x.ravel(), y.ravel(), VerdictSpec(), clusters=ids)
    assert own.permutation.exact
    assert own.permutation.p == pytest.approx(ref.pvalue)
    assert own.permutation.statistic == pytest.approx(ref.statistic)


def test_session_bootstrap_of_the_area_is_drawn_by_hand():
    x, y, ids = clustered(7)
    own = M.bootstrap_auc(x.ravel(), y.ravel(), n=1500, clusters=ids)
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(1500):
        a, b = x[rng.integers(0, len(x), len(x))], y[rng.integers(0, len(y), len(y))]
        areas.append(stats.mannwhitneyu(a.ravel(), b.ravel()).statistic / (a.size * b.size))
    assert own.se == pytest.approx(np.std(areas), rel=0.08)
    assert (own.low, own.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.025)
