"""The sections of the secondary lines: extraction and the black-box attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .comparisons import shared, uri
from .pictures import picture_uri

MOST_EXHIBITS = 48


def extraction_view(case: Mapping[str, Any], root: Path) -> dict[str, Any] | None:
    """What was drawn, beside the photos it resembles; None if the line was not run."""
    e = case["extraction"]
    if not e:
        return None
    marks = [(e["lenient_threshold"], "lenient threshold"), (e["copy_threshold"], "copy threshold")]
    marks = [(v, said) for v, said in marks if v is not None]
    return {
        **e,
        **shared(e["comparison"], "best similarity over all images", marks),
        "exhibits": [
            _exhibit(i, one, case["photos"], root)
            for i, one in enumerate(e["extracted"][:MOST_EXHIBITS])
        ],
        "left_out": max(0, len(e["extracted"]) - MOST_EXHIBITS),
    }


def _exhibit(
    index: int, one: Mapping[str, Any], photos: Sequence[Mapping[str, Any]], root: Path
) -> dict[str, Any]:
    at = one["nearest_photo"]
    photo = photos[at] if isinstance(at, int) and 0 <= at < len(photos) else None
    return {
        **one,
        "number": index + 1,
        "picture": uri(picture_uri(root, one["file"])),
        "photo_number": photo["number"] if photo else None,
        "photo_kept": bool(photo and photo.get("picture")),
        "photo": uri(picture_uri(root, photo["picture"])) if photo else None,
    }


def attack_view(case: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the attack's classifiers say; None if the line was not run."""
    a = case["attack"]
    if not a:
        return None
    softmax = a.get("scores") == "softmax"
    axis, bar = ("mean P(member)", 0.5) if softmax else ("mean logit difference", 0.0)
    return {
        **a,
        **shared(a["comparison"], f"{axis} (above {bar:g}: looks tuned)", [(bar, "looks tuned")]),
        "softmax": softmax,
        "notes": a.get("notes") or [],
        "paper": (a.get("paper_low"), a.get("paper_high")),
        "mean_seed": sum(v or 0.0 for v in a["seed_aucs"]) / max(1, len(a["seed_aucs"])),
    }
