"""Masks of what is to be repainted: rectangles, brush strokes, parts of a parsed face, files.

A mask is boolean ``[H, W]``, True where the photo is (to be) repainted, as in ComfyUI. The
published data sets store the opposite, 255 where a photo is untouched: say so when reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from ..errors import InputError, NotEnoughDataError
from ..images.photos import decode_file

Mask = NDArray[np.bool_]
WHITE = ("repainted", "untouched")
"""What white stands for in a mask's file."""
PARTS: dict[str, tuple[int, ...]] = {
    "skin": (1,),
    "nose": (2,),
    "glasses": (3,),
    "eyes": (4, 5),
    "mouth": (10, 11, 12),
    "hair": (13,),
}
"""Classes of a face parser by part, numbered in CelebAMask-HQ's order of painting, 0 behind all."""
MOST_DILATION = 15  # pixels at 256, of small parts
SMALL_PART = 0.02
AREA = (0.05, 0.4)  # of a rectangle, as a share of the photo
STROKES, STROKE_WIDTH = (1, 4), (0.06, 0.16)  # of the shorter side


def rectangle(height: int, width: int, rng: Generator) -> Mask:
    """One rectangle of 5% to 40% of the area, sides at most 2 to 1, wholly inside."""
    area, aspect = rng.uniform(*AREA) * height * width, np.exp(rng.uniform(-0.7, 0.7))
    h = int(np.clip(round(np.sqrt(area * aspect)), 1, height))
    w = int(np.clip(round(np.sqrt(area / aspect)), 1, width))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    mask = np.zeros((height, width), bool)
    mask[top : top + h, left : left + w] = True
    return mask


def free_form(height: int, width: int, rng: Generator) -> Mask:
    """One to four brush strokes with round ends, each of some bends."""
    side = min(height, width)
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(*STROKES, endpoint=True)):
        thick = max(2, round(side * rng.uniform(*STROKE_WIDTH)))
        points = [(rng.uniform(0, width), rng.uniform(0, height))]
        heading = rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(2, 6)):
            heading += rng.uniform(-1.2, 1.2)
            step = side * rng.uniform(0.1, 0.3)
            x, y = points[-1]
            points.append(
                (
                    float(np.clip(x + step * np.cos(heading), 0, width - 1)),
                    float(np.clip(y + step * np.sin(heading), 0, height - 1)),
                )
            )
        draw.line(points, fill=255, width=thick, joint="curve")
        for x, y in points:
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
    return np.asarray(picture) > 0


def face_parts(
    labels: NDArray[np.integer], rng: Generator, parts: Sequence[str] = tuple(PARTS)
) -> Mask:
    """Some parts of a parsed face; small ones are widened by 1 to 15 pixels at 256.

    Args:
        labels: ``[H, W]`` class of each pixel, as a face parser gives it.
        rng: which parts, and how far they are widened.
        parts: of `PARTS`, to choose among.

    Raises:
        InputError: an unknown part (BAD_SETTING).
        NotEnoughDataError: none of the parts is there (NO_PARTS).
    """
    unknown = sorted(set(parts) - PARTS.keys())
    if unknown:
        raise InputError("BAD_SETTING", f"no part {unknown[0]!r}; choose among {', '.join(PARTS)}")
    there = [p for p in parts if np.isin(labels, PARTS[p]).any()]
    if not there:
        values = ", ".join(map(str, np.unique(labels)[:20]))
        raise NotEnoughDataError(
            "NO_PARTS", f"none of {', '.join(parts)} is in the parsed face; its classes: {values}"
        )
    chosen = rng.choice(there, rng.integers(1, len(there), endpoint=True), replace=False)
    mask = np.zeros(labels.shape, bool)
    for part in chosen:
        mask |= _widened(np.isin(labels, PARTS[part]), rng)
    return mask


def _widened(part: Mask, rng: Generator) -> Mask:
    if part.mean() > SMALL_PART:
        return part
    by = rng.integers(1, MOST_DILATION, endpoint=True) * min(part.shape) / 256
    return np.asarray(binary_dilation(part, iterations=max(1, round(by))), bool)


KINDS: dict[str, Callable[[int, int, Generator], Mask]] = {
    "rectangle": rectangle,
    "free_form": free_form,
}


def random_mask(height: int, width: int, kind: str, seed: int) -> Mask:
    """A mask of a kind; ``mixed`` takes one of the kinds for each seed.

    Raises:
        InputError: an unknown kind (BAD_SETTING).
    """
    rng = np.random.default_rng(seed)
    if kind == "mixed":
        kind = str(rng.choice(list(KINDS)))
    if kind not in KINDS:
        raise InputError("BAD_SETTING", f"no mask {kind!r}; choose mixed, {', '.join(KINDS)}")
    return KINDS[kind](height, width, rng)


def read_mask(
    file: Path, size: tuple[int, int], *, white: str = "repainted", threshold: int = 128
) -> Mask:
    """A mask from a picture: light pixels are white, transparency is laid on white.

    Args:
        file: PNG, JPEG or WebP.
        size: ``(height, width)`` of its photo.
        white: what white pixels say, ``repainted`` or ``untouched``.
        threshold: grey from which on a pixel is white, 0 to 255.

    Raises:
        InputError: another size (MASK_SIZE), or an unknown meaning of white (BAD_SETTING).
    """
    if white not in WHITE:
        raise InputError("BAD_SETTING", f"white is {white!r}; choose {' or '.join(WHITE)}")
    picture, _ = decode_file(file)
    if (picture.height, picture.width) != size:
        raise InputError(
            "MASK_SIZE",
            f"{file} is {picture.width} x {picture.height}, its photo {size[1]} x {size[0]}; give "
            "a mask of the photo's size",
        )
    light = np.asarray(picture.convert("L")) >= threshold
    return light if white == "repainted" else ~light


def read_labels(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A face parser's output: one class per pixel, as grey or palette values.

    Args:
        file: PNG.
        size: ``(height, width)`` of its photo; the parser's may be another, nearest is taken.

    Raises:
        InputError: the file is not a PNG of one channel (NOT_LABELS).
    """
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            if picture.mode not in ("L", "P"):
                raise InputError(
                    "NOT_LABELS", f"{file} has mode {picture.mode}; a parser writes L or P"
                )
            resized = picture.resize((size[1], size[0]), Image.Resampling.NEAREST)
            return np.asarray(resized, np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("NOT_LABELS", f"{file} is not a PNG of a face parser ({error})") from error
