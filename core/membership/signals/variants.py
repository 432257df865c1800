"""Signals of changed copies: PFAMI's fluctuation and the range query."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as T

from ...specs import SignalSpec
from ...types import BASE, TUNED
from .grid import Raw
from .paired import eps_losses
from .queries import Ask, grid_of

CROP_RANGE = (0.95, 0.70)
RANGE_CROP = 0.9


def zoomed(pixels: Tensor, share: float) -> Tensor:
    """The centre of images, `share` of a side, at the old size (bilinear, antialiased)."""
    height, width = pixels.shape[-2:]
    inner = T.center_crop(pixels, [int(height * share), int(width * share)])
    return T.resize(inner, [height, width], antialias=True)


def recompressed(pixels: Tensor, quality: int) -> Tensor:
    """Images after one JPEG pass at `quality`."""
    return torch.stack([_jpeg(p, quality) for p in pixels])


def _jpeg(pixels: Tensor, quality: int) -> Tensor:
    array = (pixels.cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer, formats=("JPEG",)) as image:
        back = torch.from_numpy(np.asarray(image.convert("RGB")).copy())
    return back.permute(2, 0, 1).float() / 255


def crop_shares(count: int) -> list[float]:
    """Sides of PFAMI's centre crops: `count` values from 0.95 to 0.70."""
    return np.linspace(*CROP_RANGE, count).tolist()


def pfami_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """Losses of the image and of its centre crops, one noise draw per timestep.

    The released code (wjfu99/MIA-Gen) draws new noise for each loss; here image and crops, base
    and tuned share it.

    Returns:
        ``pfami`` ``[N, M, 1 + crops, T]``; the image itself comes first.
    """
    grid = grid_of(ask.spec, ask.spec.pfami_timesteps, 1)
    pixels, captions = ask.subjects.pixels, ask.subjects.captions
    latents = [ask.subjects.latents]
    latents += [ask.pair.encode(zoomed(pixels, s)) for s in crop_shares(ask.spec.pfami_crops)]
    losses = [eps_losses(ask.pair, z, captions, grid, models=ask.models)[..., 0] for z in latents]
    return {"pfami": torch.stack(losses, 2).transpose(0, 1)}


def fluctuation(losses: Tensor) -> Tensor:
    """Relative rise ``(L(crop) - L(x)) / L(x)``: ``[..., 1 + crops, T]`` to ``[..., crops, T]``."""
    return (losses[..., 1:, :] - losses[..., :1, :]) / losses[..., :1, :]


def pfami(raw: Raw, spec: SignalSpec) -> Tensor:
    """The tuned model's mean relative rise over crops and timesteps.

    The released statistic keeps the sixth crop alone (index 5 of ten); the paper's is the mean.
    """
    return fluctuation(raw["pfami"])[:, -1].mean((1, 2))


def pfami_calibrated(raw: Raw, spec: SignalSpec) -> Tensor:
    """The rise of the tuned model minus that of the base (the released calibration switch)."""
    rise = fluctuation(raw["pfami"]).mean((2, 3))
    return rise[:, -1] - rise[:, 0]


def range_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """BaseRatio of the image, its mirror, a 0.9 centre crop and a JPEG copy.

    All four use the first antithetic pair of draws; the image's own losses are the grid's.

    Returns:
        ``range`` ``[N, 4]``.
    """
    draws = min(2, ask.spec.noises)
    grid = grid_of(ask.spec, noises=draws)
    pixels, captions = ask.subjects.pixels, ask.subjects.captions
    copies = [
        pixels.flip(-1),
        zoomed(pixels, RANGE_CROP),
        recompressed(pixels, ask.spec.jpeg_quality),
    ]
    ratios = [_ratio(done["base"][..., :draws], done["tuned"][..., :draws])]
    for copy in copies:
        latents = ask.pair.encode(copy)
        ratios.append(_ratio(*eps_losses(ask.pair, latents, captions, grid, models=(BASE, TUNED))))
    return {"range": torch.stack(ratios, 1)}


def _ratio(base: Tensor, tuned: Tensor) -> Tensor:
    return base.sum((1, 2)).log() - tuned.sum((1, 2)).log()


def range_ratio(raw: Raw, spec: SignalSpec) -> Tensor:
    """Mean of the copies' BaseRatio without the lowest and the highest (RaMIA)."""
    return trimmed(raw["range"])


def trimmed(values: Tensor) -> Tensor:
    """Mean over the last axis without the smallest and the largest value."""
    return values.sort(-1).values[..., 1:-1].mean(-1)


def strengths_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """BaseRatio at several adapter strengths, on the grid's first antithetic pair of draws.

    Returns:
        ``curve`` ``[N, S]``, strengths rising, see `curve_strengths`.
    """
    draws = min(2, ask.spec.noises)
    grid = grid_of(ask.spec, noises=draws)
    other = [s for s in curve_strengths(ask.spec) if s != TUNED]
    who = ask.subjects
    losses = eps_losses(ask.pair, who.latents, who.captions, grid, models=other)
    by_strength = dict(zip(other, losses, strict=True)) | {TUNED: done["tuned"][..., :draws]}
    base = done["base"][..., :draws]
    curve = [_ratio(base, by_strength[s]) for s in curve_strengths(ask.spec)]
    return {"curve": torch.stack(curve, 1)}


def curve_strengths(spec: SignalSpec) -> tuple[float, ...]:
    """Adapter strengths of the curve, rising, 1 among them."""
    return tuple(sorted({*spec.strengths, TUNED}))


def strength_curve(raw: Raw, spec: SignalSpec) -> Tensor:
    """Slope of the log ratio over adapter strength, by least squares through strength 0."""
    s = torch.tensor(curve_strengths(spec), dtype=torch.float64)
    return slope(s, raw["curve"])


def slope(x: Tensor, y: Tensor) -> Tensor:
    """Slope ``[N]`` of the line through the origin, for ``x`` ``[S]`` and ``y`` ``[N, S]``."""
    return (y * x).sum(-1) / x.square().sum()
