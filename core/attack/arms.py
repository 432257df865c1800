"""The two arms of a black-box comparison: same prompts, seeds, scales and size, or none at all.

A classifier that sees another guidance scale or prompt on one side learns that instead of the
model. Guidance 1 is the conditional prediction, 0 the unconditional one, as in ComfyUI; diffusers,
and so the membership paper (arXiv 2502.11619), draws conditionally at any scale up to 1.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Never

from ..errors import InputError, plural
from ..types import ImageBatch, Source

_LABEL = r"{} cfg=([\d.e+-]+)"
Drawn = tuple[str, int, float]


def check_matched_arms(tuned: ImageBatch, base: ImageBatch) -> tuple[float, ...]:
    """Guidance scales of two arms that differ in the model alone.

    The sampler and its steps are not written on an image: draw both arms with one spec.

    Args:
        tuned: images of the tuned model, with sources.
        base: images of the base.

    Returns:
        The scales, rising.

    Raises:
        InputError: an image was drawn by the wrong model or another rule, or the arms differ in
            prompts, seeds, scales, number or size of images (BAD_ARMS).
    """
    if tuned.pixels.shape[1:] != base.pixels.shape[1:]:
        sizes = [list(b.pixels.shape[2:]) for b in (tuned, base)]
        _refuse(f"images of {sizes[0]} and of {sizes[1]} pixels")
    first, second = (
        Counter(_drawn(s, who) for s in batch.sources)
        for who, batch in (("tuned", tuned), ("base", base))
    )
    if first != second:
        odd = next(iter([*(first - second), *(second - first)]))
        _refuse(
            f"{len(tuned)} and {plural(len(base), 'image')}; prompt, seed and scale {odd} is in "
            "one only"
        )
    if not first:
        _refuse("no image")
    return tuple(sorted({scale for _, _, scale in first}))


def _drawn(source: Source, who: str) -> Drawn:
    match = re.fullmatch(_LABEL.format(who), source.guidance)
    if match is None:
        _refuse(f"an image of {source.guidance!r} in the {who} arm")
    return source.prompt, source.seed, float(match[1])


def _refuse(found: str) -> Never:
    raise InputError(
        "BAD_ARMS",
        f"{found}; draw both arms with the same prompts, seeds, scales and sampler, one with the "
        "tuned model and one with the base",
    )
