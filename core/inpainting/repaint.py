"""RePaint: inpainting by any denoiser that was never trained to inpaint.

At every level the known region is replaced by the original, noised to that level; the unknown one
is sampled. Jumps back up in noise let the two grow together. Latents are ``a x0 + sigma eps`` with
``a = 1`` (k-diffusion's coordinates of epsilon and v models) or ``a = 1 - sigma`` (rectified flow);
a step and a jump hold for both.

Source: Lugmayr et al., CVPR 2022 (arXiv 2201.09865), algorithm 1 and its schedule; the step is
DDIM's with ``eta`` (Song et al. 2021, eq. 12), DDPM's at ``eta`` 1; specification
localization.md, sections 4.1 and 4.2. Between training timesteps the re-noising is exact here;
diffusers' scheduler takes neighbouring betas when it skips timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..sampling.plans import Model

NoiseSource = Callable[[int, Tensor], Tensor]
"""Standard normal noise shaped like a latent, for draw number n of a run."""


@dataclass(frozen=True, slots=True)
class Move:
    """From one noise level to a neighbour; level 0 is clean, level T is pure noise."""

    start: int
    end: int

    @property
    def down(self) -> bool:
        """Whether it denoises; else it adds noise."""
        return self.end < self.start


def moves(steps: int, jump_length: int = 10, resamples: int = 10) -> tuple[Move, ...]:
    """The published schedule: from level `steps` down to 0, with jumps up on the way.

    Args:
        steps: noise levels (T).
        jump_length: levels that a jump climbs (j).
        resamples: how often each stretch of j levels is passed (r); 1 never jumps.

    Raises:
        InputError: a number below 1 (BAD_SETTING).

    Example:
        >>> found = moves(250)
        >>> len(found), sum(m.down for m in found)
        (4570, 2410)
    """
    if min(steps, jump_length, resamples) < 1:
        raise InputError(
            "BAD_SETTING",
            f"steps {steps}, jump length {jump_length}, resamples {resamples}: each is 1 or more",
        )
    return tuple(_moves(steps, jump_length, resamples))


def _moves(steps: int, jump_length: int, resamples: int) -> Iterator[Move]:
    left = dict.fromkeys(range(0, steps - jump_length, jump_length), resamples - 1)
    level = steps
    while level >= 1:
        level -= 1
        yield Move(level + 1, level)
        if left.get(level, 0) > 0:
            left[level] -= 1
            for _ in range(jump_length):
                level += 1
                yield Move(level - 1, level)


def level_sigmas(sigmas: Tensor, steps: int) -> Tensor:
    """Noise of levels 0 to `steps`: 0, then every ``T // steps``-th training timestep from 0 on.

    Args:
        sigmas: ``[T]`` training table, rising.
        steps: noise levels.

    Raises:
        InputError: more levels than training timesteps (BAD_SETTING).
    """
    if not 1 <= steps <= len(sigmas):
        raise InputError("BAD_SETTING", f"steps is {steps}; the model has {len(sigmas)} timesteps")
    chosen = sigmas[torch.arange(steps) * (len(sigmas) // steps)]
    return torch.cat([chosen.new_zeros(1), chosen])


@torch.no_grad()
def repaint(
    model: Model,
    known: Tensor,
    mask: Tensor,
    sigmas: Tensor,
    path: tuple[Move, ...],
    *,
    noise: NoiseSource,
    flow: bool = False,
    eta: float = 1.0,
    on_forward: Callable[[Tensor], None] = lambda _: None,
) -> Tensor:
    """Sample the masked region of each latent, or of each image of a pixel model.

    Args:
        model: ``(x, sigma) -> denoised``.
        known: ``[N, C, h, w]`` clean originals.
        mask: ``[N, 1, h, w]``, 1 where it is to be repainted, 0 where the original stays.
        sigmas: ``[T + 1]`` of `level_sigmas`.
        path: of `moves`, with T levels.
        noise: where draws come from; draw 0 is the start.
        flow: whether latents are ``(1 - sigma) x0 + sigma eps``.
        eta: 1 is DDPM's variance, 0 is deterministic.
        on_forward: told the denoised latents after each forward pass.

    Returns:
        Like `known`; where the mask is 0 it is `known` to the bit.

    Raises:
        InputError: the mask does not fit (BAD_SHAPE) or is not 0 and 1 (BAD_MASK).
    """
    _check(known, mask)
    level = sigmas.to(known)
    scale = 1 - level if flow else torch.ones_like(level)
    x = noise(0, known) * (level[-1] if flow else (1 + level[-1] ** 2).sqrt())
    for draw, move in enumerate(path, 1):
        fresh = noise(draw, known)
        a, b = (scale[move.start], level[move.start]), (scale[move.end], level[move.end])
        if not move.down:
            x = renoised(x, a, b, fresh)
            continue
        denoised = model(x, level[move.start])
        unknown = denoising_step(x, denoised, a, b, fresh, eta=eta)
        original = b[0] * known + b[1] * fresh
        x = torch.where(mask > 0, unknown, original)
        on_forward(denoised)
    return x


def denoising_step(
    x: Tensor,
    denoised: Tensor,
    start: tuple[Tensor, Tensor],
    end: tuple[Tensor, Tensor],
    noise: Tensor,
    *,
    eta: float,
) -> Tensor:
    """DDIM from (a, sigma) to a lower level, with the variance that `eta` asks for."""
    (a, s), (a_end, s_end) = start, end
    eps = (x - a * denoised) / s
    # At eta 1 the variance of the posterior q(x_end | x_start, x0): that of ancestral DDPM.
    variance = eta**2 * s_end**2 * (1 - (a / a_end) ** 2 * s_end**2 / s**2)
    spread = variance.clamp_min(0)
    return a_end * denoised + (s_end**2 - spread).sqrt() * eps + spread.sqrt() * noise


def renoised(
    x: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], noise: Tensor
) -> Tensor:
    """A latent at (a, sigma) as it would be at a higher level: the forward process, exactly."""
    (a, s), (a_end, s_end) = start, end
    shrink = a_end / a
    # Shrunk noise keeps shrink^2 s^2 of variance; what is missing to s_end^2 is drawn anew.
    return shrink * x + (s_end**2 - shrink**2 * s**2).clamp_min(0).sqrt() * noise


def _check(known: Tensor, mask: Tensor) -> None:
    wanted = (len(known), 1, *known.shape[2:])
    if tuple(mask.shape) != wanted:
        raise InputError(
            "BAD_SHAPE", f"the mask is {list(mask.shape)}, the latents want {list(wanted)}"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError("BAD_MASK", "a mask holds values between 0 and 1; threshold it first")
