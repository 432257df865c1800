"""Lines of evidence that were run one by one, and the question that holds them together.

A graph runs each line in a node of its own; what they found makes one case only where all of them
were asked about the same suspect, photos and controls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from ..decoys import DecoyRank, RankedPhoto, check_photos
from ..errors import InputError
from ..extraction.line import Extraction
from ..images.photos import pixels_sha256, to_picture
from ..images.sets import Sets
from ..storage import digest_of
from ..types import ModelHashes
from ..verdicts.evidence import AttackEvidence, ExtractionEvidence, MembershipEvidence
from .decoy_files import known_by
from .photo_sets import PhotoSet


@dataclass(frozen=True, eq=False)
class LineEvidence:
    """What one line found, and about what.

    Attributes:
        line: ``membership``, ``extraction`` or ``attack``.
        evidence: what it found.
        question: `question_digest`; lines of two questions never mix.
        facts: ``settings`` by line; of the white-box line also ``models`` and ``prompts``.
        pictures: files that the report shows, by path, ``[3, H, W]`` in 0..1.
    """

    line: str
    evidence: MembershipEvidence | ExtractionEvidence | AttackEvidence
    question: str
    facts: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DrawnExtraction:
    """An extraction and the settings that it was drawn with."""

    extraction: Extraction
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class DecoysRanked:
    """Rank of a published variant among its decoys, in which models, and of which photos."""

    rank: DecoyRank
    models: ModelHashes
    photos: tuple[RankedPhoto, ...]


def question_digest(models: ModelHashes, strength: float, sets: Sets) -> str:
    """Identity of a question: which suspect, which photos, which controls, at which size."""
    hashes = [[s.sha256 for s in p.images.sources] for p in (sets.photos, sets.controls)]
    return digest_of([asdict(models), strength, *hashes])


def named_lines(**given: LineEvidence | None) -> dict[str, LineEvidence]:
    """Evidence by line, without the lines that did not run.

    Raises:
        InputError: BAD_INPUT when a line is given as another.
    """
    lines = {name: line for name, line in given.items() if line is not None}
    for name, line in lines.items():
        if line.line != name:
            raise InputError("BAD_INPUT", f"input {name} got evidence of {line.line}")
    return lines


def check_question(question: str, lines: Mapping[str, LineEvidence]) -> None:
    """All lines are about one question.

    Raises:
        InputError: MIXED_EVIDENCE.
    """
    if other := [name for name, line in lines.items() if line.question != question]:
        raise InputError(
            "MIXED_EVIDENCE",
            f"{', '.join(other)} is about another suspect, other photos or controls, or another "
            "resolution; connect the same suspect, photos, controls and resolution to every line",
        )


def merged_facts(lines: Mapping[str, LineEvidence]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings of all lines, and their pictures by path."""
    settings = {k: v for line in lines.values() for k, v in line.facts["settings"].items()}
    return settings, {k: v for line in lines.values() for k, v in line.pictures.items()}


def checked_rank(
    models: ModelHashes, photos: PhotoSet, decoys: DecoysRanked | None
) -> DecoyRank | None:
    """The rank, if it is about this suspect and about these photos.

    Raises:
        InputError: OTHER_SUSPECT, OTHER_PHOTOS.
    """
    if decoys is None:
        return None
    if decoys.models != models:
        raise InputError(
            "OTHER_SUSPECT",
            "the decoys were ranked in another base or suspect; connect the same suspect to both",
        )
    check_photos(decoys.photos, _known_hashes(photos))
    return decoys.rank


def _known_hashes(photos: PhotoSet) -> list[tuple[str, ...]]:
    """Hashes of each photo as it came: of its file, of its pixels, or of both."""
    done = () if photos.ready is None else photos.ready.facts
    pixels = (p for batch in photos.pixels for p in batch)
    return [
        *((fact.sha256,) for fact in done),
        *known_by(photos.files),
        *((pixels_sha256(to_picture(p)),) for p in pixels),
    ]
