import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.membership.signals import paired as signals
from lora_forensics.core.specs import MembershipSpec
from lora_forensics.core.types import BASE, TUNED

SPEC = MembershipSpec(timesteps=(50, 350, 650), noises=4, batch=16)


def latents(pair, n, mean, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    return mean + spread * torch.randn(n, *pair.latent_shape, generator=generator)


def test_members_score_higher_than_strangers():
    pair = GaussianPair()
    members = signals.base_ratio(
        signals.paired_losses(pair, latents(pair, 6, 0.5, 0.2, 1), "", SPEC)
    )
    others = signals.base_ratio(signals.paired_losses(pair, latents(pair, 6, 0, 1, 2), "", SPEC))
    assert members.min() > 0 > others.max()


def test_identical_models_score_exactly_zero():
    pair = GaussianPair(mean=0.0, spread=1.0)
    losses = signals.paired_losses(pair, latents(pair, 3, 0, 1, 1), "", SPEC)
    assert np.abs(signals.base_ratio(losses)).max() < 1e-6


def test_losses_equal_the_closed_form_expectation():
    """E|eps_hat - e|^2 of the exact denoiser of N(m, s^2) is s^2 / (s^2 + sigma^2)."""
    pair = GaussianPair(mean=0.3, spread=0.7, side=32)
    spec = MembershipSpec(timesteps=(100, 500), noises=8)
    losses = signals.paired_losses(pair, latents(pair, 4, 0.3, 0.7, 3), "", spec)
    sigma2 = pair.sigmas[torch.tensor(spec.timesteps)] ** 2
    expected = 0.49 / (0.49 + sigma2)
    assert losses.tuned.mean((0, 2)).tolist() == pytest.approx(expected.tolist(), rel=0.05)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batch_size_changes_nothing(batch):
    pair = GaussianPair()
    x = latents(pair, 3, 0, 1, 4)
    one = signals.paired_losses(pair, x, "", SPEC)
    other = signals.paired_losses(
        pair, x, "", MembershipSpec(timesteps=SPEC.timesteps, noises=4, batch=batch)
    )
    assert torch.allclose(one.base, other.base, atol=1e-7)
    assert torch.allclose(one.tuned, other.tuned, atol=1e-7)


def test_noise_is_shared_by_images_and_antithetic():
    draws = signals.draws_of(SPEC, (3, 4, 4))
    assert torch.equal(draws[:, 0], -draws[:, 1])
    assert not torch.equal(draws[:, 0], draws[:, 2])
    assert not torch.equal(draws[0], draws[1])


def test_one_forward_a_cell_and_model():
    pair = GaussianPair()
    signals.eps_losses(pair, latents(pair, 2, 0, 1, 5), "", SPEC, models=(BASE, TUNED))
    assert pair.rows == 2 * 2 * 3 * 4


def test_halves_are_made_of_whole_antithetic_pairs():
    pair = GaussianPair()
    losses = signals.paired_losses(pair, latents(pair, 2, 0.5, 0.2, 6), "", SPEC)
    first, second = signals.draw_halves(losses)
    assert np.array_equal(np.stack([first, second]), signals.pair_ratios(losses))
    single = signals.Losses(losses.base[..., :2], losses.tuned[..., :2])
    alone = signals.Losses(losses.base[..., :1], losses.tuned[..., :1])
    assert signals.draw_halves(single)[0] == pytest.approx(signals.base_ratio(alone))
