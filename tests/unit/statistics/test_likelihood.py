import builtins
import math

import numpy as np
import pytest
from lora_forensics.core.errors import InputError, MissingDependencyError, NotEnoughDataError
from lora_forensics.core.statistics.likelihood import (
    bounds,
    calibration_quality,
    likelihood_ratio,
    log_ratios,
    verbal,
)

lir = pytest.importorskip("lir")


def samples(n=60, m=90, shift=1.5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n), rng.normal(0, 1, m)


def labelled(x, y):
    return np.r_[x, y], np.r_[np.ones(len(x), int), np.zeros(len(y), int)]


@pytest.mark.parametrize("calibrator", ["logistic", "kde"])
def test_ratios_are_those_of_lir(calibrator):
    from lir.algorithms.bayeserror import elub
    from lir.algorithms.kde import KDECalibrator
    from lir.algorithms.logistic_regression import LogitCalibrator

    x, y = samples()
    pooled, labels = labelled(x, y)
    z = (pooled - pooled.mean()) / pooled.std()
    theirs = {"logistic": LogitCalibrator(), "kde": KDECalibrator("silverman")}[calibrator]
    want = theirs.fit(z, labels).transform(z)
    assert log_ratios(pooled, x, y, calibrator) == pytest.approx(want, abs=1e-9)
    low, high = elub(want.copy(), labels)
    own = bounds(x, y, calibrator)
    assert own == pytest.approx((max(low, -math.log10(60)), min(high, math.log10(90))))


def test_kde_of_lir_is_scipys_density_ratio():
    from scipy.stats import norm

    x, y = samples(40, 50)
    both = np.r_[x, y]
    z = [(s - both.mean()) / both.std() for s in (x, y)]
    widths = [(4 / 3 / len(s)) ** 0.2 * s.std() for s in z]
    at = 0.7
    want = [norm.pdf((at - s) / h).mean() / h for s, h in zip(z, widths, strict=True)]
    own = log_ratios([at * both.std() + both.mean()], x, y, "kde")[0]
    assert own == pytest.approx(math.log10(want[0] / want[1]))


@pytest.mark.parametrize("calibrator", ["logistic", "kde"])
def test_two_gaussians_give_the_closed_form(calibrator):
    x, y = samples(4000, 4000)
    at = np.array([-0.5, 0.75, 2.0])
    want = (1.5 * at - 1.5**2 / 2) / math.log(10)
    assert log_ratios(at, x, y, calibrator) == pytest.approx(want, abs=0.12)
    own = likelihood_ratio(2.0, x, y, calibrator=calibrator, draws=20)
    assert not own.capped
    if calibrator == "logistic":  # a kernel blurs tails, which no bootstrap shows
        assert own.low < 10 ** want[2] < own.high


def test_cost_is_that_of_lir_and_shuffled_truth_says_nothing():
    from lir.data.models import LLRData
    from lir.metrics import cllr, cllr_min

    x, y = samples()
    own = calibration_quality(x, y)
    data = LLRData(features=np.r_[own.members, own.nonmembers], labels=labelled(x, y)[1])
    assert (own.cllr, own.cllr_min) == (cllr(data), cllr_min(data))
    by_hand = (
        np.mean(np.log2(1 + 10 ** -np.array(own.members)))
        + np.mean(np.log2(1 + 10 ** np.array(own.nonmembers)))
    ) / 2
    assert own.cllr == pytest.approx(by_hand)
    assert own.cllr_min < own.cllr < 0.8
    assert calibration_quality(y[:45], y[45:]).cllr == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("calibrator", ["logistic", "kde"])
def test_no_ratio_exceeds_the_number_of_controls(calibrator):
    x, y = samples(30, 20, shift=12.0)
    for_use = likelihood_ratio(40.0, x, y, calibrator=calibrator, draws=20)
    assert for_use.capped
    assert for_use.lr == for_use.high == for_use.cap <= 20
    against = likelihood_ratio(-2.0, x, y, draws=20)
    assert against.lr >= against.floor >= 1 / 30
    assert against.verbal.endswith("Hd (not used)")
    assert for_use.verbal == "moderate support for Hp (used)"


def test_bands_are_those_of_the_guideline():
    words = [verbal(math.log10(r)).split(" support")[0] for r in (2, 10, 200, 5000, 20000, 0.004)]
    assert words == [
        "weak", "moderate", "moderately strong", "strong", "very strong", "moderately strong",
    ]  # fmt: skip
    assert verbal(0.0) == "no support for either"


def test_answers_repeat_and_do_not_depend_on_units():
    x, y = samples()
    a = likelihood_ratio(1.0, x, y, draws=20)
    assert a == likelihood_ratio(1.0, x, y, draws=20)
    b = likelihood_ratio(1.0 * 1e-4 + 7, x * 1e-4 + 7, y * 1e-4 + 7, draws=20)
    assert b.log10 == pytest.approx(a.log10, abs=1e-4)
    assert a.low <= a.lr <= a.high


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda: likelihood_ratio(1, [1] * 9, range(20)), NotEnoughDataError, "FEW_CALIBRATION"),
        (lambda: likelihood_ratio(1, [1] * 10, [1] * 10), NotEnoughDataError, "NO_SPREAD"),
        (lambda: likelihood_ratio(math.nan, *samples()), InputError, "NON_FINITE"),
        (lambda: likelihood_ratio(1, *samples(), calibrator="pav"), InputError, "OUT_OF_RANGE"),
        (lambda: calibration_quality([1] * 3, [1] * 3), NotEnoughDataError, "FEW_CALIBRATION"),
    ],
)
def test_bad_input_is_named(call, kind, code):
    with pytest.raises(kind, match=code):
        call()


def test_absent_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **more):
        if name.split(".")[0] == "lir":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"\[likelihood\]"):
        likelihood_ratio(1.0, *samples())
