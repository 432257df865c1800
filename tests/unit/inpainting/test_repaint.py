"""RePaint: published counts, diffusers' scheduler step by step, and exact marginals."""

import itertools

import pytest
import torch
from diffusers import RePaintScheduler
from lora_forensics.core.errors import InputError
from lora_forensics.core.inpainting.repaint import Move, level_sigmas, moves, renoised, repaint


@pytest.mark.parametrize(
    ("schedule", "count", "forwards"),
    [((250, 10, 10), 4570, 2410), ((250, 10, 1), 250, 250), ((50, 10, 10), 770, 410),
     ((50, 5, 3), 230, 140)],
)  # fmt: skip
def test_schedule_has_the_published_counts(schedule, count, forwards):
    found = moves(*schedule)
    assert len(found) == count
    assert sum(m.down for m in found) == forwards
    assert found[0].start == schedule[0]
    assert found[-1] == Move(1, 0)
    assert all(a.end == b.start for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("schedule", [(250, 10, 10), (50, 5, 3), (20, 4, 2)])
def test_schedule_is_that_of_diffusers(schedule):
    scheduler = RePaintScheduler(num_train_timesteps=schedule[0])
    scheduler.set_timesteps(*schedule)
    # diffusers lists the level that each transition ends at.
    assert [m.end for m in moves(*schedule)] == scheduler.timesteps.tolist()


class TinyEps(torch.nn.Module):
    """A fixed nonlinear epsilon model that depends on the timestep."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t):
        return torch.tanh(self.conv(x)) * (0.5 + t / 40)


def diffusers_run(eps, known, mask, scheduler, schedule, draws, eta):
    """The loop of diffusers' pipeline with recorded noise; its mask is 1 where known."""
    scheduler.eta = eta
    scheduler.set_timesteps(*schedule)
    x, last, states = draws[0], scheduler.timesteps[0] + 1, []
    with pytest.MonkeyPatch.context() as patch:
        source = iter(draws[1:])
        patch.setattr(
            "diffusers.schedulers.scheduling_repaint.randn_tensor", lambda *a, **k: next(source)
        )
        for t in scheduler.timesteps:
            if t < last:
                x = scheduler.step(eps(x, t), t, x, known, 1 - mask).prev_sample
            else:
                x = scheduler.undo_step(x, last)
            last = t
            states.append(x)
    return states


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_every_step_equals_diffusers(eta):
    schedule = (20, 4, 3)
    scheduler = RePaintScheduler(num_train_timesteps=20, clip_sample=False, beta_end=0.2)
    path, eps = moves(*schedule), TinyEps().double()
    generator = torch.Generator().manual_seed(1)
    known = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.double)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.double)
    mask[:, :, 2:6, 3:7] = 1
    draws = [
        torch.randn(known.shape, generator=generator, dtype=torch.double)
        for _ in range(len(path) + 1)
    ]
    scheduler.betas = scheduler.betas.double()
    abar = scheduler.alphas_cumprod = (1 - scheduler.betas).cumprod(0)
    sigmas = ((1 - abar) / abar).sqrt()
    asked = []

    def model(x, sigma):
        t = int((sigmas - sigma).abs().argmin())
        root = (1 + sigma**2).sqrt()
        asked.append(x / root)
        return x - sigma * eps(x / root, torch.tensor(t))

    with torch.no_grad():
        wanted = diffusers_run(eps, known, mask, scheduler, schedule, draws, eta)
        found = repaint(
            model, known, mask, level_sigmas(sigmas, 20), path,
            noise=lambda n, _: draws[n], eta=eta,
        )  # fmt: skip
    torch.testing.assert_close(found, wanted[-1], rtol=1e-9, atol=1e-9)
    before = [draws[0], *wanted[:-1]]
    theirs = [x for x, move in zip(before, path, strict=True) if move.down]
    assert len(theirs) == len(asked)
    for ours, other in zip(asked, theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)


def seeded(n, like):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(n), dtype=like.dtype)


