"""What arXiv 2311.04584 printed, as far as known: specification localization.md, section 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...rules import printed


@dataclass(frozen=True, slots=True)
class PublishedCell:
    """Per cent on Repaint-P2/CelebA-HQ; AP is of images."""

    iou: float
    pbca: float
    ap: float | None


@dataclass(frozen=True, slots=True)
class PublishedTables:
    """The file of published values.

    Attributes:
        source: where they were printed.
        table: by setup, then method.
        foreign: IoU on Repaint-P2/CelebA-HQ, and on COCO Glide, which none was trained on.
    """

    source: str
    table: dict[str, dict[str, PublishedCell]]
    foreign: dict[str, tuple[float, float]]


PUBLISHED = printed(PublishedTables, Path(__file__).with_name("published.json"))
