"""Photos and controls through the same processing, so that none of it tells them apart."""

from __future__ import annotations

import io
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..protocols import QUIET, ModelPair, Progress
from ..specs import CanonicalSpec
from ..types import ImageBatch
from .photos import Photos, pixels_sha256, to_picture, to_tensor

DECODED = (
    "decoded from PNG, JPEG or WebP: EXIF orientation applied, first frame only, transparency on "
    "white, 16-bit grey scaled, colour profile ignored and values taken as sRGB",
    "centre square by one Lanczos filter to {side} x {side} pixels, 8-bit RGB",
)


def canonical(
    pair: ModelPair, photos: Photos, spec: CanonicalSpec, *, progress: Progress = QUIET
) -> tuple[Photos, tuple[str, ...]]:
    """Pass photos or controls through the codec and one JPEG compression.

    Each picture is processed alone: the result does not depend on its neighbours. Call it with
    equal settings for photos and for controls.

    Args:
        pair: whose codec is used; only if ``spec.codec`` is ``on``.
        photos: photos at the pair's resolution.
        spec: which steps.
        progress: long work.

    Returns:
        Photos with new pixels and their new pixel hashes, facts and hashes of the files as they
        were; and the steps done, the decoding included, in words.

    Raises:
        InputError: the codec returned another size (BAD_SHAPE) or pixels that are not finite
            (NON_FINITE).

    Source:
        Specification mia.md, section 11, gate 1.
    """
    log = [line.format(side=photos.images.pixels.shape[-1]) for line in DECODED]
    if spec.codec == "on":
        log.append("one round trip through the model's codec (VAE), rounded to 8 bits")
    if spec.jpeg:
        log.append(f"one JPEG compression at quality {spec.jpeg}, chroma at half resolution")
    if len(log) == len(DECODED):
        return photos, tuple(log)
    progress.start("canonical photos", len(photos))
    pixels = []
    for one in photos.images.pixels:
        pixels.append(_processed(pair, one, spec))
        progress.step()
    sources = tuple(
        replace(source, sha256=pixels_sha256(to_picture(p)))
        for source, p in zip(photos.images.sources, pixels, strict=True)
    )
    return Photos(ImageBatch(torch.stack(pixels), sources), photos.facts), tuple(log)


def _processed(pair: ModelPair, pixels: Tensor, spec: CanonicalSpec) -> Tensor:
    if spec.codec == "on":
        pixels = _round_trip(pair, pixels)
    return jpeg_pass(pixels, spec.jpeg) if spec.jpeg else pixels


@torch.no_grad()
def _round_trip(pair: ModelPair, pixels: Tensor) -> Tensor:
    out = pair.decode(pair.encode(pixels[None]))[0]
    if out.shape != pixels.shape:
        message = f"the codec made {list(out.shape)} of {list(pixels.shape)}"
        raise InputError("BAD_SHAPE", f"{message}; load the photos at the model's resolution")
    if not bool(out.isfinite().all()):
        raise InputError("NON_FINITE", "the codec gave no finite pixels; try --dtype float32")
    return to_tensor(to_picture(out))


def jpeg_pass(pixels: Tensor, quality: int) -> Tensor:
    """Pixels ``[3, H, W]`` in 0..1 after one JPEG compression.

    Example:
        >>> jpeg_pass(torch.ones(3, 16, 16), 90).mean().item()
        1.0
    """
    out = io.BytesIO()
    to_picture(pixels).save(out, "JPEG", quality=quality, subsampling="4:2:0")
    return to_tensor(Image.open(out, formats=("JPEG",)).convert("RGB"))
