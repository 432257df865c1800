"""From files to a finished case: load, check, screen, build, write the report and its twin."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..encoders import load_encoder
from ..errors import (
    ForensicsError,
    InputError,
    LoraFormatError,
    RunError,
    UnsafeFileError,
    plural,
)
from ..images.photos import png_bytes
from ..lora.formats import read_lora
from ..lora.inspection import Inspection, inspect_lora
from ..protocols import QUIET, ImageEncoder, Progress
from ..rates.reading import load_rates, shipped_rates
from ..storage import FAILED, CaseFolder, Work, digest_of, open_case, sha256_bytes
from ..verdicts.case import Case
from .book import write_report
from .bundle import Circumstances, build_case, failed_case
from .exhibits import exhibits
from .opening import check_folders, open_base, open_sets, open_suspect
from .placebos import group_digest
from .questions import build_question, recipe_for, with_counterfactuals
from .request import Request
from .screening import Question, planned_forwards, screen


def run_case(
    request: Request,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> Case:
    """Screen a suspect and write the case folder: report.html, report.json, ledger, images.

    The same request resumes an interrupted case. Nothing is written before all inputs have been
    read and found usable; a suspect that cannot be analyzed makes a case with the verdict ERROR.

    Args:
        request: what to screen.
        progress: long work.
        announce: told in sentences what will be done and at what cost.

    Raises:
        ForensicsError: one of its named kinds; the message says what to do.
    """
    started = time.monotonic()
    rates = shipped_rates() if request.rates is None else load_rates(request.rates)
    folders = check_folders(request)
    base = open_base(request)
    try:
        pair, inspection = open_suspect(request, base)
    except (LoraFormatError, UnsafeFileError) as error:
        return _failed(request, error)
    opened = open_sets(request, folders, pair, inspection, progress=progress)
    question = build_question(request, pair, inspection, opened.sets, opened.negatives)
    encoder = load_encoder(request.encoder, request.models, device=str(pair.device))
    planned = planned_forwards(question, request.spec, request.lines)
    announce(
        f"{opened.sets.counted}; lines: {', '.join(request.lines)}; planned: "
        f"{plural(planned, 'denoiser forward')} at {pair.resolution} px"
    )
    recipe = recipe_for(request, inspection, opened.sets.controls)
    facts = manifest(request, pair, question, encoder)
    with closing(pair), closing(open_case(request.out, facts)) as folder:
        question = with_counterfactuals(request, pair, question, recipe, folder, progress)
        screened = screen(
            pair, encoder, question, request.spec, lines=request.lines, work=Work(folder, progress),
        )  # fmt: skip
        alike = screened.findings.look_alikes
        pictures = exhibits(question.sets, screened.heat, alike) if request.pictures else {}
        _keep(folder, pictures)
        about = Circumstances(
            case_id=digest_of(facts)[:12],
            command=request.command,
            models=pair.describe(),
            settings=asdict(request.spec),
            prompts_from="the user" if request.prompts else "the file's metadata",
            inspection=inspection,
            dropped=opened.dropped,
            canonical=opened.steps,
            seconds=round(time.monotonic() - started, 1),
        )
        case = build_case(question, screened.findings, about, rates=rates, shown=pictures)
        write_report(folder.root, case)
    return case


def _failed(request: Request, error: ForensicsError) -> Case:
    """The case of a suspect that could not be analyzed, with its report; the error stays named.

    Raises:
        ForensicsError: `error` itself where the folder belongs to another case.
    """
    models = {"base": request.base.name, "tuned": request.tuned.name}
    case = failed_case(error, command=request.command, models=models)
    try:
        open_case(request.out, {FAILED: str(error), **models}).close()
    except RunError:
        raise error from None
    write_report(request.out, case)
    return case


def _keep(folder: CaseFolder, pictures: Mapping[str, Tensor]) -> None:
    for path, pixels in pictures.items():
        unit = path.removesuffix(".png")
        if not folder.has(unit):
            folder.put(unit, ".png", png_bytes(pixels))


def inspect_files(lora: Path, base: Path | None = None) -> Inspection:
    """Inspection of an adapter file, with its place on a base if one is given.

    Raises:
        LoraFormatError: the file is malformed, or does not fit the base.
        UnsafeFileError: it is not a safetensors file.
    """
    if base is None:
        return inspect_lora(read_lora(lora))
    with closing(open_pair(base, lora, device="cpu")) as pair:
        if pair.lora is None:
            raise InputError("NOT_A_LORA", f"{lora} is a full checkpoint; inspect reads adapters")
        return inspect_lora(pair.lora, pair.binding, base=base, base_sha256=pair.hashes.base)


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
        "photos": [s.sha256 for s in question.sets.photos.images.sources],
        "controls": [s.sha256 for s in question.sets.controls.images.sources],
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
