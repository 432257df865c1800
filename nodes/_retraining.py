"""What the training nodes make: LoRA files, and counterfactuals for a suspect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..core.casework.intake import stop_if_minor
from ..core.casework.photo_sets import PhotoSet
from ..core.errors import InputError, plural
from ..core.images.photos import Photos
from ..core.images.sets import drop_duplicates, sessions
from ..core.lora.header import sha256_file
from ..core.lora.safeguard import stop_words
from ..core.membership.null_ranks import NullGroup, NullModel
from ..core.specs import FinetuneSpec
from ..core.storage import CaseFolder, Work
from ..core.training.counterfactual import (
    Recipe,
    Train,
    counterfactual_group,
    recipe_of,
    split_controls,
)
from ..core.training.learner import check_counts
from ..core.training.learner_pair import finetune_pair
from ..core.training.trained import Finetuned, save_lora
from ._host import HostProgress, check_name, output_folder, work_folder
from ._pair import HostPair
from ._suspect import Suspect, native_resolution, suspect_from_file, vae_sha256, weights_sha256
from ._training import family_of, learning, model_of, own_copy

FOLDER = "loras"
"""Below ``output/lora_forensics``; ComfyUI lists it among its loras folders."""


def lora_file(name: str) -> Path:
    """Where a trained LoRA of this name, or ``folder/name``, lies.

    Raises:
        InputError: BAD_NAME.
    """
    *folder, own = name.split("/")
    for part in (*folder, own):
        check_name(part)
    if len(folder) > 1:
        raise InputError("BAD_NAME", f"{name!r}: one folder at most may stand before the name")
    return output_folder(FOLDER, *folder) / f"{own}.safetensors"


def photo_captions(text: str, photos: PhotoSet, name: str) -> list[str]:
    """The caption of each photo: the one line for all, or a line each.

    Raises:
        InputError: CAPTION_COUNT.
        ForensicsError: MINOR_SUSPECTED: names or captions point to a minor.
    """
    stop_if_minor(stop_words([name, text, *photos.names]), flagged=False)
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) <= 1:
        return (lines or [""]) * len(photos)
    check_counts(len(photos), len(lines))
    return lines


def train_lora(
    base: Any,
    clip: Any,
    vae: Any,
    photos: PhotoSet,
    captions: Sequence[str],
    spec: FinetuneSpec,
    *,
    resolution: int,
    path: Path,
) -> tuple[Finetuned, str]:
    """Train on a graph's models and save one file; the same call resumes.

    Returns:
        The fine-tuning, and what was made in words.

    Raises:
        ForensicsError: one of its named kinds.
    """
    model = model_of(base, clip, vae, resolution=resolution, sha256=weights_sha256(base))
    progress = HostProgress()
    pixels = photos.at(resolution, "photo", progress).images
    facts = {
        "kind": "training",
        **_model_facts(model.pair.hashes.base, clip, vae, resolution),
        "photos": [s.sha256 for s in pixels.sources],
        "captions": list(captions),
        "settings": asdict(spec),
    }
    with work_folder(facts) as case, learning(base):
        trained = finetune_pair(
            model, own_copy(pixels.pixels), captions, spec, family=family_of(base),
            work=Work(case, progress),
        )  # fmt: skip
        save_lora(trained, path)
    return trained, _words(trained, path)


def _model_facts(base_sha256: str, clip: Any, vae: Any, resolution: int) -> dict[str, Any]:
    return {
        "base_sha256": base_sha256,
        "texts_sha256": vae_sha256(clip),
        "clip_skip": clip.layer_idx,
        "vae_sha256": vae_sha256(vae),
        "resolution": resolution,
    }


def _words(trained: Finetuned, path: Path) -> str:
    losses, captions = np.array(trained.losses), trained.training.captions
    spec = trained.training.spec
    tenth = max(1, len(losses) // 10)
    return (
        f"{path.name}, SHA-256 {sha256_file(path)}\n"
        f"{plural(len(captions), 'photo')}, {plural(len(set(captions)), 'caption')}, "
        f"{plural(len(losses), 'step')} of {spec.batch}, "
        f"{plural(len(trained.weights) // 2, 'layer')} of rank {spec.rank}\n"
        f"mean loss {losses[:tenth].mean():.4f} in the first tenth of the steps, "
        f"{losses[-tenth:].mean():.4f} in the last"
    )


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Null models trained on controls, for one suspect and these controls.

    Attributes:
        suspect: whose recipe was repeated.
        vae_sha256: of the VAE that they were trained with.
        resolution: image side.
        controls: SHA-256 of every control's pixels, in order, duplicates dropped.
        trained: the models; its controls are the half that trained none of them.
    """

    suspect: Suspect
    vae_sha256: str
    resolution: int
    controls: tuple[str, ...]
    trained: NullGroup

    def group(self, suspect: Suspect, vae: Any, resolution: int, controls: Photos) -> NullGroup:
        """The null models, each opened when it is asked.

        Args:
            suspect: that is being measured.
            vae: VAE of the base.
            resolution: image side; 0 is the family's own.
            controls: that the measurement compares with.

        Raises:
            InputError: MIXED_EVIDENCE: they were trained for another suspect, size or VAE, or on
                other controls.
        """
        asked = (
            asdict(suspect.hashes), suspect.strength, vae_sha256(vae),
            resolution or native_resolution(suspect.base), _hashes(controls),
        )  # fmt: skip
        own = (
            asdict(self.suspect.hashes), self.suspect.strength, self.vae_sha256, self.resolution,
            self.controls,
        )  # fmt: skip
        if asked != own:
            raise InputError(
                "MIXED_EVIDENCE",
                "the counterfactuals were trained for another suspect, VAE, resolution or set of "
                "controls; connect the same ones to both nodes, or controls that trained them "
                "would be compared",
            )
        return self.trained


