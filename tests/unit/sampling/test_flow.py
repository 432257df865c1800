"""Rectified-flow models, against the closed form for Gaussian data."""

import numpy as np
import pytest
import torch
from gaussian_pair import FlowPair, GaussianPair
from lora_forensics.core.errors import InputError
from lora_forensics.core.membership.signals import paired as signals
from lora_forensics.core.sampling.guidance import cfg, model_guidance
from lora_forensics.core.sampling.plans import Job, noise_of, noised, sample_latents
from lora_forensics.core.specs import MembershipSpec, SampleSpec
from lora_forensics.core.types import TUNED


@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_sampling_follows_the_flow_of_gaussian_data(sampler):
    """The probability flow takes noise e to ``mean + spread * e`` exactly."""
    pair = FlowPair(mean=0.5, spread=0.2)
    jobs = [Job(0, "", 3, cfg(1.0, TUNED)), Job(1, "", 3, model_guidance(1.0))]
    [(_, out)] = sample_latents(pair, jobs, SampleSpec(steps=500, sampler=sampler))
    wanted = 0.5 + 0.2 * noise_of(3, pair.latent_shape)
    for latent in out:
        torch.testing.assert_close(latent, wanted, atol=0.01, rtol=0)


def test_a_solver_of_another_process_is_refused():
    spec = SampleSpec(steps=4, sampler="dpmpp_2m")
    with pytest.raises(InputError, match="euler"):
        list(sample_latents(FlowPair(), [Job(0, "", 1, cfg(1.0))], spec))


def test_losses_are_those_of_the_velocity():
    pair, spec = FlowPair(mean=0.3, spread=0.7, side=32), MembershipSpec(noises=8)
    generator = torch.Generator().manual_seed(1)
    x0 = 0.3 + 0.7 * torch.randn(4, *pair.latent_shape, generator=generator)
    losses = signals.paired_losses(pair, x0, "", spec)
    s = pair.sigmas[torch.tensor(spec.timesteps)]
    expected = 0.49 / ((1 - s) ** 2 * 0.49 + s**2)  # E|x0 - D|^2 / sigma^2
    assert losses.tuned.mean((0, 2)).tolist() == pytest.approx(expected.tolist(), rel=0.05)
    assert np.all(signals.base_ratio(losses) > 0)


def test_noising_mixes_data_and_noise():
    x0, eps = torch.full((2, 1, 2, 2), 4.0), torch.ones(2, 1, 2, 2)
    sigma = torch.tensor([0.25, 1.0])
    assert noised(FlowPair(), x0, eps, sigma)[:, 0, 0, 0].tolist() == [3.25, 1.0]
    assert noised(GaussianPair(), x0, eps, sigma)[:, 0, 0, 0].tolist() == [4.25, 5.0]
