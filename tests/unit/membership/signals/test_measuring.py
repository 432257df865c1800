"""Every signal through `measure`, on a pair in closed form."""

import numpy as np
import pytest
import torch
from gaussian_pair import FlowPair, GaussianPair
from interruptions import Interrupt
from lora_forensics.core.errors import InputError
from lora_forensics.core.membership.signals import (
    DEEP,
    SIGNALS,
    STANDARD,
    Subjects,
    measure,
    planned_rows,
    refusals,
)
from lora_forensics.core.membership.signals.paired import base_ratio, paired_losses
from lora_forensics.core.specs import MembershipSpec, SignalSpec
from lora_forensics.core.storage import Work, open_case

SPEC = SignalSpec(
    timesteps=(50, 350, 650),
    noises=2,
    pfami_timesteps=(0, 200),
    pfami_crops=2,
    inversion=6,
    regeneration=3,
    batch=64,
)
UNCAPTIONED = tuple(n for n in DEEP if not SIGNALS[n].captions)


def embed(pixels):
    flat = pixels.flatten(1) - 0.5
    return flat / flat.norm(dim=1, keepdim=True)


def subjects(n, mean, spread, seed, side=8):
    generator = torch.Generator().manual_seed(seed)
    latents = mean + spread * torch.randn(n, 3, side, side, generator=generator)
    return Subjects((latents + 1) / 2, latents, tuple(f"a red fox number {i}" for i in range(n)))


class Captioned(GaussianPair):
    """A caption moves the tuned mean, so that the conditional gap is no zero."""

    def condition(self, prompts, strengths):
        rows = super().condition(prompts, strengths)
        rows.embeds[:, 0, 0] = torch.tensor([float(len(p)) for p in prompts])
        return rows

    def __call__(self, x, sigma, cond):
        shift = 0.01 * cond.embeds[:, 0, 0].view(-1, 1, 1, 1) * cond.strength.view(-1, 1, 1, 1)
        return super().__call__(x, sigma, cond) + shift


@pytest.fixture(scope="module")
def deep():
    both = Subjects.cat([subjects(10, 0.5, 0.2, 1), subjects(6, 0.0, 1.0, 2)])
    return measure(GaussianPair(), both, SPEC, UNCAPTIONED, embed=embed)


BASED = (
    "base_ratio",
    "base_difference",
    "base_min_t",
    "sima_delta",
    "pia_delta",
    "window_votes",
    "error_ratio",
    "strength_curve",
    "range_ratio",
    "loss",
    "pia",
)


@pytest.mark.parametrize("name", BASED)
def test_members_score_above_strangers(deep, name):
    scores = deep.scores[name]
    assert scores[:10].min() > scores[10:].max()


def test_the_heat_map_is_positive_where_the_adapter_helps(deep):
    assert deep.heat.shape == (16, 8, 8)
    assert deep.heat[:10].mean() > 0 > deep.heat[10:].mean()
    difference = (deep.losses.base - deep.losses.tuned).mean((1, 2))
    assert torch.allclose(deep.heat.mean((1, 2)), difference, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in DEEP if SIGNALS[n].uses_base and n != "noise_probe"])
def test_equal_models_score_exactly_zero(name):
    pair = GaussianPair(mean=0.0, spread=1.0)
    found = measure(pair, subjects(3, 0.2, 0.7, 3), SPEC, (name,), embed=embed)
    assert np.abs(found.scores[name]).max() == 0


@pytest.mark.parametrize("name", DEEP)
def test_rows_are_those_that_were_planned(name):
    pair = Captioned()
    found = measure(pair, subjects(3, 0.2, 0.7, 3), SPEC, (name,), embed=embed)
    assert pair.rows == found.forwards == 3 * SIGNALS[name].forwards(SPEC)


def test_shared_work_is_done_once():
    pair = Captioned()
    found = measure(pair, subjects(2, 0.2, 0.7, 3), SPEC, DEEP, embed=embed)
    assert pair.rows == found.forwards == 2 * planned_rows(DEEP, SPEC)
    usual = SignalSpec()
    assert planned_rows(STANDARD, usual) < 200
    assert planned_rows(STANDARD, usual) < sum(SIGNALS[n].forwards(usual) for n in STANDARD) / 3


@pytest.mark.parametrize("batch", [1, 7])
def test_batch_size_changes_nothing(batch):
    both, few = subjects(3, 0.3, 0.5, 4), SignalSpec(**{**SPEC.__dict__, "batch": batch})
    one = measure(Captioned(), both, SPEC, DEEP, embed=embed)
    other = measure(Captioned(), both, few, DEEP, embed=embed)
    for name in DEEP:
        np.testing.assert_allclose(one.scores[name], other.scores[name], rtol=1e-4, atol=1e-6)


