"""What tests of commands share: folders of pictures, flags, and a call that must not happen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def noise_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """The folder with ``0.png`` and on, 24 x 20 random pixels each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def smooth_pictures(folder: Path, count: int, seed: int) -> Path:
    """The folder with ``0.jpg``, ``1.png`` and on, of several widths, which survive a codec."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        picture = small.resize((70 + i, 60), Image.Resampling.BICUBIC)
        picture.save(folder / (f"{i}.png" if i % 2 else f"{i}.jpg"))
    return folder


def flags(paths: Mapping[str, Any], *names: str) -> list[str]:
    """``--name path`` of the named ones, or of all."""
    return [x for name in names or paths for x in (f"--{name}", str(paths[name]))]


def forbid(*_: Any, **__: Any) -> None:
    raise AssertionError("a picture or a model was opened")
