"""Probes without drawn noise: SimA, PIA, PIAN and SecMI, each with the authors' exact inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...specs import SignalSpec
from .grid import Raw
from .queries import Ask, estimate_noise, refuse_flow, spread, working


def _inputs(ask: Ask) -> Tensor:
    x0 = working(ask.subjects.latents)
    return x0.expand(len(ask.models), *x0.shape)


def powers(error: Tensor) -> Tensor:
    """Sum of fourth powers over each latent: ``[M, N, ...]`` to ``[M, N]`` float64."""
    return error.double().pow(4).flatten(2).sum(2)


def sima_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """``|eps(x0, t)|_4^4`` of each model, the noise set to 0.

    Epsilon and v models get `x0` itself as input at timestep t, as in the authors' code
    (mx-ethan-rao/SimA, DDPM/components.py; no ``sqrt(abar)`` is applied there). Flow models get
    ``(1 - sigma) x0``, the mixture without noise.
    """
    t, pair = ask.spec.sima_timestep, ask.pair
    z = _inputs(ask)
    if pair.prediction == "flow":
        z = z * (1 - pair.sigmas[t].to(z))
    return {"sima": powers(estimate_noise(ask, z, t)).T}


def sima_delta(raw: Raw, spec: SignalSpec) -> Tensor:
    """``|eps_base(x0, t)|_4 - |eps_tuned(x0, t)|_4``."""
    base, tuned = raw["sima"].pow(0.25).unbind(1)
    return base - tuned


def start_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """Each model's noise estimate at the clean latent, timestep 0: where PIA begins."""
    refuse_flow(ask.pair, "PIA")
    return {"_start": estimate_noise(ask, _inputs(ask), 0)}


def _started(ask: Ask, done: Raw) -> Tensor:
    return done["_start"][-len(ask.models) :]


def deviations(ask: Ask, start: Tensor, timesteps: Sequence[int]) -> Tensor:
    """``|e0 - eps(sqrt(abar_t) x0 + sqrt(1 - abar_t) e0, t)|_4^4``.

    Args:
        ask: pair, subjects, models.
        start: ``[M, N, C, h, w]`` e0.
        timesteps: where the second query is.

    Returns:
        ``[N, M, len(timesteps)]`` float64.
    """
    scores = []
    for t in timesteps:
        keep, add = (s.to(start) for s in spread(ask.pair, t))
        scores.append(powers(start - estimate_noise(ask, keep * _inputs(ask) + add * start, t)))
    return torch.stack(scores, 2).transpose(0, 1)


def pia_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """PIA's second query at each of its timesteps."""
    return {"pia": deviations(ask, _started(ask, done), ask.spec.pia_timesteps)}


def pia(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the tuned model's ``R_t^4`` at the last PIA timestep.

    The released code (kong13661/PIA) sums fourth powers and takes no root; the order is the same.
    Its Stable Diffusion script also maps latents by ``2 x - 1`` before the attack, takes betas
    linear from 0.00085 to 0.012 (in Stable Diffusion their square roots are), and queries at
    guidance 7.5; none of this is done here.
    """
    return -raw["pia"][:, -1, -1]


def pia_delta(raw: Raw, spec: SignalSpec) -> Tensor:
    """``R_base - R_tuned`` with 4-norms, mean over the PIA timesteps."""
    roots = raw["pia"].pow(0.25)
    return (roots[:, 0] - roots[:, -1]).mean(1)


def rescaled(start: Tensor) -> Tensor:
    """PIAN's start: mean absolute value set to ``sqrt(2 / pi)``, that of a standard normal.

    The released DDPM and Stable Diffusion code does this; its Grad-TTS code divides by
    ``sqrt(2 / pi)`` instead, which gives ``sqrt(pi / 2)``.
    """
    mean = start.abs().flatten(2).mean(2).view(*start.shape[:2], *[1] * (start.ndim - 2))
    return start / mean * math.sqrt(2 / math.pi)


def pian_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """PIAN's second query at the last PIA timestep."""
    return {"pian": deviations(ask, rescaled(_started(ask, done)), ask.spec.pia_timesteps[-1:])}


def pian(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the tuned model's deviation from the rescaled start."""
    return -raw["pian"][:, -1, -1]


def secmi_targets(spec: SignalSpec) -> list[int]:
    """Timesteps of the deterministic inversion.

    The released code (jinhaoduan/SecMI) takes ``range(0, t_sec, stride)[1:]``, so with t_sec 100
    and stride 10 the states compared are those of timestep 90, not 100. The latent-diffusion
    code (jinhaoduan/SecMI-LDM) compares those of timestep 140, stride 10; t_sec 150 gives that.
    """
    return list(range(0, spec.secmi_timestep, spec.secmi_stride))[1:] or [spec.secmi_stride]


def secmi_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """``|psi(phi(x_t)) - x_t|^2``: DDIM-invert to t, one step further, one step back."""
    refuse_flow(ask.pair, "SecMI")
    targets = secmi_targets(ask.spec)
    x, now = _inputs(ask), 0
    for target in targets:
        x, now = ddim_move(ask, x, now, target), target
    beyond = ddim_move(ask, x, now, now + ask.spec.secmi_stride)
    back = ddim_move(ask, beyond, now + ask.spec.secmi_stride, now)
    return {"secmi": (back - x).double().square().flatten(2).sum(2).T}


def ddim_move(ask: Ask, x: Tensor, now: int, target: int) -> Tensor:
    """One deterministic DDIM step between timesteps, up or down, in variance-preserving form."""
    eps = estimate_noise(ask, x, now)
    keep, add = (s.to(x) for s in spread(ask.pair, now))
    keep_next, add_next = (s.to(x) for s in spread(ask.pair, target))
    return keep_next * (x - add * eps) / keep + add_next * eps


def secmi(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the tuned model's one-step error (SecMI-stat)."""
    return -raw["secmi"][:, -1]