def test_one_signal_alone_equals_itself_among_all():
    both = subjects(4, 0.3, 0.5, 5)
    together = measure(Captioned(), both, SPEC, DEEP, embed=embed).scores
    for name in DEEP:
        alone = measure(Captioned(), both, SPEC, (name,), embed=embed).scores[name]
        np.testing.assert_allclose(alone, together[name], rtol=1e-5, atol=1e-7)


def test_the_primary_signal_is_that_of_paired():
    both = subjects(4, 0.3, 0.5, 5).captioned(("x",) * 4)
    found = measure(GaussianPair(), both, SPEC, ("base_ratio",)).scores["base_ratio"]
    grid = MembershipSpec(timesteps=SPEC.timesteps, noises=2)
    losses = paired_losses(GaussianPair(), both.latents, "x", grid)
    assert found.tolist() == base_ratio(losses).tolist()


def test_a_second_call_resumes_and_computes_nothing(tmp_path):
    both, pair = subjects(10, 0.3, 0.5, 6), Captioned()
    case = open_case(tmp_path / "case", {})
    first = measure(pair, both, SPEC, DEEP, work=Work(case), embed=embed)
    case.close()
    rows, case = pair.rows, open_case(tmp_path / "case", {})
    again = measure(pair, both, SPEC, DEEP, work=Work(case), embed=embed)
    assert pair.rows == rows
    assert all(np.array_equal(first.scores[n], again.scores[n]) for n in DEEP)


def test_an_interrupted_call_loses_one_stage_of_one_chunk(tmp_path):
    both, names = subjects(10, 0.3, 0.5, 6), ("base_ratio", "sima_delta", "secmi")
    case, stop = open_case(tmp_path / "case", {}), Interrupt(23)  # ends stage 3 of 8 photos
    with pytest.raises(KeyboardInterrupt):
        measure(GaussianPair(), both, SPEC, names, work=Work(case, stop))
    pair = GaussianPair()
    measure(pair, both, SPEC, names, work=Work(case))
    assert pair.rows == 2 * planned_rows(names, SPEC)  # the second chunk holds two photos


def test_a_later_call_that_needs_the_base_asks_again(tmp_path):
    both, case = subjects(3, 0.3, 0.5, 6), open_case(tmp_path / "case", {})
    measure(GaussianPair(), both, SPEC, ("loss",), work=Work(case))
    kept = measure(GaussianPair(), both, SPEC, ("base_ratio",), work=Work(case))
    fresh = measure(GaussianPair(), both, SPEC, ("base_ratio",))
    assert np.array_equal(kept.scores["base_ratio"], fresh.scores["base_ratio"])


FLOW_REFUSED = ("pia_delta", "secmi", "pia", "pian")


@pytest.mark.parametrize("name", FLOW_REFUSED)
def test_flow_models_refuse_what_is_not_defined(name):
    with pytest.raises(InputError, match=r"BAD_SIGNAL.*flow"):
        measure(FlowPair(), subjects(2, 0, 1, 1), SPEC, (name,))


def test_flow_models_measure_all_the_rest():
    names = [n for n in UNCAPTIONED if n not in FLOW_REFUSED]
    both = Subjects.cat([subjects(6, 0.5, 0.2, 1), subjects(4, 0.0, 1.0, 2)])
    found = measure(FlowPair(), both, SPEC, names, embed=embed)
    assert set(refusals(FlowPair(), both, UNCAPTIONED, embed=embed)) == set(FLOW_REFUSED)
    for name in ("base_ratio", "sima_delta", "window_votes"):
        assert found.scores[name][:6].min() > found.scores[name][6:].max(), name


def test_bad_input_has_named_errors():
    some = subjects(2, 0, 1, 1)
    with pytest.raises(InputError, match=r"BAD_SIGNAL.*nonsense"):
        measure(GaussianPair(), some, SPEC, ("nonsense",))
    with pytest.raises(InputError, match="BAD_SIGNAL"):
        measure(GaussianPair(), some, SPEC, ())
    with pytest.raises(InputError, match=r"BAD_SIGNAL.*embedding"):
        measure(GaussianPair(), some, SPEC, ("reconstruction",))
    with pytest.raises(InputError, match=r"BAD_SIGNAL.*caption"):
        measure(GaussianPair(), some.captioned(("", "a")), SPEC, ("clid",))
    with pytest.raises(InputError, match="NON_FINITE"):
        measure(GaussianPair(mean=float("nan")), some, SPEC, ("base_ratio",))
    with pytest.raises(InputError, match="BAD_SHAPE"):
        Subjects(some.pixels, some.latents, ("one",))
    steps = SignalSpec(inversion=3, regeneration=4)
    with pytest.raises(InputError, match="regeneration"):
        measure(GaussianPair(), some, steps, ("reconstruction",), embed=embed)
