"""What one line found and about what, and a case made of such lines; ready for a report."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.backends.families import family_of_host
from ..core.casework.book import (
    heat_unit,
    item_records,
    picture_unit,
    small_picture,
    tool_facts,
    write_report,
)
from ..core.casework.decoy_files import known_by
from ..core.casework.screening import Findings
from ..core.decoys import DecoyRank, RankedPhoto, check_photos
from ..core.errors import InputError
from ..core.extraction.line import Extraction
from ..core.images.heat import overlay
from ..core.images.photos import Photos, pixels_sha256, png_bytes, sessions, to_picture
from ..core.rates import shipped_rates
from ..core.rates.precedents import case_facts, precedents
from ..core.report.pictures import contact_sheet
from ..core.storage import digest_of, write_atomic
from ..core.types import ModelHashes
from ..core.verdicts.evidence import Case, ExtractionEvidence, MembershipEvidence
from ._host import png_image, to_image, to_pixels
from ._photos import PhotoSet
from ._suspect import Suspect


@dataclass(frozen=True, eq=False)
class Evidence:
    """One line's finding.

    Attributes:
        line: ``membership``, ``extraction`` or ``attack``.
        found: the evidence.
        question: digest of suspect, photos and controls; lines of two questions never mix.
        facts: ``settings`` by line; of the white-box line also models and prompts.
        pictures: files that the report shows, by path, ``[3, H, W]`` in 0..1.
    """

    line: str
    found: Any
    question: str
    facts: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Drawn:
    """An extraction and the settings that it was drawn with."""

    found: Extraction
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Rank of a published variant among its decoys, in which models, and of which photos."""

    rank: DecoyRank
    models: ModelHashes
    photos: tuple[RankedPhoto, ...]


@dataclass(frozen=True, eq=False)
class CaseBundle:
    """A case and its pictures by path."""

    case: Case
    pictures: dict[str, Tensor]


def question_of(suspect: Suspect, photos: Photos, controls: Photos) -> str:
    """Identity of a question: which suspect, which photos, which controls, at which size."""
    sets = [[s.sha256 for s in p.images.sources] for p in (photos, controls)]
    return digest_of([asdict(suspect.hashes), suspect.strength, *sets])


def check_same_question(question: str, lines: Sequence[Evidence]) -> None:
    """Evidence about other photos, controls or suspects is refused.

    Raises:
        InputError: MIXED_EVIDENCE.
    """
    if other := [line.line for line in lines if line.question != question]:
        raise InputError(
            "MIXED_EVIDENCE",
            f"{', '.join(other)} is about another suspect, other photos or controls, or another "
            "resolution; connect the same suspect, photos, controls and resolution to every line",
        )


def checked_rank(suspect: Suspect, photos: PhotoSet, decoys: Ranked | None) -> DecoyRank | None:
    """The rank, if it is about this suspect and about these photos.

    Raises:
        InputError: OTHER_SUSPECT, OTHER_PHOTOS.
    """
    if decoys is None:
        return None
    if decoys.models != suspect.hashes:
        raise InputError(
            "OTHER_SUSPECT",
            "the decoys were ranked in another base or suspect; connect the same suspect to both",
        )
    check_photos(decoys.photos, _known_by(photos))
    return decoys.rank


def _known_by(photos: PhotoSet) -> list[tuple[str, ...]]:
    """Hashes of each photo as it came: of its file, of its pixels, or of both."""
    done = () if photos.ready is None else photos.ready.facts
    pixels = (p for batch in photos.images for p in to_pixels(batch))
    return [
        *((fact.sha256,) for fact in done),
        *known_by(photos.files),
        *((pixels_sha256(to_picture(p)),) for p in pixels),
    ]


def photo_pictures(photos: Photos) -> dict[str, Tensor]:
    """Small pictures of the photos by the path that the report looks for."""
    return {_picture(i): small_picture(p) for i, p in enumerate(photos.images.pixels)}


def heat_pictures(photos: Photos, heat: Tensor | None) -> dict[str, Tensor]:
    """Where the adapter helps, over small pictures of the photos, by the report's path."""
    maps = () if heat is None else heat
    return {
        _heat(i): overlay(small_picture(p), m)
        for i, (p, m) in enumerate(zip(photos.images.pixels, maps, strict=bool(len(maps))))
    }


