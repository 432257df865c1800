import numpy as np
import pytest
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics.usage import Rate, best_threshold, share_used
from scipy import stats


def draw(rng, n_used, n, tpr, fpr):
    truth = np.arange(n) < n_used
    return rng.random(n) < np.where(truth, tpr, fpr)


def rate(rng, p, n):
    return Rate(int(rng.binomial(n, p)), n)


def test_share_is_the_mean_of_debiased_calls():
    calls = np.array([1, 1, 0, 1, 0, 0, 0, 1])
    own = share_used(calls, Rate(45, 60), Rate(12, 80))
    want = np.mean((calls - 12 / 80) / (45 / 60 - 12 / 80))
    assert own.unclipped == pytest.approx(want)
    assert own.share == pytest.approx(want)
    assert (own.called, own.n) == (4, 8)


@pytest.mark.parametrize("used", [0, 10, 25, 50])
def test_share_is_unbiased_and_its_interval_covers(used):
    rng = np.random.default_rng(used)
    raw, covered = [], 0
    for _ in range(300):
        e = share_used(
            draw(rng, used, 50, 0.8, 0.2), rate(rng, 0.8, 100), rate(rng, 0.2, 100), draws=500
        )
        raw.append(e.unclipped)
        covered += e.low <= used / 50 <= e.high
    assert np.mean(raw) == pytest.approx(used / 50, abs=4 * np.std(raw) / 300**0.5)
    assert covered >= 0.92 * 300


def test_counting_calls_without_debiasing_would_be_wrong():
    rng = np.random.default_rng(5)
    calls = draw(rng, 200, 2000, 0.7, 0.3)
    assert calls.mean() > 0.3
    e = share_used(calls, Rate(7000, 10000), Rate(3000, 10000))
    assert e.share == pytest.approx(0.1, abs=0.08)


def test_interval_is_that_of_the_call_rate_when_the_error_rates_are_known():
    e = share_used([1] * 12 + [0] * 28, Rate(10**9, 10**9), Rate(0, 10**9), draws=40_000)
    want = stats.beta.ppf([0.025, 0.975], 12.5, 28.5)
    assert (e.low, e.high) == pytest.approx(want, abs=0.005)


def test_few_calibration_images_widen_the_interval():
    calls = [1] * 20 + [0] * 20
    wide, narrow = (share_used(calls, Rate(8 * k, 10 * k), Rate(k, 10 * k)) for k in (2, 200))
    assert wide.share == narrow.share
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_all_called_is_not_certainty_and_sessions_widen():
    members, nonmembers = Rate(99, 100), Rate(1, 100)
    assert share_used([1] * 8, members, nonmembers).low < 0.9
    calls = [1] * 10 + [0] * 10
    alone = share_used(calls, members, nonmembers)
    paired = share_used(calls, members, nonmembers, clusters=np.arange(20) // 5)
    assert paired.high - paired.low > 1.4 * (alone.high - alone.low)


def test_answers_repeat():
    calls = [1, 0, 1, 1, 0]
    a, b = (share_used(calls, Rate(90, 100), Rate(5, 100), seed=3) for _ in range(2))
    assert a == b


@pytest.mark.parametrize("shift", [1, -1])
def test_threshold_is_the_highest_with_the_largest_gap_of_all(shift):
    rng = np.random.default_rng(0)
    x, y = rng.normal(shift, 1, 60).round(1), rng.normal(0, 1, 90).round(1)
    gaps = {t: np.mean(x >= t) - np.mean(y >= t) for t in np.unique(np.r_[x, y])}
    assert best_threshold(x, y) == max(t for t, gap in gaps.items() if gap == max(gaps.values()))


@pytest.mark.parametrize(
    ("members", "nonmembers"),
    [(Rate(50, 100), Rate(45, 100)), (Rate(2, 3), Rate(1, 3)), (Rate(10, 100), Rate(60, 100))],
)
def test_weak_calls_are_refused(members, nonmembers):
    with pytest.raises(NotEnoughDataError, match="WEAK_CALLS"):
        share_used([1, 0, 1], members, nonmembers)


@pytest.mark.parametrize(
    "call",
    [
        lambda: share_used([0.5], Rate(9, 10), Rate(1, 10)),
        lambda: share_used([], Rate(9, 10), Rate(1, 10)),
        lambda: share_used([1.0], Rate(11, 10), Rate(1, 10)),
        lambda: share_used([1.0], Rate(0, 0), Rate(1, 10)),
        lambda: share_used([1.0], Rate(9, 10), Rate(1, 10), level=1.0),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(InputError):
        call()


@pytest.mark.parametrize("used", [0, 16])
def test_adapters_not_photos_are_what_a_rate_is_known_by(used):
    """Rates that differ between adapters: independent draws would cover far less."""
    rng = np.random.default_rng(used)
    covered = naive = 0
    for _ in range(300):
        tpr, fpr = rng.beta(8, 2, 9), rng.beta(1, 9, 9)
        members, others = (
            tuple((int(rng.binomial(15, p)), 15) for p in rates) for rates in (tpr, fpr)
        )
        calls = draw(rng, used, 16, rng.beta(8, 2), rng.beta(1, 9))
        pair = [(sum(h for h, _ in part), 15 * 9, part) for part in (members, others)]
        e = share_used(calls, *(Rate(*p) for p in pair), draws=400)
        covered += e.low <= used / 16 <= e.high
        e = share_used(calls, *(Rate(*p[:2]) for p in pair), draws=400)
        naive += e.low <= used / 16 <= e.high
    assert covered > naive
    assert covered >= 0.85 * 300


def test_parts_add_up_to_their_rate():
    with pytest.raises(InputError, match="add up"):
        share_used([1, 0], Rate(8, 10, ((4, 5), (3, 5))), Rate(1, 10))
