from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.membership.null_ranks import (
    NullGroup,
    NullModel,
    noise_group,
    null_rank,
    rank_nulls,
)
from lora_forensics.core.membership.signals.paired import paired_losses
from lora_forensics.core.protocols import NoProgress
from lora_forensics.core.sampling.plans import seed_of
from lora_forensics.core.specs import MembershipSpec
from lora_forensics.core.storage import Work, open_case
from scipy import stats

SPEC = MembershipSpec(timesteps=(100, 400), noises=4, nulls=3, null_noises=2, batch=32)
PHOTOS, CONTROLS = 3, 7


def images(pair):
    generator = torch.Generator().manual_seed(5)
    mine = 0.5 + 0.2 * torch.randn(PHOTOS, *pair.latent_shape, generator=generator)
    return torch.cat([mine, torch.randn(CONTROLS, *pair.latent_shape, generator=generator)])


def measured(pair, group, **more):
    x = images(pair)
    return rank_nulls(group, paired_losses(pair, x, "", SPEC), x, PHOTOS, "", SPEC, **more)


def placebos(means):
    return tuple(NullModel(f"placebo-{m}", lambda m=m: GaussianPair(mean=m)) for m in means)


def test_a_model_among_copies_of_itself_ties_with_all():
    rank = measured(GaussianPair(), NullGroup("placebo", placebos([0.5] * 4)))
    assert rank.p == 1.0
    assert rank.floor == 0.2
    assert rank.nulls == pytest.approx((rank.value,) * 4)
    assert rank.difference.difference == 0


def test_the_strength_of_a_null_does_not_count():
    """Scores twice as large on photos and controls alike are no larger an effect."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=10)
    rank = null_rank("placebo", own, [3 * own + 7], 4)
    assert rank.nulls[0] == pytest.approx(rank.value)


def test_effect_is_the_mean_z_score_of_the_photos():
    rng = np.random.default_rng(1)
    own = rng.normal(size=12)
    rank = null_rank("placebo", own, [rng.normal(size=12)], 5)
    assert rank.value == pytest.approx(stats.zmap(own[:5], own[5:], ddof=1).mean())


def test_trained_on_the_photos_ranks_first():
    rank = measured(GaussianPair(), NullGroup("placebo", placebos([-0.5, -0.4, -0.3])))
    assert rank.p == rank.floor == 0.25
    assert len(rank.photo_p) == PHOTOS
    assert rank.difference.difference > 0


def test_left_out_controls_change_nothing():
    pair, kept = GaussianPair(), (0, 2, 3, 5)
    group = NullGroup("counterfactual", placebos([0.1, 0.2]), kept)
    before = measured(pair, group)
    x = images(pair)
    losses = paired_losses(pair, x, "", SPEC)
    left_out = [PHOTOS + i for i in range(CONTROLS) if i not in kept]
    losses.base[left_out], losses.tuned[left_out] = 1e6, 1e-6
    after = rank_nulls(group, losses, x, PHOTOS, "", SPEC)
    assert after == before


def test_few_draws_are_the_first_draws():
    pair = GaussianPair()
    one = measured(pair, NullGroup("placebo", placebos([0.1])))
    x = images(pair)
    few = replace(SPEC, noises=2)
    losses = paired_losses(pair, x, "", few)
    other = rank_nulls(NullGroup("placebo", placebos([0.1])), losses, x, PHOTOS, "", few)
    assert other.value == pytest.approx(one.value)
    assert other.nulls == pytest.approx(one.nulls)


def test_noise_adapters_come_from_the_pair():
    group = noise_group(GaussianPair(), SPEC)
    assert len(group.models) == 3
    assert measured(GaussianPair(), group).kind == "noise"
    nothing = NullGroup("noise", (NullModel("noise-0000", lambda: None),))
    assert measured(GaussianPair(), nothing) is None
    assert seed_of(0, 10_000_000) != seed_of(0, 0)


class Counted(NoProgress):
    """How many units were there already, and how many were made."""

    found = made = 0

    def start(self, task, total, done=0):
        self.found += done

    def step(self, n=1):
        self.made += n


def test_finished_nulls_are_not_opened_again(tmp_path):
    case = open_case(tmp_path / "case", {})
    group = NullGroup("placebo", placebos([0.1, 0.2]))
    first = measured(GaussianPair(), group, work=Work(case))

    def fail():
        raise AssertionError("opened again")

    kept = NullGroup("placebo", tuple(NullModel(m.name, fail) for m in group.models))
    progress = Counted()
    assert measured(GaussianPair(), kept, work=Work(case, progress)) == first
    assert (progress.found, progress.made) == (2, 0)
    case.close()


def test_a_difference_of_sessions_is_resampled_by_sessions():
    """Ten bursts of four much alike photos are ten photos, not forty."""
    rng = np.random.default_rng(3)
    bursts = np.repeat(np.arange(20), 4)
    low = {}
    for clusters in (None, tuple(f"burst {b}" for b in bursts)):
        found = 0
        for _ in range(150):
            own, other = (rng.normal(size=20)[bursts] + rng.normal(0, 0.4, 80) for _ in range(2))
            rank = null_rank("placebo", own, [other], 40, clusters=clusters)
            found += rank.difference.low > 0
        low[clusters is None] = found / 150
    assert low[True] > 0.1, "photos taken as independent accuse too often"
    assert low[False] <= 0.07
