"""Every statistic against other people's code, and against the vectors of the specification."""

from itertools import combinations

import numpy as np
import pytest
from lora_forensics.core.specs import VerdictSpec
from lora_forensics.core.statistics.auc import auc, delong, delong_paired
from lora_forensics.core.statistics.auc_bootstrap import (
    _weighted_areas,
    bootstrap_auc,
    bootstrap_auc_paired,
)
from lora_forensics.core.statistics.holm import holm
from lora_forensics.core.statistics.intervals import (
    bootstrap_ci,
    clopper_pearson,
    mean_seed_interval,
    paper_seed_interval,
)
from lora_forensics.core.statistics.permutation import permutation_test
from lora_forensics.core.statistics.ranks import conformal_p, null_rank_p
from lora_forensics.core.statistics.sample_size import photos_needed
from lora_forensics.core.statistics.similarity import average_similarity, extraction_success_rate
from lora_forensics.core.statistics.tpr_at_fpr import tpr_at_fpr
from lora_forensics.core.verdicts.comparison import compare, effect_interval
from scipy import stats
from sklearn import metrics as sk

CLAIM = [2.1, 1.4, 0.9, 0.3, -0.2]
CONTROL = [1.0, 0.3, -0.1, -0.8, -1.5, -2.0]


def _samples(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, 40, size=2)
    x, y = rng.normal(0.5, 1, n), rng.normal(0, 1, m)
    return (x, y) if seed % 2 else (x.round(1), y.round(1))  # every other one has ties


# The vectors of specs/mia.md, section 13.


def test_vector_delong():
    e = delong(CLAIM, CONTROL)
    assert f"{e.auc:.7f}" == "0.8166667"
    assert f"{e.se:.7f}" == "0.1349897"
    assert (f"{e.low:.5f}", f"{e.high:.5f}") == ("0.43213", "0.96307")


def test_vector_permutation():
    t = permutation_test(CLAIM, CONTROL)
    assert f"{t.statistic:.7f}" == "1.4166667"
    assert t.exact
    assert t.n_permutations == 462
    assert f"{t.p:.7f}" == "0.0346320"
    assert t.floor == pytest.approx(1 / 462)


def test_vector_conformal():
    assert conformal_p(CLAIM, CONTROL) == pytest.approx(np.array([1, 1, 2, 3, 4]) / 7)


def test_vector_clopper_pearson():
    e = clopper_pearson(9, 40)
    assert (f"{e.low:.5f}", f"{e.high:.5f}") == ("0.10840", "0.38451")
    assert f"{clopper_pearson(0, 100).high:.5f}" == "0.03622"
    assert f"{clopper_pearson(0, 100, side='upper').high:.5f}" == "0.02951"


@pytest.mark.parametrize(("m", "bound"), [(20, 0.139), (100, 0.030), (299, 0.010), (2995, 0.001)])
def test_vector_zero_alarms_bound_the_rate(m, bound):
    assert round(clopper_pearson(0, m, side="upper").high, 3) == bound


@pytest.mark.parametrize(
    ("n", "m", "floor"), [(3, 10, 3.5e-3), (5, 10, 3.3e-4), (5, 20, 1.9e-5), (2, 440, 1.03e-5)]
)
def test_vector_permutation_floors(n, m, floor):
    t = permutation_test(np.arange(n) + 1000.0, np.arange(m), "rank")
    assert t.exact
    assert t.p == t.floor == pytest.approx(floor, rel=0.02)


@pytest.mark.parametrize(
    ("area", "many", "equal"),
    [(0.53, 886, 1771), (0.55, 318, 636), (0.6, 78, 156), (0.7, 18, 36), (0.8, 7, 14), (0.9, 3, 6)],
)
def test_vector_photos_needed(area, many, equal):
    # The specification prints 37 for .70 with equal controls; its own formula gives 36.495.
    assert photos_needed(area) == many
    assert photos_needed(area, control_ratio=1) == equal


def test_vector_seed_intervals():
    row_4 = [0.872, 0.882, 0.823, 0.873, 0.869]
    row_9 = [0.648, 0.701, 0.700, 0.599, 0.650]
    for values, mean, paper, student in ((row_4, 0.864, 0.02, 0.029), (row_9, 0.660, 0.03, 0.053)):
        p, t = paper_seed_interval(values), mean_seed_interval(values)
        assert round(t.estimate, 3) == mean
        assert round(p.high - p.estimate, 2) == paper
        assert round(t.high - t.estimate, 3) == pytest.approx(student, abs=0.0011)
        assert (t.high - t.low) / (p.high - p.low) == pytest.approx(1.58, abs=0.005)