def _hashes(photos: Photos) -> tuple[str, ...]:
    return tuple(s.sha256 for s in photos.images.sources)


def counterfactuals_of(
    suspect: Suspect,
    vae: Any,
    controls: PhotoSet,
    caption: str,
    count: int,
    *,
    seed: int,
    resolution: int,
) -> Counterfactuals:
    """Train `count` null models with the suspect's recipe; finished ones are not repeated.

    Raises:
        InputError: NO_RECIPE, NO_CLIP.
        NotEnoughDataError: TOO_FEW_CONTROLS.
    """
    recipe = _recipe(suspect)
    side = resolution or native_resolution(suspect.base)
    progress = HostProgress()
    found, _ = drop_duplicates(controls.at(side, "control", progress))
    own = sessions(found)
    split_controls(len(found), seed, own)
    facts = {
        "kind": "counterfactuals",
        **_model_facts(suspect.hashes.base, suspect.clip, vae, side),
        "controls": list(_hashes(found)),
        "caption": caption,
        "recipe": asdict(recipe),
        "seed": seed,
        "sessions": list(own),
    }
    with work_folder(facts) as case, learning(suspect.base):
        train = _training_on(suspect, vae, caption, side, case, progress)
        pixels = found.images.pixels.clone()
        group = counterfactual_group(train, pixels, recipe, count, seed=seed, sessions=own)
    return Counterfactuals(suspect, facts["vae_sha256"], side, _hashes(found), group)


def _recipe(suspect: Suspect) -> Recipe:
    if suspect.clip is None:
        raise InputError("NO_CLIP", "the suspect has no CLIP; connect one to its loader")
    if suspect.inspection is None:
        raise InputError(
            "NO_RECIPE",
            "the suspect has no LoRA file that states a recipe; give placebo LoRAs instead",
        )
    return recipe_of(suspect.inspection)


def _training_on(
    suspect: Suspect,
    vae: Any,
    caption: str,
    side: int,
    case: CaseFolder,
    progress: HostProgress,
) -> Train:
    model = model_of(suspect.base, suspect.clip, vae, resolution=side, sha256=suspect.hashes.base)

    def train(images: Tensor, spec: FinetuneSpec, number: int) -> NullModel:
        unit = f"counterfactual/{number:04d}"
        path = case.root / f"{unit}.safetensors"
        trained = finetune_pair(
            model, list(images), [caption] * len(images), spec, family=family_of(suspect.base),
            work=Work(case, progress), unit=unit,
        )  # fmt: skip
        if not path.is_file():
            save_lora(trained, path)
        sha256 = sha256_file(path)
        return NullModel(f"counterfactual-{sha256[:16]}", lambda: _opened(suspect, path, vae, side))

    return train


def _opened(suspect: Suspect, path: Path, vae: Any, side: int) -> HostPair:
    """One counterfactual on the suspect's base, at the suspect's strength."""
    null = suspect_from_file(
        path, suspect.base, suspect.clip, suspect.strength, base_sha256=suspect.hashes.base
    )
    return null.unnamed_pair(vae, side)
