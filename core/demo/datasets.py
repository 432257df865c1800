"""Which faces are drawn for what: public training data, photos of the suspects, controls.

Public sets are cached as ``.npy`` in the workspace and never ship. Photos ship as small PNG and
JPEG files, and everything that trains on a photo reads the pixels decoded from its file.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .faces import draw_faces
from .people import Domain

JPEG_SHARE = 0.5
JPEG_QUALITY = (88, 96)


@dataclass(frozen=True)
class PublicSet:
    """A cached set that the base or its codec may see.

    Attributes:
        name: file stem in the workspace.
        domain: whose photographs.
        n: how many at full scale.
        seed: of the drawing; no photo set shares it.
    """

    name: str
    domain: Domain
    n: int
    seed: int


PUBLIC_SETS = (
    PublicSet("generic", "generic", 12_000, 11),
    PublicSet("codec_northgate", "northgate", 1_200, 12),
    PublicSet("codec_southfield", "southfield", 1_200, 13),
)


def build_public(folder: Path, *, share: float = 1.0) -> None:
    """Draws every public set that is not in ``folder`` yet, at ``share`` of its size."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in PUBLIC_SETS:
        path = folder / f"{entry.name}.npy"
        if not path.exists():
            drawn = draw_faces(max(32, round(entry.n * share)), entry.domain, entry.seed)
            (folder / f"{entry.name}.txt").write_text("\n".join(drawn.captions()), encoding="utf-8")
            np.save(path, drawn.pixels)


def load_public(folder: Path, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels uint8 ``[N, 64, 64, 3]`` and captions of one public set."""
    captions = (folder / f"{name}.txt").read_text(encoding="utf-8").split("\n")
    return np.load(folder / f"{name}.npy", allow_pickle=False), captions


def write_photos(pixels: NDArray[np.uint8], folder: Path, seed: int) -> list[Path]:
    """Writes photos under random hexadecimal names, half of them PNG and half JPEG by chance.

    Args:
        pixels: uint8 ``[N, H, W, 3]``.
        folder: where; created.
        seed: of names, formats and qualities.
    """
    rng = np.random.default_rng([seed, 0xF11E])
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for picture in pixels:
        stem = f"{rng.integers(0, 2**32):08x}"
        jpeg, quality = rng.random() < JPEG_SHARE, int(rng.integers(*JPEG_QUALITY, endpoint=True))
        path = folder / f"{stem}.{'jpg' if jpeg else 'png'}"
        if jpeg:
            Image.fromarray(picture).save(path, quality=quality)
        else:
            Image.fromarray(picture).save(path, optimize=True)
        written.append(path)
    return written


def read_photos(folder: Path) -> NDArray[np.uint8]:
    """Decodes every photo of a folder in the order of its names: uint8 ``[N, H, W, 3]``."""
    paths = sorted(p for p in folder.iterdir() if p.suffix in {".png", ".jpg"})
    return np.stack(
        [np.asarray(Image.open(p, formats=("PNG", "JPEG")).convert("RGB")) for p in paths]
    )


def to_unit(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[N, H, W, 3]`` to float ``[N, 3, H, W]`` in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255


def jpeg_round_trip(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """One picture through JPEG and back."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer, formats=("PNG", "JPEG")).convert("RGB"))
