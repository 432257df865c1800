"""What the experiments are run on: a base, sets of photos with captions, an image encoder.

The sets, by name: ``dtu-seen``, ``dtu-unseen``, ``aau-seen``, ``aau-unseen``, ``lfw-seen`` (mixed
into one target), ``lfw`` (tested only), and the two DTU sets with a visible and a faint mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...backends.networks import Networks
from ...images.watermark import KINDS
from ...protocols import ImageEncoder
from ...storage import digest_of, sha256_bytes

MARKED = (("dtu-seen", "visible"), ("dtu-seen", "faint"), ("dtu-unseen", "visible"))
_CHUNK = 64


class Changed(Sequence[Tensor]):
    """Images changed one by one when they are asked for, so that no second copy is held."""

    def __init__(self, images: Sequence[Tensor], change: Callable[[Tensor], Tensor]):
        self._images, self._change = images, change

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        """One changed image, or some of them."""
        asked = self._images[index]
        return Changed(asked, self._change) if isinstance(index, slice) else self._change(asked)


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that is given before the first experiment.

    Attributes:
        networks: the base.
        sets: by name, images ``[3, H, W]`` in 0..1.
        captions: of the sets that targets are trained on, one per image.
        encoder: features of the centroid baseline.
        resnet: ImageNet ResNet-18, or None for a random start.
        facts: for the manifest: what decides the results beside the settings.
    """

    networks: Networks
    sets: dict[str, Sequence[Tensor]]
    captions: dict[str, Sequence[str]]
    encoder: ImageEncoder
    resnet: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)


def with_marks(
    sets: Mapping[str, Sequence[Tensor]], captions: Mapping[str, Sequence[str]], logo: Tensor
) -> tuple[dict[str, Sequence[Tensor]], dict[str, Sequence[str]]]:
    """The sets and captions, and those of the marked copies.

    Args:
        sets: with ``dtu-seen`` and ``dtu-unseen``.
        captions: of the training sets.
        logo: ``[4, h, w]`` in 0..1.
    """
    marked = {f"{n}-{m}": Changed(sets[n], partial(KINDS[m], logo=logo)) for n, m in MARKED}
    marked_captions = {f"{n}-{m}": captions[n] for n, m in MARKED if n in captions}
    return {**sets, **marked}, {**captions, **marked_captions}


def stacked(images: Sequence[Tensor], side: int) -> Tensor:
    """Images at one size, aspect ignored, as the attack resizes them.

    Args:
        images: each ``[3, H, W]`` in 0..1.
        side: in pixels.

    Returns:
        ``[N, 3, side, side]`` in 0..1.
    """
    return torch.stack([_resized(image, side) for image in images])


def _resized(image: Tensor, side: int) -> Tensor:
    if image.shape[-2:] == (side, side):
        return image
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)


@torch.no_grad()
def features(encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    """Features ``[N, D]`` of pixels ``[N, 3, H, W]`` in 0..1, in batches.

    Raw where the encoder has raw ones, since the paper averages those of CLIP as they are.
    """
    describe = getattr(encoder, "features", encoder)
    return torch.cat([describe(chunk).cpu().float() for chunk in pixels.split(_CHUNK)])


def digest_of_sets(
    sets: Mapping[str, Sequence[Tensor]], captions: Mapping[str, Sequence[str]]
) -> str:
    """One hash over all photos and captions."""
    pixels = {
        name: [sha256_bytes(i.contiguous().numpy().tobytes()) for i in images]
        for name, images in sets.items()
    }
    return digest_of([pixels, {name: list(told) for name, told in captions.items()}])
