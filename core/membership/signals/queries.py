"""Questions to both models at once: noise estimates and their errors, in batches of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...protocols import ModelPair, Rows
from ...sampling.plans import column, noise_of, noised, seed_of
from ...specs import MembershipSpec, SignalSpec
from .subjects import Subjects

Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What one pass works on.

    Attributes:
        pair: the two models.
        subjects: the images of this chunk.
        spec: all settings.
        models: adapter strengths wanted: ``(BASE, TUNED)`` or ``(TUNED,)``.
        embed: pixels ``[N, 3, H, W]`` to unit vectors ``[N, D]``, where a signal needs it.
    """

    pair: ModelPair
    subjects: Subjects
    spec: SignalSpec
    models: tuple[float, ...]
    embed: Embed | None = None


def working(latents: Tensor) -> Tensor:
    """Latents on the CPU in float32; float64 stays."""
    return latents.cpu() if latents.dtype == torch.float64 else latents.cpu().float()


def draws_of(spec: MembershipSpec | SignalSpec, shape: Sequence[int]) -> Tensor:
    """Noise ``[T, K, C, h, w]`` shared by both models and all images, in pairs (e, -e)."""
    rows = []
    for t, _ in enumerate(spec.timesteps):
        pairs = [noise_of(seed_of(spec.seed, 1000 * t + k // 2), shape) for k in range(spec.noises)]
        rows.append(torch.stack([-e if k % 2 else e for k, e in enumerate(pairs)]))
    return torch.stack(rows)


def grid_of(
    spec: SignalSpec, timesteps: Sequence[int] = (), noises: int | None = None
) -> MembershipSpec:
    """The timesteps and draws of a loss grid, with other ones where given."""
    return MembershipSpec(
        timesteps=tuple(timesteps) or spec.timesteps,
        noises=spec.noises if noises is None else noises,
        batch=spec.batch,
        seed=spec.seed,
    )


def conditions(
    pair: ModelPair, prompts: Sequence[str], models: Sequence[float]
) -> Callable[[Tensor], Rows]:
    """Conditioning of images under several models; each prompt is encoded once a model.

    Args:
        pair: encodes.
        prompts: one per image.
        models: adapter strengths.

    Returns:
        A function from image indices ``[n]`` to ``len(models) * n`` rows, model by model.
    """
    unique = list(dict.fromkeys(prompts))
    table = pair.condition([p for _ in models for p in unique], [m for m in models for _ in unique])
    place = torch.tensor([unique.index(p) for p in prompts])

    def rows(images: Tensor) -> Rows:
        offsets = torch.arange(len(models)) * len(unique)
        return table.select((offsets[:, None] + place[images]).flatten().tolist())

    return rows


@torch.no_grad()
def squared_errors(
    pair: ModelPair,
    latents: Tensor,
    prompts: Sequence[str],
    grid: MembershipSpec,
    *,
    models: Sequence[float],
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Squared errors of the noise (flow: velocity) estimate over images, timesteps and draws.

    Args:
        pair: the two models.
        latents: ``[N, C, h, w]`` clean latents.
        prompts: one per image.
        grid: timesteps and draws.
        models: adapter strengths to ask, all in one batched forward.

    Yields:
        Image, timestep and draw indices ``[n]``, and errors ``[len(models), n, C, h, w]``.
    """
    x0, levels = working(latents), torch.tensor(grid.timesteps)
    noise = draws_of(grid, x0.shape[1:]).to(x0)
    cells = [(t, k) for t in range(len(levels)) for k in range(grid.noises)]
    work = [(i, t, k) for i in range(len(x0)) for t, k in cells]
    rows = conditions(pair, prompts, models)
    size = max(1, grid.batch // len(models))
    for start in range(0, len(work), size):
        image, t, k = (torch.tensor(c) for c in zip(*work[start : start + size], strict=True))
        sigma = pair.sigmas[levels[t]].to(x0)
        clean = x0[image]
        x = noised(pair, clean, noise[t, k], sigma)
        answer = _ask(pair, x.repeat(len(models), *[1] * (x.ndim - 1)), sigma, rows(image))
        error = (clean - answer.view(len(models), *clean.shape)) / column(sigma, clean)
        yield image, t, k, error.square()


def _ask(pair: ModelPair, x: Tensor, sigma: Tensor, rows: Rows) -> Tensor:
    level = sigma.repeat(len(x) // len(sigma))
    return pair(x.to(rows.device), level.to(rows.device), rows).cpu().to(x.dtype)


@torch.no_grad()
def estimate_noise(
    ask: Ask, z: Tensor, timestep: int, *, models: Sequence[float] | None = None
) -> Tensor:
    """The models' noise estimates at inputs that they are given as such.

    Args:
        ask: pair, captions, batch.
        z: ``[M, N, C, h, w]`` network inputs, one per model and image: for epsilon and v models the
            variance-preserving ``x_t``, for flow models the mixture.
        timestep: training timestep.
        models: adapter strengths; those of `ask` if None.

    Returns:
        ``[M, N, C, h, w]``, of the dtype of `z`.
    """
    pair, models = ask.pair, ask.models if models is None else models
    rows = conditions(pair, ask.subjects.captions, models)
    sigma = pair.sigmas[timestep].to(z)
    parts = []
    size = max(1, ask.spec.batch // len(models))
    for image in torch.arange(z.shape[1]).split(size):
        x = z[:, image] if pair.prediction == "flow" else z[:, image] * (1 + sigma**2).sqrt()
        flat = x.flatten(0, 1)
        answer = _ask(pair, flat, sigma.expand(len(flat)), rows(image)).view_as(x)
        clean = (1 - sigma) * answer if pair.prediction == "flow" else answer
        parts.append((x - clean) / sigma)
    return torch.cat(parts, 1)


def spread(pair: ModelPair, timestep: int) -> tuple[Tensor, Tensor]:
    """``sqrt(abar)`` and ``sqrt(1 - abar)`` of a training timestep, float64 scalars."""
    sigma = pair.sigmas[timestep].double()
    root = (1 + sigma**2).sqrt()
    return 1 / root, sigma / root


def refuse_flow(pair: ModelPair, name: str) -> None:
    """Stop where a formula has no meaning.

    Raises:
        InputError: BAD_SIGNAL for a flow model.
    """
    if pair.prediction == "flow":
        raise InputError(
            "BAD_SIGNAL",
            f"{name} is defined on the variance-preserving path of DDIM and this is a flow model; "
            "leave it out, base_ratio and the other loss signals work on flow models",
        )
