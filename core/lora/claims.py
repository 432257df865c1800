"""What an adapter's metadata claims about its training. All of it can be edited by anyone."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import LoraFormatError
from ..records import strict_json
from .safeguard import clean_text

MAX_JSON_CHARS = 4 * 1024 * 1024
MAX_TAGS = 500
_REPEATS = re.compile(r"^\d+_")


@dataclass(frozen=True, slots=True)
class DatasetClaim:
    """One training folder: its name, its photos, and how often each is used per epoch."""

    folder: str
    images: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """A caption, tag or folder concept that training used; ``count`` is photos, 0 if unknown."""

    text: str
    count: int
    source: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """Passes over each photo: ``steps * batch / images``, halved beside regularisation photos.

    Attributes:
        passes: mean over all photos.
        by_folder: folder -> passes, weighted by the folder's repeats.
        reading: what to expect of per-photo evidence, in words.
    """

    passes: float
    by_folder: dict[str, float]
    reading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Training settings as the metadata states them; absent ones are None or empty.

    Attributes:
        text: single settings by the names in `_TEXT_KEYS`, cleaned for display.
        steps: optimizer steps. ``batch``: photos per step over all devices.
        images: photos in the training folders, repeats not counted.
        regularization_images: photos that are not the subject, 0 if not stated.
        unreadable: metadata keys that should hold JSON and do not.
    """

    text: dict[str, str]
    steps: int | None
    batch: int | None
    images: int | None
    regularization_images: int
    datasets: tuple[DatasetClaim, ...]
    prompts: tuple[Prompt, ...]
    trigger_words: tuple[str, ...]
    unreadable: tuple[str, ...]


_TEXT_KEYS: dict[str, str] = {
    "base_model": "ss_sd_model_name",
    "base_version": "ss_base_model_version",
    "base_legacy_hash": "ss_sd_model_hash",
    "base_sha256": "ss_new_sd_model_hash",
    "network_module": "ss_network_module",
    "network_dim": "ss_network_dim",
    "network_alpha": "ss_network_alpha",
    "network_args": "ss_network_args",
    "resolution": "ss_resolution",
    "batch_size": "ss_total_batch_size",
    "epochs": "ss_num_epochs",
    "epoch": "ss_epoch",
    "learning_rate": "ss_learning_rate",
    "unet_lr": "ss_unet_lr",
    "text_encoder_lr": "ss_text_encoder_lr",
    "seed": "ss_seed",
    "started_at": "ss_training_started_at",
    "finished_at": "ss_training_finished_at",
    "optimizer": "ss_optimizer",
    "lr_scheduler": "ss_lr_scheduler",
    "caption_dropout": "ss_caption_dropout_rate",
    "flip_aug": "ss_flip_aug",
    "random_crop": "ss_random_crop",
    "noise_offset": "ss_noise_offset",
    "min_snr_gamma": "ss_min_snr_gamma",
    "output_name": "ss_output_name",
    "comment": "ss_training_comment",
    "session_id": "ss_session_id",
    "title": "modelspec.title",
    "author": "modelspec.author",
    "architecture": "modelspec.architecture",
    "date": "modelspec.date",
    "tags": "modelspec.tags",
    "trigger_phrase": "modelspec.trigger_phrase",
    "merged_from": "modelspec.merged_from",
}


def read_claims(metadata: Mapping[str, str]) -> Claims:
    """Reads kohya's ``ss_`` and modelspec metadata; never raises on what a stranger wrote."""
    decoded, unreadable = _decode_all(metadata)
    datasets = _datasets(decoded)
    prompts = _prompts(decoded, datasets)
    text = {
        name: clean_text(metadata[key])
        for name, key in _TEXT_KEYS.items()
        if metadata.get(key) not in (None, "", "None")
    }
    images = sum(item.images for item in datasets)
    return Claims(
        text=text,
        steps=_whole(metadata.get("ss_steps")) or _whole(metadata.get("ss_max_train_steps")),
        batch=_batch(metadata, decoded),
        images=images or None,
        regularization_images=_whole(metadata.get("ss_num_reg_images")) or 0,
        datasets=datasets,
        prompts=prompts,
        trigger_words=_triggers(text, prompts, datasets),
        unreadable=unreadable,
    )


def exposure(claims: Claims) -> Exposure | None:
    """Estimated passes per photo, or None if steps, batch or photos are not stated."""
    if not (claims.steps and claims.batch and claims.images):
        return None
    uses = claims.steps * claims.batch / (2 if claims.regularization_images else 1)
    per_repeat = uses / max(1, sum(item.images * item.repeats for item in claims.datasets))
    by_folder = {item.folder: per_repeat * item.repeats for item in claims.datasets}
    passes = uses / claims.images
    return Exposure(passes, by_folder, _reading(passes))


