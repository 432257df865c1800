"""From a request to a question: prompts, negatives, null models, decoys."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from ..backends.diffusers import DiffusersPair
from ..backends.loading import open_pair
from ..decoys import DecoyRank, read_rank
from ..errors import InputError, plural
from ..images.captions import captions_of, load_captions
from ..images.photos import Photos, image_files, load_photos
from ..images.sets import Sets, near_duplicates, sessions
from ..lora.inspection import Inspection, inspect_lora
from ..membership.null_ranks import NullGroup
from ..protocols import Progress
from ..storage import CaseFolder
from ..training.counterfactual import Recipe, counterfactual_group, recipe_of, split_controls
from ..training.retraining import training_on
from .decoy_files import known_by
from .intake import (
    base_caveats,
    claimed_images,
    model_signs,
    read_given,
    recovered_prompts,
    stop_if_minor,
)
from .placebos import placebo_group, placebos_of
from .request import Request
from .screening import Question


def inspect_pair(pair: DiffusersPair, base: Path | None = None) -> Inspection | None:
    """Inspection of the suspect's file; None for a full checkpoint.

    Args:
        pair: the suspect on its base.
        base: where the base was read, to be compared with the one that the file names.
    """
    if pair.lora is None:
        return None
    return inspect_lora(pair.lora, pair.binding, base=base, base_sha256=pair.hashes.base)


def build_question(
    request: Request,
    pair: DiffusersPair,
    inspection: Inspection | None,
    sets: Sets,
    negatives: Photos | None = None,
) -> Question:
    """Photos, controls and prompts as the screening wants them.

    Args:
        request: what the person asked for.
        pair: the suspect.
        inspection: of its file; None for a full checkpoint.
        sets: photos in question and controls.
        negatives: of `load_negatives`.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before a shadow is sampled.
    """
    origin, source = request.label_0
    label_0 = None if negatives is None else negatives.images.pixels
    if origin == "shadow" and source is not None:
        label_0 = _shadow_images(request, source, recovered_prompts(inspection))
    return Question(
        sets=sets,
        prompts=prompts_of(request, inspection),
        exchangeable=request.exchangeable,
        n0=claimed_images(inspection),
        negatives=label_0,
        negatives_from=origin,
        resnet=request.attack_weights,
        nulls=_placebos(request, pair),
        decoys=_decoys(request, pair),
        device=str(pair.device),
        captions=_captions(request, sets),
        caveats=base_caveats(inspection),
    )


def _captions(request: Request, sets: Sets) -> tuple[str, ...]:
    if request.captions is None:
        return ()
    names = [f.name for f in (*sets.photos.facts, *sets.controls.facts)]
    return tuple(captions_of(names, load_captions(request.captions)))


def prompts_of(request: Request, inspection: Inspection | None) -> tuple[str, ...]:
    """The person's prompts; without any, those that the file's metadata suggests."""
    return request.prompts or recovered_prompts(inspection) or ("",)


def load_negatives(request: Request, pair: DiffusersPair, sets: Sets) -> Photos | None:
    """The folder of label-0 images for the attack; None if none is used.

    Args:
        request: what the person asked for.
        pair: the suspect, whose resolution is taken.
        sets: photos in question and controls, as decoded.

    Raises:
        InputError: DUPLICATE_PHOTOS, or what is wrong with a file.
    """
    origin, source = request.label_0
    if origin != "folder" or source is None:
        return None
    negatives = load_photos(image_files(source), "control", pair.resolution)
    _check_unseen("--photos", sets.photos, negatives)
    _check_unseen("--controls", sets.controls, negatives)
    return negatives


def _check_unseen(flag: str, asked: Photos, negatives: Photos) -> None:
    """The attack is asked about no picture that it was trained on as label 0."""
    pairs = near_duplicates(asked.images.pixels, negatives.images.pixels)
    if pairs:
        shown = (f"{asked.facts[i].name} = {negatives.facts[j].name}" for i, j in pairs[:5])
        raise InputError(
            "DUPLICATE_PHOTOS",
            f"both in {flag} and in --negatives: {plural(len(pairs), 'picture')} "
            f"({', '.join(shown)}); the attack learns the negatives as label 0 and would know "
            "these pictures again: take them out of one folder",
        )


def _placebos(request: Request, pair: DiffusersPair) -> tuple[NullGroup, ...]:
    files = placebos_of(request)
    return (placebo_group(pair, files),) if files else ()


def _decoys(request: Request, pair: DiffusersPair) -> DecoyRank | None:
    if request.decoys is None:
        return None
    return read_rank(read_given(request.decoys), pair.hashes, known_by(image_files(request.photos)))


def recipe_for(request: Request, inspection: Inspection | None, controls: Photos) -> Recipe | None:
    """The recipe that counterfactuals repeat, if any are wanted; errors before any work."""
    if not request.spec.membership.counterfactuals or "membership" not in request.lines:
        return None
    if inspection is None:
        raise InputError(
            "NO_RECIPE", "a full checkpoint states no recipe; give placebo checkpoints instead"
        )
    split_controls(len(controls), request.spec.membership.seed, sessions(controls))
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
        question.sets.controls.images.pixels,
        recipe,
        settings.counterfactuals,
        seed=settings.seed,
        sessions=sessions(question.sets.controls),
    )
    return replace(question, nulls=(*question.nulls, group))


def _shadow_images(request: Request, file: Path, recovered: tuple[str, ...]) -> torch.Tensor:
    from ..attack.line import draw_arm
    from ..types import TUNED

    shadow = open_pair(request.base, file, device=request.device, dtype=request.dtype)
    with closing(shadow):
        inspection = inspect_pair(shadow)
        stop_if_minor(model_signs(file, inspection), flagged=request.minor_suspected)
        prompts = recovered_prompts(inspection) or request.prompts or recovered or ("",)
        return draw_arm(shadow, prompts, TUNED, request.spec.attack).pixels
