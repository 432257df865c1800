import numpy as np
import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.statistics.intervals import clopper_pearson
from lora_forensics.core.statistics.permutation import permutation_test
from lora_forensics.core.statistics.ranks import conformal_p, null_rank_p
from lora_forensics.core.statistics.uniformity import uniformity
from scipy import stats


def test_statistic_is_scipys():
    p = np.random.default_rng(0).uniform(size=80)
    own = uniformity(p)
    ref, one = stats.kstest(p, "uniform"), stats.kstest(p, "uniform", alternative="greater")
    assert (own.ks, own.ks_p) == pytest.approx((ref.statistic, ref.pvalue))
    assert (own.excess, own.excess_p) == pytest.approx((one.statistic, one.pvalue))
    assert own.excess == pytest.approx(max(np.arange(1, 81) / 80 - np.sort(p)))


def test_rates_are_counts_with_their_exact_interval():
    own = uniformity([0.004, 0.01, 0.03, 0.05, 0.2, 0.7, 0.9, 1.0])
    for r, k in zip(own.rates, (2, 4, 4), strict=True):
        assert r.rate == clopper_pearson(k, 8)
        assert r.attainable is None


def test_uniform_passes_as_often_as_promised():
    rng = np.random.default_rng(1)
    verdicts = [uniformity(rng.uniform(size=60)).verdict for _ in range(200)]
    assert verdicts.count("anti-conservative") <= 12
    assert verdicts.count("uniform") >= 185


@pytest.mark.parametrize("power", [1.5, 2.0])
def test_too_small_p_values_are_called_out(power):
    rng = np.random.default_rng(2)
    verdicts = [uniformity(rng.uniform(size=120) ** power).verdict for _ in range(50)]
    assert verdicts.count("anti-conservative") >= 45


def test_rare_but_extreme_p_values_are_called_out_by_their_rate():
    p = np.r_[np.full(12, 0.001), np.linspace(0.05, 1, 188)]
    own = uniformity(p)
    assert own.excess_p > 0.01
    assert own.rates[0].too_often
    assert own.verdict == "anti-conservative"


def test_large_p_values_are_conservative():
    p = 1 - np.random.default_rng(3).uniform(size=200) ** 2
    assert uniformity(p).verdict == "conservative"


def discrete(kind, rng):
    x, y = rng.normal(size=4), rng.normal(size=6)
    if kind == "permutation":
        return permutation_test(x, y, "rank").p
    if kind == "conformal":
        return conformal_p(x[:1], y)[0]
    return null_rank_p(x[0], y).p


@pytest.mark.parametrize(("kind", "grid"), [("conformal", 7), ("rank", 7)])
def test_discrete_p_values_pass_on_their_grid_and_fail_without(kind, grid):
    rng = np.random.default_rng(4)
    p = np.array([discrete(kind, rng) for _ in range(600)])
    assert uniformity(p, grid).verdict == "uniform"
    assert uniformity(p).verdict == "conservative"
    own = uniformity(p, grid)
    assert [r.attainable for r in own.rates] == [0, 0, 0]
    assert [r.rate.estimate for r in own.rates] == [0, 0, 0]


def test_ties_of_a_rank_permutation_test_are_conservative_at_most():
    rng = np.random.default_rng(1)
    p = np.array([discrete("permutation", rng) for _ in range(1500)])
    own = uniformity(p, 210)
    assert own.verdict in ("uniform", "conservative")
    assert own.rates[1].attainable == pytest.approx(10 / 210)


def test_each_p_value_may_have_its_own_grid():
    rng = np.random.default_rng(6)
    grids = np.repeat([5, 20, 100], 200)
    p = rng.integers(1, grids + 1) / grids
    assert uniformity(p, grids).verdict == "uniform"
    assert uniformity(p, grids).rates[2].attainable == pytest.approx((0 + 0.1 + 0.1) / 3)


def test_a_grid_does_not_hide_small_p_values():
    rng = np.random.default_rng(7)
    p = np.ceil(20 * rng.uniform(size=300) ** 1.7) / 20
    assert uniformity(p, 20).verdict == "anti-conservative"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: uniformity([0.5, 1.2]), "OUT_OF_RANGE"),
        (lambda: uniformity([]), "EMPTY_INPUT"),
        (lambda: uniformity([0.5, np.nan]), "NON_FINITE"),
        (lambda: uniformity([0.33], 20), "OFF_GRID"),
        (lambda: uniformity([0.0], 20), "OFF_GRID"),
        (lambda: uniformity([0.5], 0), "OUT_OF_RANGE"),
        (lambda: uniformity([0.5], alpha=0), "OUT_OF_RANGE"),
    ],
)
def test_bad_input_is_named(call, code):
    with pytest.raises(InputError, match=code):
        call()
