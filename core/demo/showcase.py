"""The demo's two questions: a guilty suspect and an innocent one, asked about the same photos."""

from __future__ import annotations

from pathlib import Path

from ..casework import Request
from ..specs import PRESETS
from .assets import asset_path, load_truth

SHOWN = {
    "guilty_strong": "a LoRA that was trained on these 16 photos",
    "innocent": "a LoRA of the same recipe, trained on other people's photos",
}


def demo_request(name: str, out: Path, preset: str = "standard") -> Request:
    """The screening of one embedded suspect; its controls are exchangeable by construction.

    Args:
        name: a suspect of truth.json.
        out: case folder.
        preset: budget.
    """
    truth = load_truth()[name]
    return Request(
        base=asset_path("base"),
        tuned=asset_path(truth.adapter),
        photos=asset_path(truth.query),
        controls=asset_path(truth.controls),
        out=out,
        exchangeable=True,
        spec=PRESETS[preset],
        encoder="tiny",
        command=f"lora-forensics demo --out {out.parent.name} --preset {preset}",
    )


def demo_requests(out: Path, preset: str = "standard") -> list[tuple[str, Request]]:
    """Title and request of each shown suspect."""
    return [(title, demo_request(name, out / name, preset)) for name, title in SHOWN.items()]
