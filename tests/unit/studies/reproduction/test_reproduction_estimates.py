"""Intervals against simulation, convictions against scipy, findings both ways."""

import numpy as np
import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.statistics.auc import auc, delong
from lora_forensics.core.studies.reproduction import findings
from lora_forensics.core.studies.reproduction.estimates import (
    SeedScores,
    conviction_rate,
    difference,
    mean_tpr,
    paper_areas,
    paper_interval,
    shares_above,
    sound_interval,
)
from scipy import stats

NORMAL = stats.norm


def drawn(area, *, n=120, m=150, seeds=5, rng=0, spread=0.3):
    """Scores of a given AUC; seeds see the same photos and add noise of their own."""
    generator = np.random.default_rng(rng)
    shift = np.sqrt(2) * NORMAL.ppf(area) * np.sqrt(1 + spread**2)
    x, y = generator.normal(shift, 1, n), generator.normal(0, 1, m)
    noise = generator.normal(0, spread, (seeds, n + m))
    return SeedScores(x + noise[:, :n], y + noise[:, n:])


def exact(area, n, spread=0.01, rng=0):
    """Normal quantiles of exactly this AUC, and noise of the seeds."""
    grid = NORMAL.ppf((np.arange(n) + 0.5) / n)
    noise = np.random.default_rng(rng).normal(0, spread, (2, 2 * n))
    return SeedScores(grid + np.sqrt(2) * NORMAL.ppf(area) + noise[:, :n], grid + noise[:, n:])


def constant(value, n=60, m=60):
    return SeedScores(np.full((3, n), value), np.zeros((3, m)))


def test_sound_interval_covers_the_truth_and_the_papers_does_not():
    sound = printed = 0
    for run in range(150):
        scores = drawn(0.8, n=60, m=60, seeds=3, rng=run)
        found, paper = sound_interval(scores), paper_interval(scores, 0.15)
        sound += found.low <= 0.8 <= found.high
        printed += paper.low <= 0.8 <= paper.high
    assert sound >= 135  # 95% of 150, less three standard errors
    assert printed < 110


def test_without_seed_spread_the_interval_is_delongs():
    scores = drawn(0.8, spread=0.0)
    found, plain = sound_interval(scores), delong(scores.members[0], scores.nonmembers[0])
    assert found.se_seeds == 0
    assert (found.auc, found.low, found.high) == pytest.approx((plain.auc, plain.low, plain.high))


def test_seed_spread_widens_the_interval():
    calm = drawn(0.8, spread=0.0)
    shifts = np.array([[-1.0], [-0.5], [0.0], [0.5], [1.0]])
    wild = SeedScores(calm.members + shifts, calm.nonmembers)
    narrow, wide = sound_interval(calm), sound_interval(wild)
    assert wide.se_seeds > 0.05
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_error_of_the_photos_is_that_of_the_mean_of_the_seeds():
    generator = np.random.default_rng(3)
    x, y = generator.normal(1, 1, 60), generator.normal(0, 1, 60)
    noise = generator.normal(0, 1.0, (4, 120))
    found = sound_interval(SeedScores(x + noise[:, :60], y + noise[:, 60:])).se_photos
    draws = generator.integers(0, 60, (2, 600, 60))
    areas = [
        np.mean([auc((x + e[:60])[a], (y + e[60:])[b]) for e in noise])
        for a, b in zip(*draws, strict=True)
    ]
    assert found == pytest.approx(np.std(areas), rel=0.1)


def test_a_perfect_row_is_not_certain():
    found = sound_interval(constant(1.0))
    assert found.auc == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 60))


def test_difference_of_the_same_photos_is_sharper():
    a = drawn(0.8, spread=0.05)
    b = SeedScores(a.members - 0.3, a.nonmembers)
    paired, apart = difference(a, b, paired=True), difference(a, b, paired=False)
    assert paired.estimate == apart.estimate == pytest.approx(a.areas().mean() - b.areas().mean())
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
    assert difference(a, a, paired=True).estimate == 0


def test_the_papers_split_leaves_out_its_share():
    scores = drawn(0.8)
    assert paper_areas(scores, 0.0) == pytest.approx(scores.areas())
    kept = paper_areas(scores, 0.15)
    assert kept == pytest.approx(scores.areas(), abs=0.03)
    assert not np.array_equal(kept, scores.areas())
    half = 1.96 * kept.std() / np.sqrt(5)
    assert paper_interval(scores, 0.15).high == pytest.approx(kept.mean() + half)


