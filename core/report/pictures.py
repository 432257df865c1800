"""Small pictures for the report: decoded, shrunk and encoded anew, never the original bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image, ImageDraw, ImageOps

from ..errors import ForensicsError
from ..images.photos import decode_file
from .text import clean

SIDE = 256
SMALL = 192
_PAPER = (255, 255, 255)


def open_picture(root: Path, relative: str) -> Image.Image | None:
    """Decodes one picture below `root` to RGB; None if it is missing, outside, or unreadable."""
    path = _inside(root, relative)
    if path is None:
        return None
    try:
        image = decode_file(path)[0]
    except ForensicsError:
        return None
    return Image.frombytes("RGB", image.size, image.tobytes())  # pixels only: no comment, no EXIF


def _inside(root: Path, relative: str) -> Path | None:
    pure = PurePosixPath(relative)
    if not relative or "\0" in relative or "\\" in relative or ":" in relative:
        return None
    if pure.is_absolute() or ".." in pure.parts:
        return None
    try:
        base = root.resolve()
        path = (base / pure).resolve()
        return path if path.is_relative_to(base) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def fit(image: Image.Image, side: int = SIDE, small: int = SMALL) -> Image.Image:
    """At most `side` pixels; tiny images grow to about `small`, by whole pixels where possible."""
    longest = max(image.size)
    if longest > side:
        return _resized(image, side / longest, Image.Resampling.LANCZOS)
    if longest >= small:
        return image
    if longest * 2 <= small:
        return _resized(image, small // longest, Image.Resampling.NEAREST)
    return _resized(image, small / longest, Image.Resampling.LANCZOS)


def _resized(image: Image.Image, factor: float, how: Image.Resampling) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, how)


def data_uri(image: Image.Image) -> str:
    """The picture as a data URI: PNG where pixels were tiny, JPEG otherwise."""
    tiny = max(image.size) <= SMALL // 2
    shown, buffer = fit(image), io.BytesIO()
    if tiny:
        shown.save(buffer, "PNG", optimize=True)
    else:
        shown.save(buffer, "JPEG", quality=84)
    kind = "png" if tiny else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def picture_uri(root: Path, relative: str) -> str | None:
    """A picture below `root` as a data URI, or None if it cannot be shown."""
    image = open_picture(root, relative)
    return None if image is None else data_uri(image)


def contact_sheet(
    root: Path, rows: Sequence[tuple[str, str, str]], *, cell: int = SMALL, columns: int = 3
) -> bytes:
    """A PNG of pairs: generated picture, its nearest photo, and a caption below.

    Args:
        root: the case folder.
        rows: (generated file, photo file, caption) for each pair, files relative to `root`.
        cell: side of one picture in pixels.
        columns: pairs in a row.
    """
    gap, caption = 12, 22
    wide, high = 2 * cell + 2 + gap, cell + caption + gap
    lines = max(1, -(-len(rows) // columns))
    sheet = Image.new("RGB", (columns * wide + gap, lines * high + gap), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (generated, photo, said) in enumerate(rows):
        x, y = gap + (i % columns) * wide, gap + (i // columns) * high
        _place(sheet, open_picture(root, generated), (x, y), cell)
        _place(sheet, open_picture(root, photo), (x + cell + 2, y), cell)
        said = clean(said, 60).encode("latin-1", "replace").decode("latin-1")
        draw.text((x, y + cell + 4), said, fill=(30, 34, 40))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _place(sheet: Image.Image, image: Image.Image | None, at: tuple[int, int], cell: int) -> None:
    box = Image.new("RGB", (cell, cell), (236, 238, 241))
    if image is None:
        ImageDraw.Draw(box).text((8, cell // 2 - 6), "no picture", fill=(90, 96, 105))
    else:
        shown = ImageOps.contain(fit(image, cell, cell), (cell, cell))
        box.paste(shown, ((cell - shown.width) // 2, (cell - shown.height) // 2))
    sheet.paste(box, at)
