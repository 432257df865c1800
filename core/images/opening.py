"""Opening a picture that may be anything: limits before decoding, and an error with a name."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")  # phones' MPO comes through the JPEG plugin
MAX_PIXELS, MAX_BYTES = 40_000_000, 64 * 2**20


def read_picture(file: Path) -> bytes:
    """A file's bytes.

    Raises:
        InputError: UNREADABLE_IMAGE, IMAGE_TOO_LARGE.
    """
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                "IMAGE_TOO_LARGE", f"{file} has {size:,} bytes; at most {MAX_BYTES:,} are read"
            )
        return file.read_bytes()
    except OSError as error:
        raise InputError("UNREADABLE_IMAGE", f"{file} cannot be read: {error}") from error


@contextmanager
def opened(data: bytes, file: Path) -> Iterator[Image.Image]:
    """The picture in `data`, of at most `MAX_PIXELS`; errors of decoding inside are named too.

    Raises:
        InputError: NOT_AN_IMAGE, IMAGE_TOO_LARGE, CORRUPT_IMAGE.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            w, h = image.size
            if w * h > MAX_PIXELS:
                raise InputError(
                    "IMAGE_TOO_LARGE",
                    f"{file} is {w} x {h}; at most {MAX_PIXELS:,} pixels are decoded",
                )
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            "NOT_AN_IMAGE", f"{file} is not a PNG, JPEG or WebP; convert it or take it away"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("IMAGE_TOO_LARGE", f"{file}: {error}") from error
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise InputError(
            "CORRUPT_IMAGE", f"{file} cannot be decoded ({error}); repair it or take it away"
        ) from error
