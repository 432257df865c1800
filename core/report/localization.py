"""The page of one localised picture: a self-contained HTML text."""

from __future__ import annotations

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
        return (
            "The score is no higher than that of untouched pictures, so the map is blank. What the "
            "network would have marked is shown below, and means nothing."
        )
    if card["gate"] is None:
        return "This localiser has no gate: it marks something on untouched pictures too."
    if found["score"] > card["gate"]:
        return (
            f"The score passes the gate that about {card['gate_alarm']:.0%} of untouched pictures "
            f"pass; {found['area']:.1%} of the pixels are marked."
        )
    return "The gate was switched off: untouched pictures show such maps as well."