@pytest.mark.parametrize("flow", [False, True])
def test_known_pixels_stay_to_the_bit(flow):
    known, mask = torch.randn(2, 4, 6, 6), torch.zeros(2, 1, 6, 6)
    mask[0, :, :3], mask[1, :, :, 2:] = 1, 1
    sigmas = torch.linspace(0.05, 1.0 if flow else 8.0, 12)
    found = repaint(
        lambda x, s: 0.9 * torch.tanh(x), known, mask, level_sigmas(sigmas, 6),
        moves(6, 2, 3), noise=seeded, flow=flow,
    )  # fmt: skip
    kept = (mask == 0).expand_as(known)
    assert torch.equal(found[kept], known[kept])
    assert not torch.isclose(found[~kept], known[~kept]).any()
    assert found.isfinite().all()


def test_without_jumps_and_known_pixels_it_is_ancestral_sampling():
    """r = 1 and a full mask: Euler ancestral steps of k-diffusion."""
    sigmas, known = (
        torch.linspace(0.1, 5.0, 8, dtype=torch.double),
        torch.zeros(1, 2, 4, 4).double(),
    )
    levels = level_sigmas(sigmas, 8)

    def model(x, s):
        return x / (1 + s**2)

    found = repaint(
        model, known, torch.ones(1, 1, 4, 4).double(), levels, moves(8, 2, 1), noise=seeded
    )
    x = seeded(0, known) * (1 + levels[-1] ** 2).sqrt()
    for n, (s, down) in enumerate(zip(levels.flip(0)[:-1], levels.flip(0)[1:], strict=True), 1):
        up = (down**2 * (s**2 - down**2) / s**2).sqrt()
        d = (x - model(x, s)) / s
        x = x + d * ((down**2 - up**2).sqrt() - s) + up * seeded(n, known)
    torch.testing.assert_close(found, x)


@pytest.mark.parametrize("flow", [False, True])
def test_renoising_keeps_the_marginal(flow):
    """(a, sigma) of clean data climbs to (a', sigma') with the right mean and variance."""
    s, t = torch.tensor(0.4, dtype=torch.double), torch.tensor(0.9, dtype=torch.double)
    a, b = (1 - s, 1 - t) if flow else (torch.ones_like(s), torch.ones_like(t))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 200_000, generator=generator, dtype=torch.double)
    clean = 2.0
    x = renoised(a * clean + s * noise[0], (a, s), (b, t), noise[1])
    assert float(x.mean()) == pytest.approx(float(b) * clean, abs=0.01)
    assert float(x.std()) == pytest.approx(float(t), rel=0.01)


def test_the_gaussian_posterior_is_sampled():
    """Two pixels of correlation rho: repainting one given the other has the exact conditional."""
    rho, count = 0.8, 4000
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]]).double()

    def model(x, s):
        gain = covariance @ torch.linalg.inv(covariance + s**2 * torch.eye(2).double())
        return (x.flatten(1) @ gain.T).view_as(x)

    known = torch.zeros(count, 1, 1, 2).double()
    known[..., 0] = 1.5
    mask = torch.zeros(count, 1, 1, 2).double()
    mask[..., 1] = 1
    sigmas = torch.logspace(-2, 1.5, 60).double()
    path = moves(60, 10, 10)
    found = repaint(model, known, mask, level_sigmas(sigmas, 60), path, noise=seeded)[:, 0, 0, 1]
    assert float(found.mean()) == pytest.approx(rho * 1.5, abs=0.1)
    plain = repaint(model, known, mask, level_sigmas(sigmas, 60), moves(60, 10, 1), noise=seeded)
    error = abs(float(plain[:, 0, 0, 1].mean()) - rho * 1.5)
    assert abs(float(found.mean()) - rho * 1.5) < error, "resampling brings it nearer"


def test_bad_input_is_named():
    x = torch.zeros(1, 1, 2, 2)
    levels = level_sigmas(torch.linspace(0.1, 1, 4), 2)
    with pytest.raises(InputError, match="BAD_SHAPE"):
        repaint(lambda x, s: x, x, torch.zeros(1, 1, 3, 2), levels, moves(2), noise=seeded)
    with pytest.raises(InputError, match="BAD_MASK"):
        repaint(lambda x, s: x, x, torch.full((1, 1, 2, 2), 0.5), levels, moves(2), noise=seeded)
    with pytest.raises(InputError, match="BAD_SETTING"):
        moves(0)
    with pytest.raises(InputError, match="BAD_SETTING"):
        level_sigmas(torch.ones(3), 4)
