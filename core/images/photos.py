"""One canonical decode for every photo: limits, orientation, colour, size, hashes, file facts."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import InputError, NotEnoughDataError
from ..types import ImageBatch, Source
from .opening import opened, read_picture

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".jfif"}
MIN_SIDE, MAX_ASPECT = 16, 8.0
_EXIF_DETAILS, _TAKEN, _MODEL = 0x8769, 0x9003, 0x0110
_IJG_LUMINANCE_MEAN = 57.625  # of the standard table, which is quality 50


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says beside its picture, for the blind probe and the item list.

    Attributes:
        session: sub-folder that the file lay in; empty where it lay in the folder itself.
        taken: when, by its EXIF (``YYYY:MM:DD HH:MM:SS``). Private: only sessions are made of it.
        camera: model, by its EXIF. Private as well.
    """

    name: str
    sha256: str
    width: int
    height: int
    format: str
    size: int
    jpeg_quality: float
    session: str = ""
    taken: str = ""
    camera: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Photos of a case at one size, with the facts of their files."""

    images: ImageBatch
    facts: tuple[FileFacts, ...]

    def __len__(self) -> int:
        return len(self.facts)

    def select(self, index: Sequence[int]) -> Photos:
        """The photos at `index`, in that order."""
        return Photos(self.images.select(index), tuple(self.facts[i] for i in index))


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder and of its direct sub-folders, or one image file, sorted by path.

    Each sub-folder is a session: photos taken together, of which the first says most.

    Raises:
        InputError: the folder does not exist (MISSING_FOLDER).
        NotEnoughDataError: it holds no image (EMPTY_FOLDER).
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError("MISSING_FOLDER", f"{folder} does not exist; give a folder of images")
    below = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        p
        for place in (folder, *below)
        for p in sorted(place.iterdir())
        if p.suffix.lower() in SUFFIXES and p.is_file()
    ]
    if not files:
        raise NotEnoughDataError(
            "EMPTY_FOLDER",
            f"{folder} holds no PNG, JPEG or WebP file; put the photos in that folder, or one "
            "sub-folder for each session",
        )
    return files


def load_photos(
    files: Sequence[Path],
    kind: Literal["photo", "control"],
    side: int,
    on_file: Callable[[], None] = lambda: None,
    *,
    root: Path | None = None,
) -> Photos:
    """Decode files canonically and bring them to ``side x side`` pixels.

    Args:
        files: as `image_files` lists them.
        kind: what they are to the case.
        side: in pixels.
        on_file: called after each.
        root: folder whose sub-folders are sessions; None takes the one that all files share.

    Raises:
        InputError: a file is corrupt, too large, too small or of another format; it is named.
    """
    pixels, facts, sources = [], [], []
    root = root or Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        picture, fact = decode_file(file)
        square = fit_square(picture, side)
        pixels.append(to_tensor(square))
        session = "" if file.parent == root else file.parent.name
        name = f"{session}/{file.name}" if session else file.name
        facts.append(replace(fact, name=name, session=session))
        sources.append(
            Source(kind=kind, sha256=pixels_sha256(square), name=name, file_sha256=fact.sha256)
        )
        on_file()
    return Photos(ImageBatch(torch.stack(pixels), tuple(sources)), tuple(facts))


def decode_file(file: Path) -> tuple[Image.Image, FileFacts]:
    """Canonical RGB picture of a file, and its facts.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled, colour
    profiles are ignored, and only the first frame of a phone's multi-picture JPEG is taken.
    """
    data = read_picture(file)
    picture, fmt, quality, (taken, camera) = _decode(data, file)
    facts = FileFacts(
        file.name,
        hashlib.sha256(data).hexdigest(),
        picture.width,
        picture.height,
        fmt,
        len(data),
        quality,
        taken=taken,
        camera=camera,
    )
    return picture, facts


def _decode(data: bytes, file: Path) -> tuple[Image.Image, str, float, tuple[str, str]]:
    with opened(data, file) as image:
        _check_shape(image, file)
        fmt, quality = image.format or "", _jpeg_quality(image)
        if fmt not in ("MPO", "JPEG") and getattr(image, "n_frames", 1) > 1:
            raise InputError("ANIMATED_IMAGE", f"{file} has several frames; give still photos")
        moment = _moment(image)
        return _to_rgb(_upright(image)), fmt, quality, moment


def _check_shape(image: Image.Image, file: Path) -> None:
    w, h = image.size
    if min(w, h) < MIN_SIDE or max(w, h) / min(w, h) > MAX_ASPECT:
        raise InputError(
            "BAD_IMAGE_SHAPE",
            f"{file} is {w} x {h}; sides of {MIN_SIDE} pixels or more and an aspect of at most "
            f"{MAX_ASPECT:g} are needed",
        )


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; as it is where its EXIF cannot be read."""
    image.load()  # a picture that cannot be decoded is named by the caller
    with contextlib.suppress(Exception):  # see `_moment`
        return ImageOps.exif_transpose(image)
    return image


