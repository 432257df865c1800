"""From a request to a question: prompts, negatives, null models, decoys."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..decoys import DecoyRank, read_rank
from ..errors import InputError
from ..images import Photos, image_files, load_photos
from ..lora.inspection import Inspection, inspect_lora
from ..null_ranks import NullGroup
from ..protocols import Progress
from ..screening import Question
from ..storage import CaseFolder
from ..training.counterfactual import Recipe, counterfactual_group, recipe_of, split_controls
from ..training.retraining import training_on
from .intake import recovered_prompts
from .placebos import placebo_files, placebo_group
from .request import Request


def inspect_pair(pair: DiffusersPair) -> Inspection | None:
    """Inspection of the suspect's file; None for a full checkpoint."""
    return None if pair.lora is None else inspect_lora(pair.lora, pair.binding)


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
        _decoys(request, pair),
        str(pair.device),
    )


def _placebos(request: Request, pair: DiffusersPair) -> tuple[NullGroup, ...]:
    if request.placebos is None or "membership" not in request.lines:
        return ()
    return (placebo_group(pair, placebo_files(request.placebos)),)


def _decoys(request: Request, pair: DiffusersPair) -> DecoyRank | None:
    if request.decoys is None:
        return None
    try:
        data = request.decoys.read_bytes()
    except OSError as error:
        raise InputError("MISSING_FILE", f"{request.decoys} cannot be read: {error}") from error
    return read_rank(data, pair.hashes)


def recipe_for(request: Request, inspection: Inspection | None, controls: int) -> Recipe | None:
    """The recipe that counterfactuals repeat, if any are wanted; errors before any work."""
    if not request.spec.membership.counterfactuals or "membership" not in request.lines:
        return None
    if inspection is None:
        raise InputError(
            "NO_RECIPE", "a full checkpoint states no recipe; give placebo checkpoints instead"
        )
    split_controls(controls, request.spec.membership.seed)
    return recipe_of(inspection)


def with_counterfactuals(
    request: Request,
    pair: DiffusersPair,
    question: Question,
    recipe: Recipe | None,
    folder: CaseFolder,
    progress: Progress,
) -> Question:
    """The question with counterfactuals among its null models, if any are wanted."""
    if recipe is None:
        return question
    settings = request.spec.membership
    group = counterfactual_group(
        training_on(pair, question.prompts[0], folder, progress),
        question.controls.images.pixels,
        recipe,
        settings.counterfactuals,
        seed=settings.seed,
    )
    return replace(question, nulls=(*question.nulls, group))


def _shadow_images(request: Request, recovered: tuple[str, ...]) -> torch.Tensor:
    from ..blackbox import draw_arm
    from ..types import TUNED

    assert request.shadow is not None
    shadow = open_pair(request.base, request.shadow, device=request.device, dtype=request.dtype)
    try:
        prompts = recovered_prompts(inspect_pair(shadow)) or request.prompts or recovered or ("",)
        return draw_arm(shadow, prompts, TUNED, request.spec.attack).pixels
    finally:
        shadow.close()