# Other people's code.


@pytest.mark.parametrize("seed", range(12))
def test_auc_matches_sklearn_and_scipy(seed):
    x, y = _samples(seed)
    labels = np.r_[np.ones(len(x)), np.zeros(len(y))]
    assert auc(x, y) == pytest.approx(sk.roc_auc_score(labels, np.r_[x, y]), abs=1e-12)
    assert auc(x, y) == pytest.approx(stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))


def _kernel(x, y):
    d = np.subtract.outer(np.asarray(x), np.asarray(y))
    return (d > 0) + 0.5 * (d == 0)


@pytest.mark.parametrize("seed", range(12))
def test_delong_matches_the_kernel_definition(seed):
    x, y = _samples(seed)
    k = _kernel(x, y)
    by_x, by_y = k.mean(axis=1), k.mean(axis=0)
    var = by_x.var(ddof=1) / len(x) + by_y.var(ddof=1) / len(y)
    e = delong(x, y)
    if e.method.startswith("DeLong"):
        assert e.se == pytest.approx(np.sqrt(var))
        z = stats.norm.ppf(0.975) * e.se / (e.auc * (1 - e.auc))
        logit = np.log([e.low / (1 - e.low), e.high / (1 - e.high)])
        assert logit == pytest.approx(np.log(e.auc / (1 - e.auc)) + np.array([-z, z]))


@pytest.mark.parametrize("seed", range(6))
def test_delong_paired_matches_the_kernel_definition(seed):
    rng = np.random.default_rng(seed)
    x1, y1 = rng.normal(0.7, 1, 20), rng.normal(0, 1, 30)
    x2, y2 = x1 + rng.normal(0, 1, 20), y1 + rng.normal(0, 1, 30)
    difference = _kernel(x1, y1) - _kernel(x2, y2)  # the variance of the difference, directly
    var = difference.mean(1).var(ddof=1) / 20 + difference.mean(0).var(ddof=1) / 30
    d = delong_paired((x1, y1), (x2, y2))
    assert d.difference == pytest.approx(difference.mean())
    assert d.se == pytest.approx(np.sqrt(var))
    assert d.high - d.low == pytest.approx(2 * stats.norm.ppf(0.975) * d.se)
    cov = np.cov(_kernel(x1, y1).mean(1), _kernel(x2, y2).mean(1))[0, 1] / 20
    cov += np.cov(_kernel(x1, y1).mean(0), _kernel(x2, y2).mean(0))[0, 1] / 30
    assert d.covariance == pytest.approx(cov)


def test_paired_bootstrap_of_single_images_is_delongs():
    rng = np.random.default_rng(4)
    x1, y1 = rng.normal(0.7, 1, 60), rng.normal(0, 1, 90)
    x2, y2 = x1 + rng.normal(0, 1, 60), y1 + rng.normal(0, 1, 90)
    wanted = delong_paired((x1, y1), (x2, y2))
    found = bootstrap_auc_paired((x1, y1), (x2, y2), range(150), n=20_000)
    assert found.difference == wanted.difference
    assert found.se == pytest.approx(wanted.se, rel=0.06)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.015)


