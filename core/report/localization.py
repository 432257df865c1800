"""The page of one localized picture: a self-contained HTML text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
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
    # Marked as safe, or the page cuts what it takes for long text.
    shown = [{"title": title, "uri": Markup(data_uri(p))} for title, p in pictures.items()]
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
        return "This localizer has no gate: it marks something on untouched pictures too."
    if found["p"] <= card["alarm"]:
        return (
            f"{found['area']:.1%} of the pixels are marked. Of untouched pictures like those that "
            f"set the gate at most {found['p']:.1%} score as high{_elsewhere(card)}."
        )
    return "The gate was switched off: untouched pictures show such maps as well."


def _elsewhere(card: Mapping[str, Any]) -> str:
    """The highest rate of false alarms that was measured on other pictures."""
    rates = [(u["marked"] / u["pictures"], u["name"]) for u in card["untouched"] if u["pictures"]]
    if not rates:
        return ""
    rate, name = max(rates)
    return f"; on others it was measured to mark up to {rate:.0%} ({name})"


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
