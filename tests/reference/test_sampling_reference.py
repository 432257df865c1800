"""Solvers against diffusers' schedulers, with one tiny UNet and one noise."""

import pytest
import tiny_models
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from lora_forensics.core.sampling.plans import SAMPLERS, noise_of, schedule, training_sigmas

COMMON = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="module")
def unet():
    return tiny_models.networks("sd1").unet


EMBEDS = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(3))


def reference(unet, scheduler, x):
    with torch.no_grad():
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t)
            out = unet(scaled, t, encoder_hidden_states=EMBEDS).sample
            x = scheduler.step(out, t, x).prev_sample
    return x


def ours(unet, solver, x, levels, timesteps):
    """Our loop; noise levels in turn ask the network at the scheduler's own timesteps."""
    turn = iter(timesteps)

    def model(x, sigma):
        scaled = x / (sigma**2 + 1).sqrt()
        return x - sigma * unet(scaled, next(turn), encoder_hidden_states=EMBEDS).sample

    with torch.no_grad():
        return SAMPLERS[solver][0](model, x, levels.float())


@pytest.mark.parametrize("steps", [5, 20])
def test_ddim(unet, steps):
    scheduler = DDIMScheduler(
        **COMMON, clip_sample=False, set_alpha_to_one=True, steps_offset=1,
        timestep_spacing="leading",
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    levels = schedule(training_sigmas(scheduler.alphas_cumprod), steps, "leading")
    noise = noise_of(0, (1, 4, 8, 8))
    start = noise * (1 + levels[0] ** 2).sqrt().float()
    out = ours(unet, "ddim", start, levels, scheduler.timesteps)
    assert (out - reference(unet, scheduler, noise)).abs().max() < 1e-4


@pytest.mark.parametrize("steps", [5, 20])
def test_euler(unet, steps):
    scheduler = EulerDiscreteScheduler(**COMMON, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    levels = schedule(training_sigmas(scheduler.alphas_cumprod), steps, "trailing")
    torch.testing.assert_close(levels.float(), scheduler.sigmas, atol=1e-4, rtol=1e-4)
    x = noise_of(1, (1, 4, 8, 8)) * levels[0].float()
    out = ours(unet, "euler", x, levels, scheduler.timesteps)
    assert (out - reference(unet, scheduler, x)).abs().max() < 1e-3


@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_2m_karras(unet, steps):
    scheduler = DPMSolverMultistepScheduler(
        **COMMON, algorithm_type="dpmsolver++", solver_order=2, lower_order_final=True,
        use_karras_sigmas=True, final_sigmas_type="zero",
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    levels = schedule(training_sigmas(scheduler.alphas_cumprod), steps, "karras")
    torch.testing.assert_close(levels.float(), scheduler.sigmas, atol=1e-4, rtol=1e-4)
    noise = noise_of(2, (1, 4, 8, 8))
    start = noise * (1 + levels[0] ** 2).sqrt().float()
    out = ours(unet, "dpmpp_2m", start, levels, scheduler.timesteps)
    wanted = reference(unet, scheduler, noise)
    assert (out - wanted).abs().max() < 1e-3