def test_paired_bootstrap_is_cautious_without_spread():
    split = bootstrap_auc_paired(([5, 6], [1, 2]), ([1, 2], [5, 6]), [*"abcd"])
    assert split.difference == 1
    assert split.method == "separate intervals, Bonferroni"
    assert split.low < 0
    lone = bootstrap_auc_paired(([5, 6], [1, 2]), ([5, 1], [2, 6]), [*"aabc"])
    assert (lone.low, lone.high) == (-1, 1)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (1, 7), (9, 40), (3, 1000), (0, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_clopper_pearson_is_its_beta_quantiles(k, n, level):
    for side, tail in (("two-sided", (1 - level) / 2), ("upper", 1 - level), ("lower", 1 - level)):
        own = clopper_pearson(k, n, level, side)
        low = 0 if k == 0 or side == "upper" else stats.beta.ppf(tail, k, n - k + 1)
        high = 1 if k == n or side == "lower" else stats.beta.isf(tail, k + 1, n - k)
        assert (own.low, own.high) == pytest.approx((low, high), abs=1e-10)


def _mean_difference(a, b, axis):
    return a.mean(axis=axis) - b.mean(axis=axis)


def scipys_permutation(a, b):
    """The exact test of the mean difference."""
    return stats.permutation_test(
        (a, b), _mean_difference, alternative="greater", n_resamples=np.inf, vectorized=True
    )


@pytest.mark.parametrize(("n", "m"), [(3, 5), (5, 3), (4, 4), (2, 9)])
@pytest.mark.parametrize("statistic", ["mean", "rank"])
def test_exact_permutation_matches_scipy(n, m, statistic):
    rng = np.random.default_rng(n * m)
    x, y = rng.normal(0.5, 1, n).round(1), rng.normal(0, 1, m).round(1)
    own = permutation_test(x, y, statistic)
    values = stats.rankdata(np.r_[x, y]) if statistic == "rank" else np.r_[x, y]
    ref = scipys_permutation(values[:n], values[n:])
    assert own.exact
    assert own.p == pytest.approx(ref.pvalue)
    assert own.statistic == pytest.approx(ref.statistic)


def test_exact_rank_permutation_is_the_exact_mann_whitney_test():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.5, 1, 6), rng.normal(0, 1, 7)
    ref = stats.mannwhitneyu(x, y, alternative="greater", method="exact").pvalue
    assert permutation_test(x, y, "rank").p == pytest.approx(ref)


@pytest.mark.parametrize(("n", "m"), [(16, 100), (100, 16), (30, 30)])
def test_drawn_permutation_agrees_with_scipy(n, m):
    rng = np.random.default_rng(5)
    x, y = rng.normal(0.2, 1, n), rng.normal(0, 1, m)
    own = permutation_test(x, y, "rank", seed=1)
    ref = stats.mannwhitneyu(x, y, alternative="greater").pvalue
    assert not own.exact
    assert own.floor == 1e-4
    assert own.p == pytest.approx(ref, abs=4 * np.sqrt(ref * (1 - ref) / 9999) + 0.002)


def test_cluster_permutation_matches_enumeration_by_hand():
    rng = np.random.default_rng(8)
    sizes = [3, 1, 2, 4, 1, 2, 3]
    ids = np.repeat(np.arange(7), sizes)
    values = rng.normal(size=len(ids))
    n = sum(sizes[:3])

    def difference(chosen):
        picked = np.isin(ids, chosen)
        return values[picked].mean() - values[~picked].mean()

    every = [difference(c) for c in combinations(range(7), 3)]
    want = np.mean(np.array(every) >= difference((0, 1, 2)) - 1e-12)
    own = permutation_test(values[:n], values[n:], clusters=ids)
    assert own.p == pytest.approx(want)
    assert own.n_permutations == 35


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_step_down_rule_as_it_is_told_in_words(seed):
    p = np.random.default_rng(seed).uniform(0, 0.3, 17).round(2)
    adjusted, alive = holm(p), True
    for step, i in enumerate(np.argsort(p, kind="stable")):
        alive = alive and p[i] <= 0.2 / (17 - step)
        assert (adjusted[i] <= 0.2) == alive


def test_bootstrap_agrees_with_scipy():
    x = np.random.default_rng(0).exponential(size=60)
    own = bootstrap_ci(x, n=20000)
    ref = stats.bootstrap((x,), np.mean, n_resamples=20000, method="percentile", rng=1)
    ends = ref.confidence_interval
    assert (own.low, own.high) == pytest.approx((ends.low, ends.high), abs=0.015)


def test_bootstrap_auc_agrees_with_delong_and_with_repeated_scores():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.8, 1, 80).round(1), rng.normal(0, 1, 120).round(1)
    own, ref = bootstrap_auc(x, y, n=4000), delong(x, y)
    assert own.se == pytest.approx(ref.se, rel=0.06)
    assert (own.low, own.high) == pytest.approx((ref.low, ref.high), abs=0.015)
    weights = rng.integers(0, 4, (3, 80)), rng.integers(0, 4, (3, 120))
    areas = _weighted_areas(np.r_[x, y], *(w.astype(float) for w in weights))
    for wx, wy, area in zip(*weights, areas, strict=True):
        assert area == pytest.approx(auc(np.repeat(x, wx), np.repeat(y, wy)))