def _moment(image: Image.Image) -> tuple[str, str]:
    """When a photo was taken and by which camera; empty where its EXIF does not say."""
    with contextlib.suppress(Exception):  # strangers' EXIF breaks in many ways, none matters here
        exif = image.getexif()
        taken = exif.get_ifd(_EXIF_DETAILS).get(_TAKEN, "")
        return str(taken).strip("\0 "), str(exif.get(_MODEL, "")).strip("\0 ")
    return "", ""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        grey = np.asarray(image, np.float64) / 257.0
        image = Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image.convert("RGB")


def _jpeg_quality(image: Image.Image) -> float:
    tables = getattr(image, "quantization", None)
    if not tables:
        return 100.0
    percent = 100 * float(np.mean(next(iter(tables.values())))) / _IJG_LUMINANCE_MEAN
    return 100 - percent / 2 if percent <= 100 else 5000 / percent


def fit_square(image: Image.Image, side: int) -> Image.Image:
    """Centre square of a picture at ``side x side``; a picture of that size is left as it is."""
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> Tensor:
    """``[3, H, W]`` float32 in 0..1 of an RGB picture."""
    return torch.from_numpy(np.asarray(image, np.uint8).copy()).permute(2, 0, 1).float() / 255


def to_uint8(pixels: Tensor) -> np.ndarray:
    """``[..., H, W, 3]`` uint8 of pixels ``[..., 3, H, W]`` in 0..1, rounded."""
    channels_last = pixels.detach().cpu().float().clamp(0, 1).mul(255).round().movedim(-3, -1)
    return channels_last.to(torch.uint8).numpy()


def to_picture(pixels: Tensor) -> Image.Image:
    """RGB picture of pixels ``[3, H, W]`` in 0..1."""
    return Image.fromarray(to_uint8(pixels))


def pixels_sha256(image: Image.Image | np.ndarray) -> str:
    """SHA-256 of canonical pixels: a re-saved copy keeps it where the file's hash changes."""
    array = np.ascontiguousarray(np.asarray(image, np.uint8))
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def photos_of(pixels: Tensor, names: Sequence[str], kind: str = "PNG") -> Photos:
    """Pictures that come from no file, as photos.

    Args:
        pixels: ``[N, 3, H, W]`` in 0..1.
        names: ``N``.
        kind: what stands for their format.
    """
    height, width = pixels.shape[2:]
    hashes = [pixels_sha256(p) for p in to_uint8(pixels)]
    pairs = list(zip(names, hashes, strict=True))
    facts = tuple(FileFacts(n, h, width, height, kind, 0, 100.0) for n, h in pairs)
    sources = tuple(Source(kind="photo", sha256=h, name=n) for n, h in pairs)
    return Photos(ImageBatch(pixels, sources), facts)


def png_bytes(pixels: Tensor) -> bytes:
    """PNG file of pixels ``[3, H, W]`` in 0..1."""
    out = io.BytesIO()
    to_picture(pixels).save(out, "PNG")
    return out.getvalue()


def probe_features(photos: Photos) -> np.ndarray:
    """File and colour facts ``[N, 12]`` for the blind probe; no model has seen them."""
    rows = []
    for fact, pixels in zip(photos.facts, photos.images.pixels, strict=True):
        area = fact.width * fact.height
        means, stds = pixels.mean((1, 2)), pixels.std((1, 2))
        rows.append(
            [
                np.log(area),
                np.log(fact.width / fact.height),
                np.log(fact.size / area),
                fact.jpeg_quality,
                float(fact.format == "PNG"),
                float(fact.format == "WEBP"),
                *means.tolist(),
                *stds.tolist(),
            ]
        )
    return np.asarray(rows, np.float64)
