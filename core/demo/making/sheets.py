"""Contact sheets for looking at what was made."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_sheet(pixels: NDArray[np.uint8], path: Path, *, columns: int, zoom: int = 1) -> None:
    """Writes uint8 ``[N, H, W, 3]`` as one PNG grid, row by row."""
    n, height, width, _ = pixels.shape
    rows = -(-n // columns)
    grid = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, tile in enumerate(pixels):
        top, left = i // columns * height, i % columns * width
        grid[top : top + height, left : left + width] = tile
    picture = Image.fromarray(grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(
        path
    )