def test_rates_are_means_over_seeds():
    scores = drawn(0.9)
    tpr, estimable = mean_tpr(scores)
    expected = [
        np.mean(x > np.sort(y)[-2]) for x, y in zip(scores.members, scores.nonmembers, strict=True)
    ]
    assert (tpr, estimable) == (pytest.approx(np.mean(expected)), True)
    assert shares_above(scores) == pytest.approx(
        ((scores.members > 0).mean(), (scores.nonmembers > 0).mean())
    )
    assert not mean_tpr(drawn(0.9, m=50))[1]


def test_convictions_without_a_signal_are_rare_and_those_of_a_perfect_one_certain():
    generator = np.random.default_rng(1)
    null = SeedScores(generator.normal(size=(5, 400)), generator.normal(size=(5, 400)))
    assert conviction_rate(null, 20) == pytest.approx(0.01, abs=0.007)
    assert conviction_rate(constant(1.0), 20) == 1.0
    assert conviction_rate(constant(0.0), 20) == 0.0
    assert conviction_rate(constant(1.0), 61) is None


def test_convictions_follow_the_power_of_the_test():
    area, k = 0.66, 50
    generator = np.random.default_rng(2)
    shift = np.sqrt(2) * NORMAL.ppf(area)
    scores = SeedScores(generator.normal(shift, 1, (1, 2000)), generator.normal(0, 1, (1, 2000)))
    truth = auc(scores.members[0], scores.nonmembers[0])
    se = np.sqrt((2 * k + 1) / (12 * k * k))
    power = NORMAL.sf(NORMAL.ppf(0.99) - (truth - 0.5) / se)
    assert conviction_rate(scores, k, subsamples=1000) == pytest.approx(power, abs=0.08)


def test_scores_of_unequal_seeds_are_refused():
    with pytest.raises(InputError, match="BAD_SHAPE"):
        SeedScores(np.zeros((2, 5)), np.zeros((3, 5)))
    with pytest.raises(InputError, match="TOO_FEW_PHOTOS"):
        SeedScores(np.zeros((2, 1)), np.zeros((2, 5)))


CASES = [
    ("generated negatives", {"7": 0.85, "2": 0.70}, {"7": 0.70, "2": 0.85}),
    ("near chance", {"8": 0.53}, {"8": 0.75}),
    ("visible mark", {"11": 0.99}, {"11": 0.80}),
    ("faint mark", {"12": 0.80, "4/400": 0.80}, {"12": 0.90, "4/400": 0.75}),
    (
        "middle guidance",
        {"6/0": 0.7, "6/4": 0.85, "6/8": 0.85, "6/12": 0.85, "6/16": 0.6},
        {"6/0": 0.9, "6/4": 0.8, "6/8": 0.8, "6/12": 0.8, "6/16": 0.6},
    ),
    ("mixing", {"13": 0.82, "4/400": 0.85}, {"13": 0.60, "4/400": 0.85}),
    ("untouched base", {"9": 0.66}, {"9": 0.50}),
]


def outcome(name, areas, rates=None, *, n=800, noise=0.01):
    scores = {key: exact(area, n, noise, rng) for rng, (key, area) in enumerate(areas.items())}
    found = {f.name: f for f in findings.judge(scores, rates or dict.fromkeys(areas))}
    return found[name].outcome


@pytest.mark.parametrize(("name", "held", "broken"), CASES, ids=lambda c: str(c)[:20])
def test_findings_are_held_and_not_held(name, held, broken):
    assert outcome(name, held) == "held"
    assert outcome(name, broken) == "not held"


@pytest.mark.parametrize(
    ("name", "areas"),
    [
        ("generated negatives", {"7": 0.80, "2": 0.80}),
        ("near chance", {"8": 0.66}),
        ("visible mark", {"11": 0.95}),
        ("faint mark", {"12": 0.83, "4/400": 0.80}),
        ("mixing", {"13": 0.72, "4/400": 0.80}),
        ("untouched base", {"9": 0.53}),
    ],
)
def test_few_photos_leave_findings_undecided(name, areas):
    assert outcome(name, areas, n=30, noise=0.5) == "undecided"


def test_findings_on_convictions():
    areas = {"9": 0.66, "10": 0.5}
    for rate, verdicts in ((0.67, ("held", "not held")), (0.004, ("not held", "held"))):
        rates = dict.fromkeys(areas, rate)
        found = (outcome(n, areas, rates) for n in ("false accusation", "base negatives"))
        assert tuple(found) == verdicts
    assert outcome("false accusation", areas, {"9": None}) == "undecided"


def test_a_finding_without_its_rows_says_what_it_needs():
    found = findings.judge({"7": drawn(0.8)}, {})
    assert {f.outcome for f in found} == {"not run"}
    assert found[0].numbers == "needs row 2"
