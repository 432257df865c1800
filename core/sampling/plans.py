"""Seeds, sigma schedules, solvers on the k-diffusion contract, and multi-cfg plans.

A plan is any mix of prompts, seeds and guidance rules. Noise belongs to the image: it depends on
the job's own seed alone, so batch size, order and resume never change which image is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import InputError
from ..protocols import QUIET, Denoiser, ModelPair, Progress, Rows
from ..specs import SampleSpec
from .guidance import Guidance, combine

Model = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[int, Tensor], None]


def seed_of(run_seed: int, index: int) -> int:
    """Seed of image `index`: the first 63 bits of SHA-256 of ``run_seed:index``.

    Example:
        >>> seed_of(0, 1) != seed_of(1, 0)
        True
    """
    digest = hashlib.sha256(f"{run_seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def noise_of(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of one image, drawn on the CPU by its own generator."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def noised(pair: ModelPair, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """Noisy latents: ``x0 + sigma eps``, or ``(1 - sigma) x0 + sigma eps`` for a flow model.

    Either way the training loss, in eps or in velocity units, is ``|x0 - D(x)|^2 / sigma^2``.

    Args:
        pair: says which.
        x0: ``[N, ...]`` clean latents.
        eps: noise shaped like `x0`.
        sigma: ``[N]``.
    """
    wide = column(sigma, x0)
    return (1 - wide) * x0 + wide * eps if pair.prediction == "flow" else x0 + wide * eps


def start(pair: ModelPair, noise: Tensor, sigma: Tensor) -> Tensor:
    """Where sampling begins: the marginal at the first level, where the data's variance shows."""
    return noise * (sigma if pair.prediction == "flow" else (1 + sigma**2).sqrt()).float()