def _reading(passes: float) -> str:
    if passes < 20:
        return "under 20 passes: expect weak, near-chance evidence for single photos"
    if passes > 100:
        return "over 100 passes: single-photo evidence is often strong at this exposure"
    return "20 to 100 passes: single-photo evidence varies at this exposure"


_JSON_KEYS = ("ss_dataset_dirs", "ss_tag_frequency", "ss_datasets")


def _decode_all(metadata: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    decoded: dict[str, Any] = {}
    unreadable: list[str] = []
    for key in _JSON_KEYS:
        text = metadata.get(key)
        if not text:
            continue
        try:
            if len(text) > MAX_JSON_CHARS:
                raise LoraFormatError("HEADER_TOO_LARGE", key)
            decoded[key] = strict_json(text.encode())
        except LoraFormatError:
            unreadable.append(key)
    return decoded, tuple(unreadable)


def _datasets(decoded: Mapping[str, Any]) -> tuple[DatasetClaim, ...]:
    dirs = decoded.get("ss_dataset_dirs")
    if isinstance(dirs, dict) and dirs:
        return tuple(
            DatasetClaim(clean_text(folder), *_counts(values, "n_repeats"))
            for folder, values in dirs.items()
            if isinstance(values, dict)
        )
    return tuple(
        DatasetClaim(clean_text(str(subset.get("image_dir"))), *_counts(subset, "num_repeats"))
        for subset in _subsets(decoded)
        if not subset.get("is_reg")
    )


def _subsets(decoded: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for dataset in _dicts(decoded.get("ss_datasets")):
        yield from _dicts(dataset.get("subsets"))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _counts(values: Mapping[str, Any], repeats_key: str) -> tuple[int, int]:
    return _whole(values.get("img_count")) or 0, _whole(values.get(repeats_key)) or 1


def _batch(metadata: Mapping[str, str], decoded: Mapping[str, Any]) -> int | None:
    """Photos per optimizer step; accumulation is part of kohya's own total."""
    if total := _whole(metadata.get("ss_total_batch_size")):
        return total
    sizes = [
        _whole(item.get("batch_size_per_device")) for item in _dicts(decoded.get("ss_datasets"))
    ]
    device = _whole(metadata.get("ss_batch_size_per_device")) or next(filter(None, sizes), None)
    return device and device * (_whole(metadata.get("ss_gradient_accumulation_steps")) or 1)


def _prompts(decoded: Mapping[str, Any], datasets: Iterable[DatasetClaim]) -> tuple[Prompt, ...]:
    """Captions and tags by count, then folder concepts without their repeats prefix."""
    counts: Counter[str] = Counter()
    for tags in _tag_tables(decoded):
        for tag, count in tags.items():
            if tag.strip():
                counts[tag.strip()] += _whole(count) or 0
    tags = [
        Prompt(clean_text(tag), count, "caption") for tag, count in counts.most_common(MAX_TAGS)
    ]
    folders = [Prompt(concept(item.folder), item.images, "folder") for item in datasets]
    return (*tags, *(prompt for prompt in folders if prompt.text))


def _tag_tables(decoded: Mapping[str, Any]) -> list[dict[str, Any]]:
    tables = decoded.get("ss_tag_frequency")
    if isinstance(tables, dict) and tables:
        return [table for table in tables.values() if isinstance(table, dict)]
    nested = [item.get("tag_frequency") for item in _dicts(decoded.get("ss_datasets"))]
    folders = [table for tables in nested if isinstance(tables, dict) for table in tables.values()]
    return [table for table in folders if isinstance(table, dict)]


def concept(folder: str) -> str:
    """The concept in a kohya folder name: ``10_ohwx man`` and ``/data/10_ohwx man`` give both
    ``ohwx man``."""
    return _REPEATS.sub("", re.split(r"[/\\]", folder.rstrip("/\\"))[-1]).replace("_", " ").strip()


def _triggers(
    text: Mapping[str, str], prompts: Iterable[Prompt], datasets: Iterable[DatasetClaim]
) -> tuple[str, ...]:
    """The stated trigger, folder concepts, and captions that every photo carries."""
    images = sum(item.images for item in datasets)
    always = [p.text for p in prompts if p.source == "caption" and images and p.count >= images]
    folders = [p.text for p in prompts if p.source == "folder"]
    stated = [text["trigger_phrase"]] if "trigger_phrase" in text else []
    return tuple(dict.fromkeys([*stated, *always, *folders]))


def _whole(value: Any) -> int | None:
    """A non-negative whole number from a number or its text, None for anything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and 0 <= number < 2**53 else None
