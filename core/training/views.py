"""Views of training images: one size, cropped, mirrored, and their latents.

The latent of a view is drawn from the codec's posterior at every use, as diffusers' training
script does. The posterior itself is computed once a view wherever views repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..backends.families import shift_and_scale
from ..errors import InputError
from ..images.photos import to_picture, to_tensor
from ..protocols import ModelPair

Moments = tuple[Tensor, Tensor]


def fit_short(picture: Image.Image, side: int) -> Image.Image:
    """Picture whose short side has `side` pixels (Lanczos); one that has is left as it is.

    >>> fit_short(Image.new("RGB", (40, 20)), 10).size
    (20, 10)
    """
    short = min(picture.size)
    if short == side:
        return picture
    w, h = (max(side, round(edge * side / short)) for edge in picture.size)
    return picture.resize((w, h), Image.Resampling.LANCZOS)


def fitted(image: Tensor, side: int) -> Tensor:
    """``[3, H, W]`` in 0..1 with a short side of `side` pixels.

    Raises:
        InputError: BAD_SHAPE or BAD_PIXELS.
    """
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise InputError("BAD_SHAPE", f"an image is {list(image.shape)}; give [3, H, W]")
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise InputError("BAD_PIXELS", "pixels lie outside 0..1 or are not numbers; scale them")
    if min(image.shape[1:]) == side:
        return image
    return to_tensor(fit_short(to_picture(image), side))


@dataclass(slots=True, eq=False)
class Views:
    """Squares of images, mirrored or not, as latents.

    Attributes:
        images: each ``[3, H, W]`` in 0..1 with a short side of `side`.
        side: of the squares, in pixels.
        crop: ``random`` or ``center``.
        vae: AutoencoderKL; only read. Of `MeanViews` the pair.
    """

    images: Sequence[Tensor]
    side: int
    crop: str
    vae: nn.Module | ModelPair
    _kept: dict[tuple[int, bool], Moments] = field(default_factory=dict)

    def latent(self, index: int, noise: Tensor, *, mirrored: bool, corner: Tensor) -> Tensor:
        """One draw from the posterior of a view, scaled.

        Args:
            index: of the image.
            noise: ``[C, h, w]`` standard normal.
            mirrored: left and right are swapped.
            corner: ``[2]`` in 0..1: where the square lies on the height and width that are free.
        """
        mean, std = self._moments(index, mirrored, corner)
        return self._scaled(mean + std * noise)

    def _scaled(self, latent: Tensor) -> Tensor:
        vae: Any = self.vae
        shift, scale = shift_and_scale(vae)
        return (latent - shift) * scale

    def _moments(self, index: int, mirrored: bool, corner: Tensor) -> Moments:
        image = self.images[index]
        square = image.shape[1] == image.shape[2]
        if self.crop == "random" and not square:
            return self._encode(_square(image, self.side, corner), mirrored)
        key = (index, mirrored)
        if key not in self._kept:
            middle = torch.tensor([0.5, 0.5])
            self._kept[key] = self._encode(_square(image, self.side, middle), mirrored)
        return self._kept[key]

    @torch.no_grad()
    def _encode(self, pixels: Tensor, mirrored: bool) -> Moments:
        # One at a time: the values must not depend on who shares the batch.
        return self._posterior(pixels.flip(-1) if mirrored else pixels)

    def _posterior(self, pixels: Tensor) -> Moments:
        vae: Any = self.vae
        weight = next(vae.parameters())
        posterior = vae.encode(pixels[None].to(weight) * 2 - 1).latent_dist
        return posterior.mean[0].float().cpu(), posterior.std[0].float().cpu()


class MeanViews(Views):
    """Views whose codec is a pair's: it gives scaled means and no posterior to draw from."""

    def encode_squares(self, *, mirrored: bool) -> None:
        """Encode all that is the same at every use, so that the codec may rest afterwards.

        Args:
            mirrored: mirrored views will be asked for, too.
        """
        for index, image in enumerate(self.images):
            if self.crop == "center" or image.shape[1] == image.shape[2]:
                for mirror in (False, True) if mirrored else (False,):
                    self._moments(index, mirror, torch.zeros(2))

    def _scaled(self, latent: Tensor) -> Tensor:
        return latent

    def _posterior(self, pixels: Tensor) -> Moments:
        pair: Any = self.vae
        mean = pair.encode(pixels[None])[0].float().cpu()
        return mean, torch.zeros_like(mean)


def _square(image: Tensor, side: int, corner: Tensor) -> Tensor:
    free = [image.shape[1] - side, image.shape[2] - side]
    top, left = (
        min(int(u * (room + 1)), room) for u, room in zip(corner.tolist(), free, strict=True)
    )
    return image[:, top : top + side, left : left + side]
