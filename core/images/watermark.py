"""Visible and faint watermarks, as the membership paper's code pastes them (`specs/mia.md` 6).

Sizes were written for 512-pixel squares and are scaled to the image's short side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InputError
from .opening import opened, read_picture
from .photos import to_picture, to_tensor

_SIDE, _WIDTH, _OFFSET, _FAINT_WIDTH, _FAINT_ALPHA = 512, 100, 5, 350, 0.01


def visible(
    pixels: Tensor, logo: Tensor, *, width: float = _WIDTH / _SIDE, offset: float = _OFFSET / _SIDE
) -> Tensor:
    """The image with the logo in its top left corner, laid on through the logo's alpha.

    Args:
        pixels: ``[3, H, W]`` in 0..1.
        logo: ``[4, h, w]`` RGBA in 0..1.
        width: of the logo, as a share of the short side; its height keeps the proportions.
        offset: from the top and the left, as a share of the short side.

    Returns:
        ``[3, H, W]`` in 0..1, whole grey levels.

    Raises:
        InputError: BAD_SHAPE, BAD_PIXELS, LOGO_TOO_LARGE, or NO_MARK.
    """
    side = _side(pixels)
    mark = _scaled(logo, width * side)
    place = round(offset * side)
    return _pasted(pixels, mark, (place, place))


def faint(pixels: Tensor, logo: Tensor) -> Tensor:
    """The image with a large, centred, nearly transparent logo: at most two grey levels.

    The logo's red is forced to its maximum and its alpha is multiplied by 0.01 and truncated.

    Args:
        pixels: ``[3, H, W]`` in 0..1.
        logo: ``[4, h, w]`` RGBA in 0..1.

    Returns:
        ``[3, H, W]`` in 0..1, whole grey levels.

    Raises:
        InputError: BAD_SHAPE, BAD_PIXELS, LOGO_TOO_LARGE, or NO_MARK.
    """
    mark = np.array(_scaled(logo, _FAINT_WIDTH / _SIDE * _side(pixels)))
    mark[..., 0] = 255
    mark[..., 3] = (mark[..., 3] * _FAINT_ALPHA).astype(np.uint8)
    free = (pixels.shape[2] - mark.shape[1], pixels.shape[1] - mark.shape[0])
    return _pasted(pixels, Image.fromarray(mark, "RGBA"), (free[0] // 2, free[1] // 2))


KINDS = {"visible": visible, "faint": faint}


def _side(pixels: Tensor) -> int:
    _check(pixels, 3)
    return min(pixels.shape[1:])


def _check(pixels: Tensor, channels: int) -> None:
    if pixels.ndim != 3 or pixels.shape[0] != channels or not pixels.numel():
        raise InputError("BAD_SHAPE", f"got {list(pixels.shape)}; give [{channels}, H, W]")
    if not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise InputError("BAD_PIXELS", "pixels lie outside 0..1 or are no numbers; scale them")


def _scaled(logo: Tensor, width: float) -> Image.Image:
    _check(logo, 4)
    levels = logo.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    picture = Image.fromarray(levels.cpu().numpy(), "RGBA")
    w = max(1, round(width))
    h = max(1, int(logo.shape[1] * w / logo.shape[2]))
    return picture.resize((w, h), Image.Resampling.BICUBIC)


def _pasted(pixels: Tensor, mark: Image.Image, place: tuple[int, int]) -> Tensor:
    picture = to_picture(pixels)
    if min(place) < 0 or any(
        p + m > s for p, m, s in zip(place, mark.size, picture.size, strict=True)
    ):
        raise InputError(
            "LOGO_TOO_LARGE",
            f"the logo of {mark.width} x {mark.height} pixels does not fit at {place} into "
            f"{picture.width} x {picture.height}; its width is fixed: crop the logo so that it is "
            "less tall for its width",
        )
    if not np.asarray(mark)[..., 3].any():
        raise InputError(
            "NO_MARK",
            "the mark is fully clear once it is scaled and faded and would change no pixel; give a "
            "logo with opaque parts",
        )
    picture.paste(mark, place, mask=mark)
    return to_tensor(picture)


def load_logo(path: Path) -> Tensor:
    """``[4, h, w]`` RGBA in 0..1 of a PNG, JPEG or WebP file; opaque if it has no transparency.

    Raises:
        InputError: UNREADABLE_IMAGE, IMAGE_TOO_LARGE, NOT_AN_IMAGE, CORRUPT_IMAGE.
    """
    with opened(read_picture(path), path) as picture:
        picture.load()
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        picture = _opaque(picture)
    rgba = np.asarray(picture.convert("RGBA"), np.uint8).copy()
    return torch.from_numpy(rgba).permute(2, 0, 1).float() / 255


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB of a picture without transparency, upright; 16-bit grey is scaled."""
    if picture.mode.startswith("I"):
        grey = np.asarray(picture, np.float64) / 257
        picture = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    return ImageOps.exif_transpose(picture).convert("RGB")


def default_logo(width: int = 350) -> Tensor:
    """A logo drawn by arithmetic, ``[4, h, w]``: a dark red shield with three light bars.

    Its proportions are those of the paper's logo, 1951 to 2846.

    >>> tuple(default_logo(100).shape)
    (4, 145, 100)
    """
    height = int(2846 * width / 1951)
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    half = torch.where(y < 0.5, 0.5, 0.5 * (1 - ((y - 0.5) / 0.5) ** 2).clamp_min(0).sqrt())
    shield = ((x - 0.5).abs() <= half).float()
    bars = sum(((y - c).abs() < 0.04).float() for c in (0.2, 0.35, 0.5))
    inside = ((x - 0.5).abs() < 0.35).float() * torch.as_tensor(bars)
    colours = [0.6 + 0.4 * inside, inside, 0.05 + 0.95 * inside]
    return torch.stack([*(c * shield for c in colours), shield])
