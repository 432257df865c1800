"""Cost of each white-box signal: denoiser rows and seconds a photo, alone and shared."""

from __future__ import annotations

from lora_forensics.core.backends.loading import load_base
from lora_forensics.core.demo.assets import asset_path, load_truth
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.membership.signals import (
    DEEP,
    SIGNALS,
    STANDARD,
    Subjects,
    measure,
    planned_rows,
)
from lora_forensics.core.specs import SignalSpec
from lora_forensics.core.studies.demo.study import load_pair, photos_of

from .timing import fastest

SUSPECT = "guilty_strong"
PHOTOS = 4
REPEATS = 1
SHARED = "shared pass"


def run() -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows of the table."""
    truth, encoder, spec = load_truth()[SUSPECT], load_encoder("tiny"), SignalSpec()
    pair = load_pair(load_base(asset_path("base")), truth)
    pixels = photos_of(truth.query, pair).images.pixels[:PHOTOS]
    photos = Subjects(pixels, pair.encode(pixels), (truth.prompt,) * len(pixels))

    def seconds(names: tuple[str, ...], subjects: list[Subjects]) -> float:
        def call() -> None:
            for some in subjects:
                measure(pair, some, spec, names, embed=encoder)

        return fastest(call, REPEATS) / len(photos)

    singly = [photos.select([i]) for i in range(len(photos))]
    loop = {name: seconds((name,), singly) for name in DEEP}
    rows = [_row(name, SIGNALS[name].forwards(spec), loop[name]) for name in DEEP]
    for label, names in (("standard", STANDARD), ("deep", DEEP)):
        together = seconds(names, [photos])
        apart = sum(loop[name] for name in names)
        title = f"{SHARED}, {label} ({len(names)} signals)"
        gain = f"{apart / together:.1f}x of each alone, photo by photo"
        rows.append([title, str(planned_rows(names, spec)), f"{together:.3f}", gain])
    pair.close()
    title = f"White-box signals on the embedded demo model, {PHOTOS} photos"
    return title, ["signal", "rows per photo", "s per photo", "note"], rows


def _row(name: str, rows: int, seconds: float) -> list[str]:
    kind = "published" if SIGNALS[name].published else "own"
    return [name, str(rows), f"{seconds:.3f}", f"{kind}, alone, photo by photo"]
