"""The shared pass: one grid of paired errors serves losses, window votes and the heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...specs import SignalSpec
from ...types import TUNED
from .paired import eps_losses
from .queries import Ask, grid_of, squared_errors

Raw = Mapping[str, Tensor]
TINY = 1e-30


def grid_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """Losses of every cell; with both models also votes, error ratio sums and heat map.

    Returns:
        ``tuned`` and ``base`` ``[N, T, K]`` float64; ``votes`` ``[N]``, ``better`` and ``worse``
        ``[N]``, ``heat`` ``[N, h, w]`` (mean base error minus tuned error at each place).
    """
    grid, n = grid_of(ask.spec), len(ask.subjects)
    shape = (n, len(grid.timesteps), grid.noises)
    losses = torch.zeros(len(ask.models), *shape, dtype=torch.float64)
    sums: dict[str, Tensor] = {}
    errors = squared_errors(
        ask.pair, ask.subjects.latents, ask.subjects.captions, grid, models=ask.models
    )
    for image, t, k, error in errors:
        losses[:, image, t, k] = error.flatten(2).mean(2).double()
        if len(ask.models) == 2:
            _add(sums, n, image, places(error[0], error[1], ask.spec.windows))
    cells = shape[1] * shape[2]
    out = {"tuned": losses[-1]} | ({"base": losses[0]} if len(ask.models) == 2 else {})
    return out | {name: total / cells for name, total in sums.items()}


def _add(sums: dict[str, Tensor], n: int, image: Tensor, values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        total = sums.setdefault(name, torch.zeros(n, *value.shape[1:], dtype=torch.float64))
        total.index_add_(0, image, value)


def places(base: Tensor, tuned: Tensor, windows: Sequence[int]) -> dict[str, Tensor]:
    """What one noise draw says at each place of the latent.

    Args:
        base: ``[n, C, h, w]`` squared errors of the base (a video's frames are averaged).
        tuned: the tuned model's.
        windows: sides of the voting windows; those larger than the latent are left out.

    Returns:
        ``votes`` ``[n]`` in -1..1, ``better`` and ``worse`` ``[n]``, ``heat`` ``[n, h, w]``.
    """
    low, high = (e.double().flatten(1, -3).mean(1) for e in (tuned, base))
    gain = high - low
    sides = [w for w in windows if w <= min(gain.shape[-2:])] or [1]
    shares = [_vote(F.avg_pool2d(gain[:, None], w, stride=1)) for w in sides]
    flat = gain.flatten(1)
    hard = low.flatten(1) > low.flatten(1).median(1, keepdim=True).values
    return {
        "votes": torch.stack(shares).mean(0),
        "better": (flat.clamp_min(0) * hard).sum(1),
        "worse": ((-flat).clamp_min(0) * hard).sum(1),
        "heat": gain,
    }


def _vote(window: Tensor) -> Tensor:
    return window.sign().flatten(1).mean(1)


def base_difference(raw: Raw, spec: SignalSpec) -> Tensor:
    """Mean of ``L_base - L_tuned`` over the grid."""
    return (raw["base"] - raw["tuned"]).mean((1, 2))


def base_ratio(raw: Raw, spec: SignalSpec) -> Tensor:
    """``log(sum L_base / sum L_tuned)``; see `paired.base_ratio`."""
    return raw["base"].sum((1, 2)).log() - raw["tuned"].sum((1, 2)).log()


def base_min_t(raw: Raw, spec: SignalSpec) -> Tensor:
    """The smallest over timesteps of the mean log ratio: every noise level must agree."""
    return (raw["base"].log() - raw["tuned"].log()).mean(2).amin(1)


def window_votes(raw: Raw, spec: SignalSpec) -> Tensor:
    """Share of windows that vote for the tuned model minus the share against, mean over sides.

    Ties count for neither, so equal models give exactly 0. Source: the window votes of WBC
    (2601.02751), moved from tokens to boxes of the latent.
    """
    return raw["votes"]


def error_ratio(raw: Raw, spec: SignalSpec) -> Tensor:
    """Log ratio of errors taken away to errors added where the tuned model errs most.

    Places are those where its error exceeds its median. Source: EZ-MIA (2601.12104), moved from
    wrong tokens to bad places.
    """
    return (raw["better"] + TINY).log() - (raw["worse"] + TINY).log()


def loss(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the tuned model's mean loss over the grid (the Monte Carlo form)."""
    return -raw["tuned"].mean((1, 2))


def single_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """The tuned model's loss at one timestep and one draw."""
    grid = grid_of(ask.spec, (ask.spec.loss_timestep,), 1)
    who = ask.subjects
    return {"single": eps_losses(ask.pair, who.latents, who.captions, grid, models=(TUNED,))[0]}


def loss_single(raw: Raw, spec: SignalSpec) -> Tensor:
    """Minus the tuned model's loss at one timestep with one noise draw."""
    return -raw["single"][:, 0, 0]