def column(values: Tensor, like: Tensor) -> Tensor:
    """``[N]`` as ``[N, 1, ...]`` with as many axes as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def training_sigmas(alphas_cumprod: Tensor) -> Tensor:
    """Noise level of each training timestep, ``sqrt((1 - abar) / abar)``, float64, rising."""
    abar = alphas_cumprod.double()
    return ((1 - abar) / abar).sqrt()


def timestep_of(sigma: Tensor, sigmas: Tensor) -> Tensor:
    """Fractional training timestep of noise levels, linear in log sigma (k-diffusion).

    Args:
        sigma: ``[N]`` noise levels; outside the table they are clamped to its ends.
        sigmas: ``[T]`` table of `training_sigmas`.
    """
    log, table = sigma.double().clamp_min(1e-12).log(), sigmas.double().log()
    high = torch.searchsorted(table, log).clamp(1, len(table) - 1)
    low = high - 1
    weight = (log - table[low]) / (table[high] - table[low])
    return (low + weight).clamp(0, len(table) - 1)


def schedule(sigmas: Tensor, steps: int, spacing: str = "leading") -> Tensor:
    """Noise levels of a run, falling, with a final 0.

    Args:
        sigmas: ``[T]`` training table.
        steps: number of solver steps.
        spacing: ``leading`` (diffusers' DDIM of SD 1.x, offset 1), ``trailing``, or ``karras``
            (Karras et al. 2022, eq. 5, rho 7).

    Returns:
        ``[steps + 1]`` float64.

    Raises:
        InputError: more steps than training timesteps, or an unknown spacing.
    """
    total = len(sigmas)
    if not 1 <= steps <= total:
        raise InputError("BAD_SETTING", f"steps is {steps}; the model has {total} timesteps")
    if spacing == "leading":
        t = torch.arange(steps) * (total // steps) + 1
        levels = sigmas[t.clamp_max(total - 1)].flip(0)
    elif spacing == "trailing":
        t = (torch.arange(total, 0, -total / steps).round() - 1)[:steps].long()
        levels = sigmas[t]
    elif spacing == "karras":
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        low, high = sigmas[0] ** (1 / 7), sigmas[-1] ** (1 / 7)
        levels = (high + ramp * (low - high)) ** 7
    else:
        raise InputError("BAD_SETTING", f"spacing {spacing!r} is unknown")
    return torch.cat([levels, levels.new_zeros(1)])


def sample_ddim(
    model: Model, x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eq. 12, eta 0) in ``x0 + sigma eps`` coordinates."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i])
        eps = (x - denoised) / sigmas[i]
        x = denoised + sigmas[i + 1] * eps
        if callback:
            callback(i, denoised)
    return x


def sample_euler(
    model: Model, x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """Euler steps on the probability-flow ODE (Karras et al. 2022, algorithm 1)."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i])
        d = (x - denoised) / sigmas[i]
        x = x + d * (sigmas[i + 1] - sigmas[i])
        if callback:
            callback(i, denoised)
    return x


def sample_dpmpp_2m(
    model: Model, x: Tensor, sigmas: Tensor, callback: Callback | None = None
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2); the last step is first order."""
    old: Tensor | None = None
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i])
        if callback:
            callback(i, denoised)
        if sigmas[i + 1] == 0:
            x = denoised
            break
        h = (sigmas[i] / sigmas[i + 1]).log()
        d = denoised
        if old is not None:
            r = (sigmas[i - 1] / sigmas[i]).log() / h
            d = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old
        x = sigmas[i + 1] / sigmas[i] * x - torch.expm1(-h) * d
        old = denoised
    return x


SAMPLERS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "ddim": (sample_ddim, "leading"),
    "euler": (sample_euler, "trailing"),
    "dpmpp_2m": (sample_dpmpp_2m, "karras"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One image to make: its place in the plan, prompts, noise seed and guidance rule."""

    index: int
    prompt: str
    seed: int
    guidance: Guidance
    negative: str = ""


def plan(
    prompts: Sequence[str], guidances: Sequence[Guidance], images: int, run_seed: int
) -> tuple[Job, ...]:
    """A multi-cfg plan: `images` noises, each under every guidance rule, prompts in turn.

    Noise k is the same for all guidance rules, so that arms are paired.

    Returns:
        ``images * len(guidances)`` jobs; job ``g * images + k`` has guidance g and noise k.

    Raises:
        InputError: no prompt or no guidance.
    """
    if not prompts or not guidances:
        raise InputError("EMPTY_PLAN", "a plan needs at least one prompt and one guidance rule")
    return tuple(
        Job(g * images + k, prompts[k % len(prompts)], seed_of(run_seed, k), rule)
        for g, rule in enumerate(guidances)
        for k in range(images)
    )


def forwards(jobs: Sequence[Job], steps: int) -> int:
    """Denoiser rows that a plan needs."""
    return steps * sum(len(job.guidance.branches) for job in jobs)


def guided(pair: Denoiser, cond: Rows, jobs: Sequence[Job]) -> Model:
    """A batch of jobs as one model: all branches of all jobs in a single batched forward.

    Args:
        pair: the denoiser.
        cond: one row a branch, jobs in order, branches in order.
        jobs: the images of the batch.
    """
    counts = [len(job.guidance.branches) for job in jobs]
    rows = torch.repeat_interleave(torch.arange(len(jobs)), torch.tensor(counts))

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        owner = rows.to(x.device)
        level = sigma.to(x).expand(len(owner))
        parts = pair(x[owner], level, cond).split(counts)
        merged = [combine(x[i], list(parts[i]), job.guidance) for i, job in enumerate(jobs)]
        return torch.stack(merged)

    return model


def condition_jobs(pair: ModelPair, jobs: Sequence[Job]) -> Rows:
    """Conditioning rows of all branches of all jobs."""
    prompts, strengths = [], []
    for job in jobs:
        for branch in job.guidance.branches:
            prompts.append(job.prompt if branch.conditional else job.negative)
            strengths.append(branch.model)
    return pair.condition(prompts, strengths)


def batches(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """Consecutive batches of at most `size` jobs."""
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


@torch.no_grad()
def sample_latents(
    pair: ModelPair,
    jobs: Sequence[Job],
    spec: SampleSpec,
    *,
    progress: Progress = QUIET,
) -> Iterator[tuple[Sequence[Job], Tensor]]:
    """Run a plan batch by batch.

    Yields:
        The batch's jobs and their latents ``[len(batch), C, h, w]``.

    Raises:
        InputError: the solver does not fit the model.
    """
    if pair.prediction == "flow" and spec.sampler == "dpmpp_2m":
        raise InputError("BAD_SETTING", "dpmpp_2m is not a solver for flow models; use euler")
    solver, spacing = SAMPLERS[spec.sampler]
    sigmas = schedule(pair.sigmas, spec.steps, spacing)
    for batch in batches(jobs, spec.batch):
        noise = torch.stack([noise_of(job.seed, pair.latent_shape) for job in batch])
        cond = condition_jobs(pair, batch)
        x = start(pair, noise.to(cond.device), sigmas[0])
        model = guided(pair, cond, batch)
        done = solver(model, x, sigmas.to(x), partial(_step, progress, len(batch)))
        yield batch, done


def _step(progress: Progress, rows: int, index: int, denoised: Tensor) -> None:
    progress.step(rows)
