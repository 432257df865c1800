"""Where a picture of any size was repainted: tiles at the training scale, blended, gated.

The map, a confidence beside it and an image score are TruFor's three outputs. A map is blank where
the score does not pass the gate that untouched pictures set, because some maps always mark
something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..protocols import QUIET, Progress
from .files import Card, Localizer
from .judging import Judgement, judge
from .placing import upsampled
from .settings import LocalizeSpec
from .views import Resampling, normalized

SMALLEST_SHARE = 0.5  # of the training pictures' side
_EDGE = 1e-3  # weight of a tile's rim, so that every cell has some


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Localization:
    """What was found on one picture.

    Attributes:
        map: ``[H, W]`` in 0..1, higher where repainted; all 0 where `blank`.
        raw: the same before the gate.
        confidence: ``[H, W]`` in 0..1: 1 where the picture and its mirror image agree; NaN with
            one view. Agreement is not a probability: a wrong map can be sure of itself.
        score: of the highest tile, comparable with the card's gate.
        p: see `Card.p_value`; None where no untouched photo set a gate.
        area: share of pixels above the threshold, after the gate.
        blank: untouched pictures of so many tiles score as high too often.
        tiles: how many were looked at, views apart.
    """

    map: Tensor
    raw: Tensor
    confidence: Tensor
    score: float
    p: float | None
    area: float
    blank: bool
    tiles: int


def localize(
    picture: Image.Image,
    localizer: Localizer,
    spec: LocalizeSpec | None = None,
    *,
    progress: Progress = QUIET,
) -> Localization:
    """Look at a picture.

    Memory grows with one batch of tiles and the finished map, not with the enlarged picture.

    Args:
        picture: RGB, of any size.
        localizer: of `files.load_localizer`.
        spec: views, tiles, gate.
        progress: counts tiles.

    Raises:
        InputError: a side is under half of the training pictures' (IMAGE_TOO_SMALL), or the
            network gave no finite map (NON_FINITE).
    """
    spec, card = spec or LocalizeSpec(), localizer.card
    _check(picture, card)
    boxes = tiles(picture, card.source_side, spec.overlap)
    progress.start("localizing", len(boxes) * spec.views)
    seen = [
        _view(picture, localizer, boxes, spec, progress, mirrored=k > 0) for k in range(spec.views)
    ]
    maps = torch.stack([m for m, _ in seen])
    raw = maps.mean(0)
    if not bool(raw.isfinite().all()):
        raise InputError("NON_FINITE", "the localizer's map holds NaN or infinity")
    confidence = torch.full_like(raw, float("nan"))
    if spec.views > 1:
        confidence = 1 - (maps[0] - maps[1]).abs()
    score = sum(highest for _, highest in seen) / len(seen)
    p = card.p_value(score, len(boxes))
    blank = spec.gate == "on" and p is not None and p > card.alarm
    shown = torch.zeros_like(raw) if blank else raw
    area = float((shown > spec.threshold).float().mean())
    return Localization(
        map=shown,
        raw=raw,
        confidence=confidence,
        score=score,
        p=p,
        area=area,
        blank=blank,
        tiles=len(boxes),
    )


def _check(picture: Image.Image, card: Card) -> None:
    least = round(SMALLEST_SHARE * card.source_side)
    if min(picture.size) < least:
        raise InputError(
            "IMAGE_TOO_SMALL",
            f"the picture is {picture.width} x {picture.height}; this localizer was trained on "
            f"pictures of {card.source_side} pixels and needs sides of {least} at least",
        )


class Box(NamedTuple):
    """A tile in picture pixels: top and left, height and width."""

    top: int
    left: int
    height: int
    width: int


def tiles(picture: Image.Image, side: int, overlap: float) -> tuple[Box, ...]:
    """Boxes of `side` pixels that cover a picture; a small picture is one.

    Example:
        >>> [b.left for b in tiles(Image.new("RGB", (150, 64)), 64, 0.25)]
        [0, 43, 86]
    """
    height, width = min(side, picture.height), min(side, picture.width)
    tops, lefts = (_starts(n, side, overlap) for n in (picture.height, picture.width))
    return tuple(Box(top, left, height, width) for top in tops for left in lefts)


def _starts(size: int, tile: int, overlap: float) -> list[int]:
    if size <= tile:
        return [0]
    count = 1 + math.ceil((size - tile) / max(1, int(tile * (1 - overlap))))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def _view(
    picture: Image.Image,
    localizer: Localizer,
    boxes: tuple[Box, ...],
    spec: LocalizeSpec,
    progress: Progress,
    *,
    mirrored: bool,
) -> tuple[Tensor, float]:
    """The blended map ``[H, W]`` of all tiles, or of their mirror images, and the highest score."""
    sums = torch.zeros(picture.height, picture.width)
    weights, highest = torch.zeros_like(sums), -math.inf
    window = _ramp(boxes[0].height)[:, None] * _ramp(boxes[0].width)
    for at in range(0, len(boxes), spec.batch):
        some = boxes[at : at + spec.batch]
        judged = _judged(picture, localizer, some, mirrored=mirrored)
        highest = max(highest, float(judged.scores.max()))
        for box, cells in zip(some, judged.maps, strict=True):
            placed = _placed(cells, box, localizer.card)
            here = (slice(box.top, box.top + box.height), slice(box.left, box.left + box.width))
            sums[here] += (placed.flip(-1) if mirrored else placed) * window
            weights[here] += window
        progress.step(len(some))
    return sums / weights, highest


def _placed(cells: Tensor, box: Box, card: Card) -> Tensor:
    # Input pixel u shows picture pixel (u + 1/2) / scale - 1/2.
    stride, offset = card.stride / card.scale, (card.offset + 0.5) / card.scale - 0.5
    return upsampled(cells, (box.height, box.width), stride, offset)


def _ramp(count: int) -> Tensor:
    """Weight of a tile's pixels in the blend: highest in the middle."""
    place = (torch.arange(count) + 0.5) / count
    return torch.minimum(place, 1 - place).clamp_min(_EDGE)


def _judged(
    picture: Image.Image, localizer: Localizer, boxes: Sequence[Box], *, mirrored: bool
) -> Judgement:
    card = localizer.card
    pixels = torch.stack([_cut(picture, box, card.scale) for box in boxes])
    device = next(localizer.network.parameters()).device
    x = (pixels.flip(-1) if mirrored else pixels).to(device)
    return judge(localizer.network, x, supervision=card.supervision, pooling=card.pooling)


def _cut(picture: Image.Image, box: Box, scale: float) -> Tensor:
    """A tile, enlarged on its own: the whole picture never is."""
    size = (round(box.width * scale), round(box.height * scale))
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    return normalized(picture.resize(size, Resampling.BILINEAR, box=corners))


__all__ = ["Box", "Localization", "LocalizeSpec", "localize", "tiles"]