def _heat(number: int) -> str:
    return f"{heat_unit(number)}.png"


def _picture(number: int) -> str:
    return f"{picture_unit(number)}.png"


def bundle(
    suspect: Suspect,
    photos: Photos,
    controls: Photos,
    findings: Findings,
    *,
    facts: Mapping[str, Any],
    exchangeable: bool,
    dropped: Sequence[str],
    pictures: Mapping[str, Tensor],
    decoys: DecoyRank | None = None,
    steps: Sequence[str] = (),
) -> CaseBundle:
    """Everything that the report says.

    Args:
        facts: ``prompts``, ``prompts_from``, ``settings`` and ``models``.
        pictures: of extracted images and heat maps, by path.
        decoys: rank of the published variant.
        steps: what photos and controls went through alike, in words.
    """
    numbers = range(len(photos))
    known, membership = known_of(suspect, photos, controls, findings, facts["models"])
    lines = [x for x in (findings.membership, findings.extraction, findings.attack) if x]
    forwards = sum(line.forwards for line in lines)
    case = Case(
        case_id=digest_of([question_of(suspect, photos, controls), facts["settings"]])[:12],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command="ComfyUI",
        tool=tool_facts(),
        models=dict(facts["models"]),
        settings=dict(facts["settings"]),
        prompts=tuple(facts["prompts"]),
        prompts_from=facts["prompts_from"],
        exchangeable=exchangeable,
        photos=item_records(
            photos,
            "photo",
            {i: _picture(i) for i in numbers},
            {i: _heat(i) for i in numbers if _heat(i) in pictures},
        ),
        controls=item_records(controls, "control", {}),
        duplicates_dropped=tuple(dropped),
        inspection={} if suspect.inspection is None else asdict(suspect.inspection),
        probe=findings.probe,
        known_rates=known,
        membership=membership,
        extraction=findings.extraction,
        attack=findings.attack,
        verdict=findings.verdict,
        planned_forwards=forwards,
        done_forwards=forwards,
        seconds=None,
        decoys=decoys,
        canonical=tuple(steps),
    )
    return CaseBundle(case, {**photo_pictures(photos), **pictures})


def known_of(
    suspect: Suspect,
    photos: Photos,
    controls: Photos,
    findings: Findings,
    models: Mapping[str, Any],
) -> tuple[dict[str, Any] | None, MembershipEvidence | None]:
    """What the shipped calibration study knows about a case, and the white-box line with it.

    A graph's base is known by its weights as they run, not by its file: a case is inside a study's
    range only if the study was made on that hash.
    """
    rates = shipped_rates()
    if rates is None or findings.membership is None:
        return None, findings.membership
    family = family_of_host(models["family"])
    named = {} if family is None else {"family": family.name}
    facts = case_facts({**models, **named}, suspect.inspection, len(photos), len(controls))
    both = (*sessions(photos), *sessions(controls))
    return precedents(rates, facts, findings.membership, both)


def write_bundle(root: Path, made: CaseBundle) -> None:
    """Pictures, report.json and report.html below `root`."""
    write_pictures(root, made.pictures)
    write_report(root, made.case)


def write_pictures(root: Path, pictures: Mapping[str, Tensor]) -> None:
    """PNG files by path below `root`."""
    for relative, pixels in pictures.items():
        write_atomic(root / relative, png_bytes(pixels))


def pairs_sheet(found: ExtractionEvidence, pictures: Mapping[str, Tensor]) -> Tensor:
    """IMAGE of each extracted picture beside its nearest photo."""
    rows = [(e.file, _picture(e.nearest_photo), f"{e.similarity:.2f}") for e in found.extracted]
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), pictures)
        return png_image(contact_sheet(Path(folder), rows, cell=128))


def grid(pixels: Tensor, columns: int = 8) -> Tensor:
    """IMAGE of many pictures in rows."""
    cells = torch.stack([small_picture(p) for p in pixels])
    columns = min(columns, len(cells))
    missing = -len(cells) % columns
    if missing:
        cells = torch.cat([cells, torch.ones_like(cells[:1]).expand(missing, -1, -1, -1)])
    rows = [torch.cat(list(cells[i : i + columns]), 2) for i in range(0, len(cells), columns)]
    return to_image(torch.cat(rows, 1)[None])
