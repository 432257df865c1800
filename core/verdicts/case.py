"""A finished case: what the lines found, the verdict, and all that a report says beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..decoys import DecoyRank
from ..statistics.probe import BlindProbe
from .evidence import AttackEvidence, ExtractionEvidence, MembershipEvidence

SCHEMA_VERSION = 3
ReasonKind = Literal[
    "decisive",  # why this letter
    "cause",  # why there is no letter
    "met",  # a condition of the letters A and B holds
    "not_met",
    "undecided",  # too little data to say whether it holds
    "found",  # a secondary line found a difference
    "not_found",
    "measured",  # a figure without a bar of its own
    "not_run",
    "noted",
]


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A control that may show the same picture as a photo in question.

    Attributes:
        photo: index of the photo.
        control: its name in the report; that of its file where it was set aside.
        similarity: cosine of their descriptors.
        set_aside: it is the photo but for size, compression, crop or mirroring, and was not
            compared; else only the descriptor takes the two for copies.
        picture: path below the case folder; empty where it is not shown.
    """

    photo: int
    control: str
    similarity: float
    set_aside: bool = False
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence behind a verdict, and what kind of finding it states."""

    kind: ReasonKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worded answer.

    Attributes:
        letter: ``A``, ``B``, ``C`` or ``D``; ``ERROR`` when the file could not be analysed.
        headline: the fixed words of the letter.
        reasons: what each gate found, in the order it was asked.
        caveats: what the reader must know before acting.
        error_rates: the rates behind the words.
        photos_needed: photos that would be needed, when the letter is D for want of data.
    """

    letter: str
    headline: str
    reasons: tuple[Reason, ...]
    caveats: tuple[str, ...]
    error_rates: tuple[str, ...]
    photos_needed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRecord:
    """One photo, control or file of the case; `picture` and `heat` are paths below its folder."""

    number: int
    name: str
    sha256: str
    pixels_sha256: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    picture: str = ""
    heat: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the lines found, None where a line did not run, and the verdict that follows.

    A report section of its own begins here: a field of this record is filled by the screening,
    carried into the `Case` by the builder, and shown by a view of the report.

    Attributes:
        probe: whether photos and controls differ before any model is asked.
        look_alikes: photos whose near-twins stand among the controls, for a person to look at.
        membership: the white-box line, which the verdict rests on.
        extraction: secondary line.
        attack: secondary line.
        decoys: rank of the published variant, where the photos' owner drew decoys.
        verdict: the worded answer.
    """

    probe: BlindProbe | None = None
    look_alikes: tuple[LookAlike, ...] = ()
    membership: MembershipEvidence | None = None
    extraction: ExtractionEvidence | None = None
    attack: AttackEvidence | None = None
    decoys: DecoyRank | None = None
    verdict: Verdict

    @property
    def lines(self) -> dict[str, MembershipEvidence | ExtractionEvidence | AttackEvidence]:
        """The lines that ran and compared photos with controls, by key."""
        every = (("membership", self.membership), ("extraction", self.extraction))
        return {key: e for key, e in (*every, ("attack", self.attack)) if e is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Findings):
    """Everything that a report says; the JSON twin of the HTML file.

    Attributes:
        forwards: denoiser rows that the lines spent.
        seconds: None where nobody timed it, as in a graph.
        canonical: what photos and controls went through alike, in words.
    """

    case_id: str = ""
    created: str = ""
    command: str = ""
    tool: dict[str, str] = field(default_factory=dict)
    models: dict[str, object] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    prompts_from: str = ""
    exchangeable: bool = False
    photos: tuple[ItemRecord, ...] = ()
    controls: tuple[ItemRecord, ...] = ()
    duplicates_dropped: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    inspection: dict[str, object] = field(default_factory=dict)
    known_rates: dict[str, Any] | None = None
    forwards: int = 0
    seconds: float | None = None
    schema_version: int = SCHEMA_VERSION