def test_student_interval_matches_scipy():
    x = [0.1, 0.5, 0.4, 0.9]
    ref = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    own = mean_seed_interval(x, 0.9)
    assert (own.low, own.high) == pytest.approx((ref.low, ref.high))


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 1)])
def test_similarity_is_the_best_of_each_row(shape):
    s = np.random.default_rng(sum(shape)).uniform(0, 1, shape)
    assert average_similarity(s) == pytest.approx(np.mean([max(row) for row in s.tolist()]))
    hits = np.mean([any(v > 0.7 for v in row) for row in s.tolist()])
    assert extraction_success_rate(s) == pytest.approx(hits)


# Sessions, ranks and thresholds.


@pytest.mark.parametrize("seed", range(6))
def test_conformal_p_is_scipys_exact_rank_test_of_one_photo(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.5, 1, 4), rng.normal(0, 1, 12)
    for score, own in zip(x, conformal_p(x, y), strict=True):
        ref = stats.mannwhitneyu([score], y, alternative="greater", method="exact")
        assert own == pytest.approx(ref.pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_null_rank_is_the_percentile_from_above(seed):
    rng = np.random.default_rng(seed)
    nulls, value = rng.normal(size=19).round(1), round(rng.normal(), 1)
    below = stats.percentileofscore(nulls, value, kind="strict") / 100
    assert null_rank_p(value, nulls).p == pytest.approx((1 + 19 * (1 - below)) / 20)


@pytest.mark.parametrize(("m", "target"), [(100, 0.01), (250, 0.05), (40, 0.05)])
def test_share_above_the_threshold_is_a_point_of_sklearns_curve(m, target):
    rng = np.random.default_rng(m)
    x, y = rng.normal(1, 1, 60), rng.normal(0, 1, m)
    fpr, tpr, _ = sk.roc_curve(
        np.r_[np.ones(60), np.zeros(m)], np.r_[x, y], drop_intermediate=False
    )
    own = tpr_at_fpr(x, y, target)
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
        (x.mean(1), y.mean(1)), _mean_difference, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    scale = y.ravel().std(ddof=1)
    assert (low * scale, high * scale) == pytest.approx((ref.low, ref.high), abs=0.04)


def test_test_over_sessions_is_scipys_permutation_of_session_rank_means():
    x, y, ids = clustered(5, 4, 5)
    ranks = stats.rankdata(np.r_[x.ravel(), y.ravel()]).reshape(9, 4).mean(1)
    ref = scipys_permutation(ranks[:4], ranks[4:])
    own = compare(x.ravel(), y.ravel(), VerdictSpec(), clusters=ids)
    assert own.permutation.exact
    assert own.permutation.p == pytest.approx(ref.pvalue)
    assert own.permutation.statistic == pytest.approx(ref.statistic)


def test_session_bootstrap_of_the_area_is_drawn_by_hand():
    x, y, ids = clustered(7)
    own = bootstrap_auc(x.ravel(), y.ravel(), n=1500, clusters=ids)
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(1500):
        a, b = x[rng.integers(0, len(x), len(x))], y[rng.integers(0, len(y), len(y))]
        areas.append(stats.mannwhitneyu(a.ravel(), b.ravel()).statistic / (a.size * b.size))
    assert own.se == pytest.approx(np.std(areas), rel=0.08)
    assert (own.low, own.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.025)


@pytest.mark.parametrize("seed", range(4))
def test_the_shortlist_is_benjamini_and_hochbergs_rule(seed):
    rng = np.random.default_rng(seed)
    found = compare(rng.normal(1.5, 1, 12), rng.normal(0, 1, 39), VerdictSpec(), permutations=99)
    ranked = np.sort(np.round(np.array(found.photo_p) * 40))  # p is a whole number of 1/40
    passing = np.flatnonzero(ranked * 12 <= 0.1 * 40 * np.arange(1, 13) + 1e-9)
    assert len(found.shortlist) == (passing.max() + 1 if passing.size else 0)
    on_the_line = compare([35.5] * 3, range(39), VerdictSpec(), permutations=99)
    assert on_the_line.photo_p == (0.1, 0.1, 0.1)
    assert on_the_line.shortlist == (0, 1, 2)
