"""The page of one localised picture: a self-contained HTML text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from .html import render_page
from .pictures import data_uri
from .twin import plain

HEADLINES = {True: "Nothing stands out", False: "Some pixels look repainted"}


def render_localization(facts: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """The page.

    Args:
        facts: the JSON twin that `casework.localizing` writes.
        pictures: RGB pictures to show, by title.
    """
    shown = [{"title": title, "uri": data_uri(p)} for title, p in pictures.items()]
    view = {**plain(facts), "pictures": shown, "headline": _headline(facts)}
    return render_page("localization.html", {**view, "reading": _reading(facts)})


def _headline(facts: Mapping[str, Any]) -> str:
    found = facts["found"]
    marked = found["area"] > 0
    return HEADLINES[bool(found["blank"]) or not marked]


def _reading(facts: Mapping[str, Any]) -> str:
    found, card = facts["found"], facts["card"]
    if found["blank"]:
        return _withheld(found, card)
    if found["p"] is None:
        return "This localiser has no gate: it marks something on untouched pictures too."
    if found["p"] <= card["alarm"]:
        return (
            f"At most {found['p']:.1%} of untouched pictures of this size score as high; "
            f"{found['area']:.1%} of the pixels are marked."
        )
    return "The gate was switched off: untouched pictures show such maps as well."


def _withheld(found: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    told = (
        "Untouched pictures of this size score as high too often, so the map is blank. What the "
        "network would have marked is shown below, and means nothing by itself."
    )
    needed = math.ceil(found["tiles"] / card["alarm"]) - 1 if card["alarm"] else 0
    if len(card["nulls"]) >= needed:
        return told
    return (
        f"{told} For {found['tiles']:,} tiles no score could pass: {needed:,} untouched photos "
        f"would have to set the gate, and {len(card['nulls']):,} did. Cut the region in question "
        "out and ask about it alone, or train with more photos."
    )
