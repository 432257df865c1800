"""One builder of a case for every door: a question, what was found, and what the door knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ForensicsError
from ..images.photos import Photos
from ..lora.inspection import Inspection
from ..rates.facts import KnownRates
from ..rates.precedents import case_facts, precedents
from ..storage import digest_of
from ..verdicts.case import Case, Findings, ItemRecord
from ..verdicts.evidence import MembershipEvidence
from ..verdicts.verdict import error_verdict
from .book import tool_facts, write_report
from .exhibits import heat_path, photo_path, write_pictures
from .screening import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a door knows of a case beside the question and the findings.

    Attributes:
        case_id: identity of the case.
        command: what repeats it.
        models: facts of the pair, as it describes itself.
        settings: by line.
        prompts_from: where the prompts were taken, in words.
        family: of the base, as a calibration study names it.
        inspection: of the suspect's file; None where there is no file that the core reads.
        dropped: names of files that were there twice.
        canonical: what photos and controls went through alike, in words.
        seconds: that it took; None where nobody timed it.
    """

    case_id: str
    command: str
    models: Mapping[str, Any]
    settings: Mapping[str, Any]
    prompts_from: str = ""
    family: str = ""
    inspection: Inspection | None = None
    dropped: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CaseBundle:
    """A case and its pictures ``[3, H, W]`` by path, not written yet."""

    case: Case
    pictures: dict[str, Tensor]

    def write(self, root: Path) -> None:
        """Pictures, report.json and report.html below `root`."""
        write_pictures(root, self.pictures)
        write_report(root, self.case)


def build_case(
    question: Question,
    findings: Findings,
    about: Circumstances,
    *,
    rates: KnownRates | None,
    shown: Collection[str] = (),
) -> Case:
    """Everything that the report says.

    Args:
        question: what was asked.
        findings: what the lines found.
        about: what the door knows.
        rates: of a calibration study; None where there is none.
        shown: paths of the pictures that are kept.
    """
    known, membership = _known(question, findings, about, rates)
    own = {f.name: getattr(findings, f.name) for f in fields(Findings)} | {"membership": membership}
    return Case(
        **own,
        **_frame(about),
        prompts=question.prompts,
        exchangeable=question.exchangeable,
        photos=item_records(question.sets.photos, "photo", shown),
        controls=item_records(question.sets.controls, "control"),
        known_rates=known,
        forwards=sum(line.forwards for line in findings.lines.values()),
    )


def failed_case(error: ForensicsError, *, command: str, models: Mapping[str, Any]) -> Case:
    """The case of a file that could not be analyzed; never "clean".

    Args:
        error: why.
        command: what repeats it.
        models: names of the files.
    """
    case_id = digest_of([str(error), dict(models)])[:12]
    about = Circumstances(case_id=case_id, command=command, models=models, settings={})
    return Case(verdict=error_verdict(error), **_frame(about))


def _frame(about: Circumstances) -> dict[str, Any]:
    return {
        "case_id": about.case_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": about.command,
        "tool": tool_facts(),
        "models": dict(about.models),
        "settings": dict(about.settings),
        "prompts_from": about.prompts_from,
        "inspection": {} if about.inspection is None else asdict(about.inspection),
        "duplicates_dropped": about.dropped,
        "canonical": about.canonical,
        "seconds": about.seconds,
    }


def _known(
    question: Question, findings: Findings, about: Circumstances, rates: KnownRates | None
) -> tuple[dict[str, Any] | None, MembershipEvidence | None]:
    """What a calibration study knows about the case, and the white-box line with it."""
    if rates is None or findings.membership is None:
        return None, findings.membership
    sets = question.sets
    models = {**about.models, "family": about.family or about.models["family"]}
    facts = case_facts(models, about.inspection, len(sets.photos), len(sets.controls))
    return precedents(rates, facts, findings.membership, sets.sessions)


def item_records(photos: Photos, kind: str, shown: Collection[str] = ()) -> tuple[ItemRecord, ...]:
    """Photos as the report lists them: by number and hash, never by name."""
    return tuple(
        ItemRecord(
            number=i,
            name=f"{kind} {i}",
            sha256=f.sha256,
            pixels_sha256=s.sha256,
            width=f.width,
            height=f.height,
            format=f.format,
            picture=path if (path := photo_path(i)) in shown else "",
            heat=path if (path := heat_path(i)) in shown else "",
        )
        for i, (f, s) in enumerate(zip(photos.facts, photos.images.sources, strict=True))
    )
