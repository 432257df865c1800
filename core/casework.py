"""From files to a finished case: load, check, screen, assemble, write the report and its twin."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .backends.diffusers import DiffusersPair
from .backends.loading import open_pair
from .casebook import heat_unit, item_records, picture_unit, small_picture, tool_facts, write_report
from .counterfactual import Recipe, counterfactual_group, recipe_of, split_controls
from .encoders import load_encoder
from .errors import InputError
from .evidence import Case
from .heat import overlay
from .images import Photos, check_disjoint, drop_duplicates, image_files, load_photos, png_bytes
from .intake import (
    check_counts,
    check_output,
    recovered_prompts,
    stop_if_minor,
)
from .lora.formats import read_lora
from .lora.inspection import Inspection, inspect_lora
from .lora.safeguard import stop_words
from .null_ranks import NullGroup
from .placebos import group_digest, placebo_files, placebo_group
from .protocols import ImageEncoder, NoProgress, Progress
from .screening import LINES, Findings, Question, planned_forwards, screen
from .specs import PRESETS, ScreenSpec
from .storage import CaseFolder, digest_of, open_case, sha256_bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for, as paths and settings.

    Attributes:
        base: diffusers folder or single-file checkpoint.
        tuned: suspect LoRA, or a full tuned checkpoint.
        photos: folder of the photos in question.
        controls: folder of photos that were certainly not used.
        out: case folder.
        prompts: given by the person; empty takes them from the file's metadata.
        exchangeable: see `screening.Question`.
        spec: all settings.
        lines: lines of evidence to run.
        encoder: copy descriptor's name.
        models: folder with weights that the person brings.
        device: ``auto``, ``cpu``, ``cuda``.
        dtype: ``auto``, ``float32``, ``float16``, ``bfloat16``.
        strength: adapter strength.
        negatives: folder of label-0 images for the attack.
        shadow: LoRA whose images are label 0 for the attack.
        placebos: folder of adapters that were certainly not trained on the photos.
        resnet: ImageNet weights of the attack model.
        pictures: keep small pictures of the photos for the report.
        minor_suspected: the person says that the material may show a minor.
        command: the command line, for the report.
    """

    base: Path
    tuned: Path
    photos: Path
    controls: Path
    out: Path
    prompts: tuple[str, ...] = ()
    exchangeable: bool = False
    spec: ScreenSpec = field(default_factory=lambda: PRESETS["standard"])
    lines: tuple[str, ...] = LINES
    encoder: str = "auto"
    models: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    strength: float = 1.0
    negatives: Path | None = None
    shadow: Path | None = None
    placebos: Path | None = None
    resnet: Path | None = None
    pictures: bool = True
    minor_suspected: bool = False
    command: str = ""


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
    check_output(request.out)
    photo_files, control_files = image_files(request.photos), image_files(request.controls)
    check_counts(len(photo_files), len(control_files))
    pair = open_pair(
        request.base,
        request.tuned,
        strength=request.strength,
        device=request.device,
        dtype=request.dtype,
    )
    inspection = inspect_pair(pair)
    safeguard(request, inspection)
    photos = load_photos(photo_files, "photo", pair.resolution)
    controls = load_photos(control_files, "control", pair.resolution)
    check_disjoint(photos, controls)
    photos, dropped = drop_duplicates(photos)
    controls, dropped_controls = drop_duplicates(controls)
    check_counts(len(photos), len(controls))
    question = build_question(request, pair, inspection, photos, controls)
    encoder = load_encoder(request.encoder, request.models)
    planned = planned_forwards(question, request.spec, request.lines)
    announce(
        f"{len(photos)} photos, {len(controls)} controls; lines: {', '.join(request.lines)}; "
        f"planned: {planned:,} denoiser forwards at {pair.resolution} px"
    )
    recipe = _recipe(request, inspection, len(controls))
    facts = manifest(request, pair, question, encoder)
    folder = open_case(request.out, facts)
    try:
        question = _with_counterfactuals(request, pair, question, recipe, folder, progress)
        findings = screen(
            pair, encoder, question, request.spec, lines=request.lines, case=folder,
            progress=progress,
        )  # fmt: skip
        case = assemble(
            request, pair, question, inspection, findings,
            case_id=digest_of(facts)[:12],
            pictures=keep_pictures(folder, photos) if request.pictures else {},
            heat=keep_heat(folder, photos, findings.heat) if request.pictures else {},
            dropped=(*dropped, *dropped_controls), planned=planned,
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


def inspect_pair(pair: DiffusersPair) -> Inspection | None:
    """Inspection of the suspect's file; None for a full checkpoint."""
    return None if pair.lora is None else inspect_lora(pair.lora, pair.binding)


def safeguard(request: Request, inspection: Inspection | None) -> None:
    """Stop before any sampling when anything points to a minor.

    Raises:
        ForensicsError: MINOR_SUSPECTED; only `inspect` may go on.
    """
    found = () if inspection is None else inspection.stop_words
    texts = [request.tuned.name, *request.prompts]
    stop_if_minor([*stop_words(texts), *found], flagged=request.minor_suspected)


def build_question(
    request: Request,
    pair: DiffusersPair,
    inspection: Inspection | None,
    photos: Photos,
    controls: Photos,
) -> Question:
    """Photos, controls and prompts as the screening wants them."""
    recovered = recovered_prompts(inspection)
    negatives, negatives_from = None, "base"
    if request.negatives is not None and "attack" in request.lines:
        files = image_files(request.negatives)
        negatives = load_photos(files, "control", pair.resolution).images.pixels
        negatives_from = "folder"
    elif request.shadow is not None and "attack" in request.lines:
        negatives, negatives_from = _shadow_images(request, recovered), "shadow"
    return Question(
        photos,
        controls,
        request.prompts or recovered or ("",),
        request.exchangeable,
        0 if inspection is None else inspection.claims.images or 0,
        negatives,
        negatives_from,
        request.resnet,
        _placebos(request, pair),
    )


def _placebos(request: Request, pair: DiffusersPair) -> tuple[NullGroup, ...]:
    if request.placebos is None or "membership" not in request.lines:
        return ()
    return (placebo_group(pair, placebo_files(request.placebos)),)


def _recipe(request: Request, inspection: Inspection | None, controls: int) -> Recipe | None:
    """The recipe that counterfactuals repeat, if any are wanted; errors before any work."""
    if not request.spec.membership.counterfactuals or "membership" not in request.lines:
        return None
    if inspection is None:
        raise InputError(
            "NO_RECIPE", "a full checkpoint states no recipe; give placebo checkpoints instead"
        )
    split_controls(controls, request.spec.membership.seed)
    return recipe_of(inspection)


def _with_counterfactuals(
    request: Request,
    pair: DiffusersPair,
    question: Question,
    recipe: Recipe | None,
    folder: CaseFolder,
    progress: Progress,
) -> Question:
    if recipe is None:
        return question
    settings = request.spec.membership
    group = counterfactual_group(
        pair, question.controls.images.pixels, question.prompts[0], recipe,
        settings.counterfactuals, seed=settings.seed, case=folder, progress=progress,
    )  # fmt: skip
    return replace(question, nulls=(*question.nulls, group))


def _shadow_images(request: Request, recovered: tuple[str, ...]) -> torch.Tensor:
    from .blackbox import draw_arm
    from .types import TUNED

    assert request.shadow is not None
    shadow = open_pair(request.base, request.shadow, device=request.device, dtype=request.dtype)
    try:
        prompts = recovered_prompts(inspect_pair(shadow)) or request.prompts or recovered or ("",)
        return draw_arm(shadow, prompts, TUNED, request.spec.attack).pixels
    finally:
        shadow.close()


def manifest(
    request: Request, pair: DiffusersPair, question: Question, encoder: ImageEncoder
) -> dict[str, Any]:
    """All that decides the results; a case resumes only under the same manifest."""
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
        "negatives": question.negatives_from + _tensor_digest(question.negatives),
        "resnet": "" if request.resnet is None else sha256_bytes(request.resnet.read_bytes()),
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
    dropped: Sequence[str],
    planned: int,
    seconds: float,
) -> Case:
    """Everything that the report says."""
    lines = (findings.membership, findings.extraction, findings.attack)
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
        inspection={} if inspection is None else asdict(inspection),
        probe=findings.probe,
        membership=findings.membership,
        extraction=findings.extraction,
        attack=findings.attack,
        verdict=findings.verdict,
        planned_forwards=planned,
        done_forwards=sum(line.forwards for line in lines if line is not None),
        seconds=round(seconds, 1),
    )
