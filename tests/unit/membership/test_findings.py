"""Which signals a screening runs, and how their findings are corrected."""

import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.membership.findings import (
    PRIMARY,
    SETS,
    image_rows,
    possible,
    signal_findings,
    signal_spec,
)
from lora_forensics.core.membership.signals import Subjects
from lora_forensics.core.specs import MembershipSpec, ScreenSpec, SignalSpec
from scipy import stats

SPEC = ScreenSpec(membership=MembershipSpec(timesteps=(100, 300), noises=2, permutations=999))


def subjects(pair, n=4):
    pixels = torch.rand(n, *pair.latent_shape, generator=torch.Generator().manual_seed(0))
    return Subjects(pixels, pair.encode(pixels), ("a photo",) * n)


class Adapter(GaussianPair):
    def null(self, seed):
        raise AssertionError("a noise adapter was built for a yes or no")


class Checkpoint(Adapter):
    scalable = False


def test_a_full_checkpoint_has_no_strength_curve():
    deep = MembershipSpec(signals="deep")
    for pair, there in ((Adapter(), True), (Checkpoint(), False)):
        names, left_out = possible(pair, subjects(pair), deep, lambda x: x.flatten(1))
        assert ("strength_curve" in names) is there
        assert ("strength_curve" in left_out) is not there


def test_signals_share_the_grid_of_the_primary_one():
    spec = ScreenSpec(
        membership=MembershipSpec(timesteps=(5, 7), noises=3, batch=9, seed=11),
        signals=SignalSpec(windows=(1, 2), timesteps=(1,), noises=1),
    )
    found = signal_spec(spec)
    assert (found.timesteps, found.noises, found.batch, found.seed) == ((5, 7), 3, 9, 11)
    assert found.windows == (1, 2)
    grid = ScreenSpec(membership=MembershipSpec(timesteps=(5, 7), noises=3, signals="grid"))
    assert image_rows(grid) == 2 * 2 * 3


def test_findings_are_corrected_for_their_number_and_leave_out_the_primary():
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=30) for name in SETS["standard"]}
    scores["loss"][:8] += 4
    found = signal_findings(scores, 8, SPEC)
    names = [f.name for f in found]
    assert PRIMARY not in names
    assert names[-1] == "fusion"
    order = np.argsort([f.p for f in found])
    adjusted = np.maximum.accumulate(
        [min(1.0, (len(found) - i) * found[k].p) for i, k in enumerate(order)]
    )
    assert [found[k].holm_p for k in order] == pytest.approx(adjusted.tolist())
    loss = next(f for f in found if f.name == "loss")
    u = stats.mannwhitneyu(scores["loss"][:8], scores["loss"][8:]).statistic
    assert loss.auc.auc == pytest.approx(u / (8 * 22))
    assert loss.published
    assert signal_findings({PRIMARY: scores[PRIMARY]}, 8, SPEC) == ()
