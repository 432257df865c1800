"""Pictures with masks in a graph: what a localizer is trained on, before it is a set of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..core.errors import InputError, plural
from ..core.images.photos import photos_of, pixels_sha256, to_uint8
from ..core.inpainting.examples import ExampleSet, listed, make_examples
from ..core.inpainting.given import GivenInpainter
from ..core.storage import CaseFolder
from ._host import HostProgress, to_pixels


@dataclass(frozen=True, eq=False)
class Examples:
    """Photos, their masks, and what a generator made of them.

    Attributes:
        pixels: ``[N, 3, H, W]`` in 0..1.
        masks: ``[N, H, W]``, 1 where repainted.
        generator: repainted twins by name.
    """

    pixels: Tensor
    masks: Tensor
    generator: GivenInpainter


def masks_of(mask: Tensor, images: Tensor) -> Tensor:
    """Masks ``[N, H, W]`` of 0 and 1, one per picture.

    Args:
        mask: MASK ``[1 or N, H, W]``, 1 where repainted.
        images: ``[N, 3, H, W]``.

    Raises:
        InputError: another size (MASK_SIZE) or count (MASK_COUNT), or an empty one (EMPTY_MASK).
    """
    masks = mask.detach().cpu().float().reshape(-1, *mask.shape[-2:])
    if masks.shape[1:] != images.shape[2:]:
        raise InputError(
            "MASK_SIZE",
            f"the mask has {list(masks.shape[1:])} pixels, the image {list(images.shape[2:])}; "
            "give masks of the image's size",
        )
    if len(masks) not in (1, len(images)):
        raise InputError(
            "MASK_COUNT",
            f"{plural(len(images), 'image')}, {plural(len(masks), 'mask')}; give one each, or one",
        )
    marked = (masks > 0.5).float().expand(len(images), -1, -1)
    if not bool(marked.flatten(1).any(1).all()):
        raise InputError("EMPTY_MASK", "a mask marks no pixel; white is what is repainted")
    return marked


def examples_of(
    images: Tensor, mask: Tensor, repainted: Tensor, decoded: Tensor | None, name: str
) -> Examples:
    """Examples from IMAGE batches.

    Raises:
        InputError: sizes or counts differ (BAD_SHAPE, MASK_SIZE, MASK_COUNT).
    """
    pixels = to_pixels(images)
    back = None if decoded is None else to_pixels(decoded)
    given = GivenInpainter(name, pixels, to_pixels(repainted), back)
    return Examples(pixels, masks_of(mask, pixels), given)


def written(
    parts: Sequence[Examples], case: CaseFolder, seed: int, progress: HostProgress
) -> ExampleSet:
    """All parts as one set of files.

    Args:
        parts: of pictures of one size.
        case: the set's folder.
        seed: of the split.
        progress: the node's bar.

    Raises:
        InputError: BAD_SHAPE, and those of `make_examples`.
    """
    sizes = {tuple(p.pixels.shape[2:]) for p in parts}
    if len(sizes) > 1:
        raise InputError(
            "BAD_SHAPE", f"examples of sizes {sorted(sizes)} are connected; make them alike"
        )
    sets = [
        make_examples(
            photos_of(part.pixels, [f"image {i + 1}" for i in range(len(part.pixels))], "IMAGE"),
            [m > 0.5 for m in np.asarray(part.masks)],
            [part.generator],
            case,
            seed=seed,
            progress=progress,
        )
        for part in parts
    ]
    rows = list(dict.fromkeys(row for one in sets for row in one.rows))
    return listed(case, rows)


def facts_of(parts: Sequence[Examples]) -> list[Any]:
    """What decides a set made of these parts."""
    return [
        [
            [pixels_sha256(p) for p in to_uint8(part.pixels)],
            [pixels_sha256(m) for m in np.asarray(part.masks, np.uint8)],
            part.generator.facts(),
        ]
        for part in parts
    ]
