"""From files to a finished case: load, check, screen, assemble, write the report and its twin."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..encoders import load_encoder
from ..errors import InputError, plural
from ..images.heat import overlay
from ..images.photos import Photos, png_bytes
from ..lora.formats import read_lora
from ..lora.inspection import Inspection, inspect_lora
from ..protocols import ImageEncoder, NoProgress, Progress
from ..rates import KnownRates, load_rates, shipped_rates
from ..rates.precedents import case_facts, precedents
from ..storage import CaseFolder, digest_of, open_case, sha256_bytes
from ..verdicts.evidence import Case, MembershipEvidence
from .book import heat_unit, item_records, picture_unit, small_picture, tool_facts, write_report
from .opening import open_request
from .placebos import group_digest
from .questions import build_question, recipe_for, with_counterfactuals
from .request import Request
from .screening import Findings, Question, planned_forwards, screen


def run_case(
    request: Request,
    *,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Case:
    """Screen a suspect and write the case folder: report.html, report.json, ledger, images.

    The same request resumes an interrupted case. Nothing is written before all inputs have been
    read and found usable.

    Args:
        request: what to screen.
        progress: long work.
        announce: told in sentences what will be done and at what cost.

    Raises:
        ForensicsError: one of its named kinds; the message says what to do.
    """
    started = time.monotonic()
    progress = progress or NoProgress()
    rates = shipped_rates() if request.rates is None else load_rates(request.rates)
    opened = open_request(request, progress)
    pair, inspection = opened.pair, opened.inspection
    photos, controls = opened.photos, opened.controls
    question = build_question(request, pair, inspection, photos, controls, opened.negatives)
    encoder = load_encoder(request.encoder, request.models)
    planned = planned_forwards(question, request.spec, request.lines)
    announce(
        f"{plural(len(photos), 'photo')}, {plural(len(controls), 'control')}; lines: "
        f"{', '.join(request.lines)}; planned: {plural(planned, 'denoiser forward')} "
        f"at {pair.resolution} px"
    )
    recipe = recipe_for(request, inspection, controls)
    facts = manifest(request, pair, question, encoder)
    folder = open_case(request.out, facts)
    try:
        question = with_counterfactuals(request, pair, question, recipe, folder, progress)
        findings = screen(
            pair, encoder, question, request.spec, lines=request.lines, case=folder,
            progress=progress,
        )  # fmt: skip
        case = assemble(
            request, pair, question, inspection, findings,
            case_id=digest_of(facts)[:12],
            pictures=keep_pictures(folder, photos) if request.pictures else {},
            heat=keep_heat(folder, photos, findings.heat) if request.pictures else {},
            rates=rates, dropped=opened.dropped, steps=opened.steps, planned=planned,
            seconds=time.monotonic() - started,
        )  # fmt: skip
        write_report(folder.root, case)
    finally:
        folder.close()
        pair.close()
    return case


def inspect_files(lora: Path, base: Path | None = None) -> Inspection:
    """Inspection of an adapter file, with its place on a base if one is given.

    Raises:
        LoraFormatError: the file is malformed, or does not fit the base.
        UnsafeFileError: it is no safetensors file.
    """
    if base is None:
        return inspect_lora(read_lora(lora))
    pair = open_pair(base, lora, device="cpu")
    try:
        if pair.lora is None:
            raise InputError("NOT_A_LORA", f"{lora} is a full checkpoint; inspect reads adapters")
        return inspect_lora(pair.lora, pair.binding)
    finally:
        pair.close()


def manifest(
    request: Request, pair: DiffusersPair, question: Question, encoder: ImageEncoder
) -> dict[str, Any]:
    """All that decides the results; a case resumes only under the same manifest."""
    weights = request.attack_weights
    return {
        "tool": __version__,
        "models": asdict(pair.hashes),
        "strength": request.strength,
        "device": pair.device.type,
        "dtype": str(pair.dtype),
        "photos": [s.sha256 for s in question.photos.images.sources],
        "controls": [s.sha256 for s in question.controls.images.sources],
        "prompts": list(question.prompts),
        "exchangeable": question.exchangeable,
        "encoder": asdict(encoder.id),
        "lines": list(request.lines),
        "settings": asdict(request.spec),
        "placebos": [group_digest(group) for group in question.nulls],
        "captions": list(question.captions) or None,
        "decoys": None if question.decoys is None else question.decoys.commitment,
        "negatives": question.negatives_from + _tensor_digest(question.negatives),
        "resnet": "" if weights is None else sha256_bytes(weights.read_bytes()),
    }


def _tensor_digest(tensor: torch.Tensor | None) -> str:
    return "" if tensor is None else ":" + sha256_bytes(tensor.numpy().tobytes())


def keep_pictures(folder: CaseFolder, photos: Photos) -> dict[int, str]:
    """Small pictures of the photos, for the contact sheet; path by photo number."""
    kept = {}
    for number, pixels in enumerate(photos.images.pixels):
        unit = picture_unit(number)
        if not folder.has(unit):
            folder.put(unit, ".png", png_bytes(small_picture(pixels)))
        kept[number] = f"{unit}.png"
    return kept


def keep_heat(folder: CaseFolder, photos: Photos, heat: torch.Tensor | None) -> dict[int, str]:
    """Heat maps over small pictures of the photos; path by photo number."""
    kept = {}
    for number, (pixels, map_) in enumerate(
        zip(photos.images.pixels, () if heat is None else heat, strict=False)
    ):
        unit = heat_unit(number)
        if not folder.has(unit):
            folder.put(unit, ".png", png_bytes(overlay(small_picture(pixels), map_)))
        kept[number] = f"{unit}.png"
    return kept


def assemble(
    request: Request,
    pair: DiffusersPair,
    question: Question,
    inspection: Inspection | None,
    findings: Findings,
    *,
    case_id: str,
    pictures: dict[int, str],
    heat: dict[int, str],
    rates: KnownRates | None,
    dropped: Sequence[str],
    steps: Sequence[str],
    planned: int,
    seconds: float,
) -> Case:
    """Everything that the report says."""
    lines = (findings.membership, findings.extraction, findings.attack)
    known, membership = _precedents(rates, pair, question, inspection, findings)
    return Case(
        case_id=case_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=request.command,
        tool=tool_facts(),
        models=pair.describe(),
        settings=asdict(request.spec),
        prompts=question.prompts,
        prompts_from="the user" if request.prompts else "the file's metadata",
        exchangeable=question.exchangeable,
        photos=item_records(question.photos, "photo", pictures, heat),
        controls=item_records(question.controls, "control", {}),
        duplicates_dropped=tuple(dropped),
        canonical=tuple(steps),
        known_rates=known,
        decoys=question.decoys,
        inspection={} if inspection is None else asdict(inspection),
        probe=findings.probe,
        membership=membership,
        extraction=findings.extraction,
        attack=findings.attack,
        verdict=findings.verdict,
        planned_forwards=planned,
        done_forwards=sum(line.forwards for line in lines if line is not None),
        seconds=round(seconds, 1),
    )


def _precedents(
    rates: KnownRates | None,
    pair: DiffusersPair,
    question: Question,
    inspection: Inspection | None,
    findings: Findings,
) -> tuple[dict[str, Any] | None, MembershipEvidence | None]:
    """What a calibration study knows about the case, if there is a study."""
    if rates is None or findings.membership is None:
        return None, findings.membership
    n, m = len(question.photos), len(question.controls)
    facts = case_facts(pair.describe(), inspection, n, m)
    return precedents(rates, facts, findings.membership, question.clusters)
