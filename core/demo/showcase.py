"""The demo's two questions: a guilty suspect and an innocent one, asked about the same photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..casework.request import Request
from ..specs import PRESETS, ScreenSpec
from .assets import asset_path, load_truth

SHOWN = {
    "guilty_strong": "a LoRA that was trained on these 16 photos",
    "innocent": "a LoRA of the same recipe, trained on other people's photos",
}


STANDARD = PRESETS["standard"]
DEMO = ScreenSpec(
    membership=replace(STANDARD.membership, noises=4),
    extract=replace(STANDARD.extract, images=100, pilot_images=20),
    attack=replace(STANDARD.attack, images=128, epochs=5),
)


def demo_request(name: str, out: Path) -> Request:
    """The screening of one embedded suspect; its controls are exchangeable by construction.

    Args:
        name: a suspect of truth.json.
        out: case folder.
    """
    truth = load_truth()[name]
    return Request(
        base=asset_path("base"),
        tuned=asset_path(truth.adapter),
        photos=asset_path(truth.query),
        controls=asset_path(truth.controls),
        out=out,
        exchangeable=True,
        spec=DEMO,
        encoder="tiny",
        command=f"lora-forensics demo --out {out.parent.name}",
    )


def demo_requests(out: Path) -> list[tuple[str, Request]]:
    """Title and request of each shown suspect."""
    return [(title, demo_request(name, out / name)) for name, title in SHOWN.items()]
