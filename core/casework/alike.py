"""Controls that look like a photo in question: shown to a person, in every case."""

from __future__ import annotations

from collections.abc import Sequence

from ..encoders.embedding import embed
from ..images.sets import Sets, look_alikes
from ..protocols import ImageEncoder
from ..types import Embeddings
from ..verdicts.case import LookAlike
from .exhibits import control_path, twin_path

MOST_SHOWN = 12


def alike_controls(
    sets: Sets, photos: Embeddings, controls: Embeddings, encoder: ImageEncoder
) -> tuple[LookAlike, ...]:
    """Controls set aside as twins of a photo, then those that the descriptor takes for copies.

    Each control is listed once, with the photo that it resembles most; the most alike ones are
    shown as pictures.

    Args:
        sets: photos and controls.
        photos: descriptors of the photos.
        controls: descriptors of the controls.
        encoder: that made them.
    """
    nearest: dict[int, LookAlike] = {}
    for i, j, similarity in look_alikes(photos, controls):  # most alike first
        shown = control_path(j) if len(nearest) < MOST_SHOWN else ""
        nearest.setdefault(j, LookAlike(i, f"control {j}", similarity, picture=shown))
    return (*_twins(sets, photos, encoder), *nearest.values())


def _twins(sets: Sets, photos: Embeddings, encoder: ImageEncoder) -> list[LookAlike]:
    if sets.twins is None:
        return []
    similarity = photos.similarity(embed(sets.twins.images, encoder))
    rows = enumerate(zip(sets.twin_of, sets.twins.facts, strict=True))
    return [
        LookAlike(i, fact.name, float(similarity[i, k]), set_aside=True, picture=twin_path(k))
        for k, (i, fact) in rows
    ]


def alike_words(alike: Sequence[LookAlike]) -> list[str]:
    """What a reader of the verdict must know about them."""
    aside = sum(one.set_aside for one in alike)
    compared = len(alike) - aside
    words = {
        f"{aside} of the controls given show a photo in question once more (another size, "
        "compression or crop, or mirrored) and were set aside: controls must be photos that were "
        "not used.": aside,
        f"{compared} of the controls look like copies of a photo to the descriptor and were "
        "compared all the same: look at the pairs. If they are copies, they hide use.": compared,
    }
    return [text for text, count in words.items() if count]
