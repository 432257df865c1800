"""From pictures to maps: files in; heat map, mask, facts and a report page a picture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import __version__
from ..errors import InputError, plural
from ..images.heat import tinted
from ..images.photos import FileFacts, decode_file, png_bytes, to_picture, to_tensor
from ..localization.files import Localizer, load_localizer
from ..localization.localizing import Localization, localize
from ..localization.settings import LocalizeSpec
from ..localization.shipped import load_shipped
from ..protocols import QUIET, Progress
from ..report.localization import render_localization
from ..report.twin import render_json
from ..storage import write_atomic
from .intake import check_output, named_pictures
from .request import LocalizeRequest

ASKED = "asked"
SEEN = {"in": "seen in training", "out": "never seen in training", ASKED: "in this set"}
SHOWN = 1024  # pixels of the longer side of a heat map and of the page's pictures


@dataclass(frozen=True, slots=True)
class Localized:
    """What happened to one picture.

    Attributes:
        file: the picture.
        page: its report; None after an error.
        score: of the picture.
        area: share of pixels marked.
        blank: the gate withheld the map.
        error: why there is no map.
    """

    file: Path
    page: Path | None
    score: float = 0.0
    area: float = 0.0
    blank: bool = False
    error: str = ""


def localize_files(
    request: LocalizeRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> tuple[Localized, ...]:
    """Localize every picture; one that cannot be read is reported and the others go on.

    Raises:
        ForensicsError: the localizer, or the only picture, cannot be used.
    """
    check_output(request.out)
    files = named_pictures(request.pictures)
    localizer = _localizer(request)
    announce(words_of_card(localizer))
    done = [
        _one(file, name, localizer, request, progress, alone=len(files) == 1)
        for file, name in files
    ]
    return tuple(done)


def _localizer(request: LocalizeRequest) -> Localizer:
    if request.model is None:
        return load_shipped(request.device)
    return load_localizer(request.model, request.device)


def words_of_card(localizer: Localizer) -> str:
    """A localizer's figures, printed wherever its map is shown."""
    card = localizer.card
    rows = [
        f"  {m.name} ({SEEN[m.domain]}): IoU {m.iou:.2f} "
        f"of {plural(m.pictures, 'picture')}; marking everything gives {m.all_fake_iou:.2f}"
        for m in card.measured
    ]
    alarms = [
        f"  {u.name} ({SEEN[u.domain]}): nothing repainted, yet {u.marked} of {u.pictures} marked"
        for u in card.untouched
    ]
    gate = "no gate: it marks something on every picture" if card.gate is None else "gated"
    head = f"localizer: {card.method}, {gate}, trained on {card.trained_on}"
    return "\n".join([head, *rows, *alarms])


def _one(
    file: Path,
    name: str,
    localizer: Localizer,
    request: LocalizeRequest,
    progress: Progress,
    *,
    alone: bool,
) -> Localized:
    try:
        picture, facts = decode_file(file)
        localization = localize(picture, localizer, request.spec, progress=progress)
    except InputError as error:
        if alone:
            raise
        return Localized(file, None, error=str(error))
    page = _write(request.out / name, picture, facts, localization, localizer, request.spec)
    return Localized(file, page, localization.score, localization.area, localization.blank)


def _write(
    folder: Path,
    picture: Image.Image,
    facts: FileFacts,
    made: Localization,
    localizer: Localizer,
    spec: LocalizeSpec,
) -> Path:
    told = told_of(facts, made, localizer, spec)
    shown, heat = _shown(picture, made.map), _shown(picture, made.raw)
    marked = (made.map > spec.threshold).float()
    write_atomic(folder / "map.png", png_bytes(made.map.expand(3, -1, -1)))
    write_atomic(folder / "mask.png", png_bytes(marked.expand(3, -1, -1)))
    write_atomic(folder / "heat.png", png_bytes(to_tensor(shown)))
    write_atomic(folder / "report.json", render_json(told).encode())
    pictures = {"The picture": _small(picture), "The map": shown}
    if made.blank:
        pictures["Withheld by the gate"] = heat
    page = folder / "report.html"
    write_atomic(page, render_localization(told, pictures).encode())
    return page


def told_of(
    facts: FileFacts, made: Localization, localizer: Localizer, spec: LocalizeSpec
) -> dict[str, Any]:
    """Everything that the page says, as plain facts."""
    inside = made.map > spec.threshold
    sure = made.confidence[inside] if bool(inside.any()) else made.confidence.flatten()
    found = {
        "score": made.score,
        "p": made.p,
        "area": made.area,
        "blank": made.blank,
        "confidence": float(sure.mean()),
        "tiles": made.tiles,
    }
    kept = ("name", "sha256", "width", "height", "format")
    return {
        "schema_version": 1,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "picture": {k: getattr(facts, k) for k in kept},
        "found": found,
        "card": asdict(localizer.card) | {"gate": localizer.card.gate},
        "localizer": localizer.sha256,
        "settings": asdict(spec),
        "tool": __version__,
    }


def _shown(picture: Image.Image, amount: Tensor) -> Image.Image:
    small = _small(picture)
    scaled = Image.fromarray(amount.numpy()).resize(small.size, Image.Resampling.BILINEAR)
    return to_picture(tinted(to_tensor(small), torch.from_numpy(np.array(scaled))))


def _small(picture: Image.Image) -> Image.Image:
    if max(picture.size) <= SHOWN:
        return picture
    scale = SHOWN / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)
