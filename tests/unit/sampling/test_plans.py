"""Solvers against a closed-form Gaussian denoiser; plans; noise that belongs to the image."""

import itertools
import math

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.sampling.guidance import cfg, model_guidance
from lora_forensics.core.sampling.plans import (
    SAMPLERS,
    Job,
    batches,
    forwards,
    noise_of,
    plan,
    sample_latents,
    schedule,
    seed_of,
    timestep_of,
    training_sigmas,
)
from lora_forensics.core.specs import SampleSpec
from lora_forensics.core.types import BASE, TUNED, Conditioning, ModelHashes
from torch import Tensor

MEAN, SPREAD = 0.7, 0.5
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
SIGMAS = training_sigmas((1 - BETAS).cumprod(0))


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """Exact denoiser of N(MEAN, SPREAD^2)."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def error(solver: str, steps: int) -> float:
    """Distance from the ODE's exact end, on noise levels geometric in sigma.

    The exact solution is ``x(s) - mean ~ sqrt(spread^2 + s^2)``. The run ends at a small sigma,
    so that the final jump to 0 (first order by design) does not hide the order.
    """
    levels = torch.logspace(math.log10(20), math.log10(0.05), steps + 1, dtype=torch.float64)
    x = torch.tensor([3.0, -15.0, 25.0], dtype=torch.float64)
    start, end = SPREAD**2 + levels[0] ** 2, SPREAD**2 + levels[-1] ** 2
    wanted = MEAN + (x - MEAN) * (end / start).sqrt()
    return float((SAMPLERS[solver][0](gaussian, x, levels) - wanted).abs().max())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("euler", 1), ("dpmpp_2m", 2)])
def test_order_of_convergence(solver, order):
    errors = [error(solver, n) for n in (40, 80, 160, 320)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.15), (errors, orders)


@pytest.mark.parametrize("solver", list(SAMPLERS))
def test_a_point_mass_is_reached_exactly(solver):
    sampler, spacing = SAMPLERS[solver]
    x = sampler(lambda x, s: torch.full_like(x, 2.0), torch.randn(5), schedule(SIGMAS, 7, spacing))
    torch.testing.assert_close(x, torch.full_like(x, 2.0))


@pytest.mark.parametrize("solver", list(SAMPLERS))
def test_samples_follow_the_data(solver):
    sampler, spacing = SAMPLERS[solver]
    levels = schedule(SIGMAS, 100, spacing)
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = sampler(gaussian, noise * (1 + levels[0] ** 2).sqrt(), levels)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.06)
    assert float(x.std()) == pytest.approx(SPREAD, abs=0.04)


def test_ddim_and_euler_are_one_solver_in_these_coordinates():
    levels = schedule(SIGMAS, 11)
    x = torch.randn(9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 14
    a, b = (SAMPLERS[name][0](gaussian, x, levels) for name in ("ddim", "euler"))
    torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "karras"])
@pytest.mark.parametrize("steps", [1, 3, 20, 999, 1000])
def test_schedules_fall_to_zero(spacing, steps):
    levels = schedule(SIGMAS, steps, spacing)
    assert len(levels) == steps + 1
    assert levels[-1] == 0
    assert (levels.diff() <= 0).all()


@pytest.mark.parametrize(("steps", "spacing"), [(0, "leading"), (1001, "leading"), (5, "odd")])
def test_impossible_schedules_are_refused(steps, spacing):
    with pytest.raises(InputError, match="BAD_SETTING"):
        schedule(SIGMAS, steps, spacing)


def test_timesteps_invert_the_table_and_clamp():
    steps = torch.tensor([0, 1, 500, 998, 999])
    torch.testing.assert_close(
        timestep_of(SIGMAS[steps], SIGMAS), steps.double(), atol=1e-6, rtol=0
    )
    assert timestep_of(torch.tensor([0.0, 1e9]), SIGMAS).tolist() == [0.0, 999.0]
    between = (SIGMAS[500] * SIGMAS[501]).sqrt()[None]
    assert timestep_of(between, SIGMAS).item() == pytest.approx(500.5)


def test_seeds_are_fixed_forever_and_distinct():
    assert seed_of(0, 0) == 6213027144842677344
    assert len({seed_of(r, i) for r in range(20) for i in range(20)}) == 400
    assert seed_of(1, 11) != seed_of(11, 1)


class ToyPair:
    """A pair whose base and tuned models are Gaussian denoisers of different means."""

    latent_shape = (2, 3, 5)
    resolution, family, prediction, scalable = 8, "sd1", "epsilon", True
    sigmas = SIGMAS
    hashes = ModelHashes("base", "tuned")

    def __init__(self):
        self.rows = []

    def __call__(self, x, sigma, cond):
        self.rows.append(len(x))
        mean = (cond.embeds[:, 0, 0] + cond.strength).view(-1, 1, 1, 1)
        s = sigma.view(-1, 1, 1, 1) ** 2
        return (0.25 * x + s * mean) / (0.25 + s)

    def condition(self, prompts, strengths):
        embeds = torch.tensor([float(len(p)) for p in prompts]).view(-1, 1, 1)
        return Conditioning(embeds, torch.tensor(strengths))

    def encode(self, pixels):
        return pixels

    def decode(self, latents):
        return latents


def run(jobs, batch, sampler="ddim"):
    pair = ToyPair()
    spec = SampleSpec(steps=6, batch=batch, sampler=sampler)
    found = {}
    for part, latents in sample_latents(pair, jobs, spec):
        found |= {job.index: z for job, z in zip(part, latents, strict=True)}
    return found, pair


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_an_image_depends_on_no_batch_and_no_order(sampler):
    jobs = plan(["ab", "c"], [cfg(3.0), model_guidance(2.0), cfg(1.0, BASE)], 4, 7)
    whole, _ = run(jobs, 12, sampler)
    single, _ = run(jobs, 1, sampler)
    turned, _ = run(jobs[::-1], 5, sampler)
    for i, latent in whole.items():
        torch.testing.assert_close(single[i], latent, atol=1e-5, rtol=0)
        torch.testing.assert_close(turned[i], latent, atol=1e-5, rtol=0)


def test_noise_is_the_seeds_alone():
    assert torch.equal(noise_of(3, (4, 8, 8)), noise_of(3, (4, 8, 8)))
    assert not torch.equal(noise_of(3, (4, 8, 8)), noise_of(4, (4, 8, 8)))


def test_arms_of_a_plan_share_noise_and_prompts():
    rules = [cfg(1.0), cfg(3.0), cfg(3.0, BASE)]
    jobs = plan(["a", "b"], rules, 5, 0)
    assert [j.index for j in jobs] == list(range(15))
    for k in range(5):
        arm = [jobs[g * 5 + k] for g in range(3)]
        assert len({(j.seed, j.prompt) for j in arm}) == 1
        assert [j.guidance for j in arm] == rules


def test_one_forward_a_step_holds_all_branches():
    jobs = plan(["a"], [cfg(1.0), cfg(3.0), model_guidance(2.0, -0.02)], 2, 0)
    _, pair = run(jobs, 6)
    assert pair.rows == [10] * 6
    assert forwards(jobs, 6) == 60


def test_guidance_arms_reach_their_closed_form_means():
    """cfg 3 of means 2 (prompt) and 0 (empty) pulls to 6 + 1; every row has its own rule."""
    jobs = [
        Job(0, "ab", 1, cfg(3.0, TUNED)),
        Job(1, "ab", 1, cfg(0.0, BASE)),
        Job(2, "ab", 1, model_guidance(2.0)),
    ]
    pair = ToyPair()
    [(_, out)] = sample_latents(pair, jobs, SampleSpec(steps=200))
    top = float(schedule(SIGMAS, 200)[0])
    start = noise_of(1, pair.latent_shape) * (1 + top**2) ** 0.5
    for latent, mean in zip(out, (7.0, 0.0, 6.0), strict=True):
        wanted = mean + (start - mean) * (0.25 / (0.25 + top**2)) ** 0.5
        assert (latent - wanted).abs().max() < 0.12


def test_progress_counts_solver_steps_of_images():
    seen = []

    class Bar:
        def start(self, task, total, done=0): ...

        def step(self, n=1):
            seen.append(n)

    jobs = plan(["a"], [cfg(1.0)], 5, 0)
    list(sample_latents(ToyPair(), jobs, SampleSpec(steps=3, batch=2), progress=Bar()))
    assert sum(seen) == 15


def test_empty_plans_are_refused():
    with pytest.raises(InputError, match="EMPTY_PLAN"):
        plan([], [cfg(1.0)], 3, 0)


def test_batches_cover_all_jobs():
    jobs = plan(["a"], [cfg(1.0)], 5, 0)
    assert [len(b) for b in batches(jobs, 2)] == [2, 2, 1]
