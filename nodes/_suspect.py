"""A suspect: base and tuned MODEL and CLIP with hashes, coverage and what the file claims."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.backends.families import family_of_host
from ..core.casework.intake import model_signs, recovered_prompts, stop_if_minor
from ..core.casework.lines import question_digest
from ..core.errors import InputError, LoraFormatError, plural
from ..core.images.sets import Sets
from ..core.lora.binding import MIN_MATCHED
from ..core.lora.formats import read_lora
from ..core.lora.header import load_tensors, read_header, sha256_file
from ..core.lora.inspection import Inspection, inspect_lora
from ..core.lora.operators import tensors_of
from ..core.lora.safeguard import clean_text, stop_words
from ..core.types import BASE, TUNED, ModelHashes
from ._changes import Change, changes_of
from ._pair import HostPair, scaled_clip

# Names that the host's loader knows and the core's reader does not; the host's code applies them.
_ONLY_THE_HOST = ("UNSUPPORTED_OP", "NOT_A_LORA")
_SUFFIXES = ("alpha", "dora_scale", "w_norm", "b_norm", "diff", "diff_b", "set_weight")
_NETWORK = "model.diffusion_model."
_TEXT = ("lora_te", "text_encoder", "te1.", "te2.", "clip_l.", "clip_g.")
_SIDE = 1024


@dataclass(frozen=True, eq=False)
class Suspect:
    """What is under suspicion, and the base it is compared with.

    Attributes:
        name: shown to people.
        base: MODEL of the base. tuned: MODEL of the suspect; the same network, or one of its own.
        clip: CLIP of the base, or None. tuned_clip: CLIP of the suspect, or None.
        hashes: SHA-256; the base's is that of its weights as they run.
        changes: what makes the tuned MODEL of the base, layer by layer; empty for a checkpoint.
        clip_changes: the same for the text encoders.
        inspection: of the file; None where there is no file that the core reads.
        coverage: how much of the file found its place, in words.
        strength: of the adapter, for the report.
        notes: what a reader of results must know.
        signs: of a minor, in a file that the core does not read and so does not inspect.
    """

    name: str
    base: Any
    tuned: Any
    clip: Any
    tuned_clip: Any
    hashes: ModelHashes
    changes: tuple[Change, ...] = ()
    clip_changes: tuple[Change, ...] = ()
    inspection: Inspection | None = None
    coverage: str = ""
    strength: float = 1.0
    notes: tuple[str, ...] = field(default=())
    signs: tuple[str, ...] = ()

    @property
    def own_network(self) -> bool:
        """Whether the tuned model is a network of its own."""
        return not self.base.is_clone(self.tuned)

    @property
    def mode(self) -> str:
        """How two predictions are had, in words."""
        if self.own_network:
            return "two networks, one forward each"
        dense = sum(type(c.operator).__name__ == "Full" for c in self.changes)
        return (
            f"one network, one batched forward; {plural(len(self.changes) - dense, 'layer')} "
            f"factored, {dense} dense"
        )

    def prompts(self, given: str = "") -> tuple[str, ...]:
        """Prompts, one per line; without any, those that the file's metadata suggests."""
        typed = tuple(line.strip() for line in given.splitlines() if line.strip())
        return typed or recovered_prompts(self.inspection) or ("",)

    def summary(self) -> str:
        """Hashes, coverage and claims, in words."""
        lines = [
            f"suspect {clean_text(self.name)}",
            f"base SHA-256 {self.hashes.base} (weights)",
            f"suspect SHA-256 {self.hashes.tuned}",
            self.coverage,
            self.mode,
            *self.notes,
            f"prompts in the file: {', '.join(p for p in self.prompts() if p) or 'none'}",
        ]
        return "\n".join(line for line in lines if line)

    def question(self, sets: Sets) -> str:
        """Identity of a question about this suspect."""
        return question_digest(self.hashes, self.strength, sets)

    def stop_if_minor(self, texts: Iterable[str] = ()) -> None:
        """No image is made or compared while anything points to a minor.

        Raises:
            ForensicsError: MINOR_SUSPECTED.
        """
        signs = self.signs if self.inspection is None else self.inspection.stop_words
        said = [self.name, *recovered_prompts(self.inspection), *texts]
        stop_if_minor([*stop_words(said), *signs], flagged=False)

    @cached_property
    def texts_sha256(self) -> str:
        """SHA-256 of both text encoders with patches and clip skip; empty without any."""
        clips = [c for c in (self.clip, self.tuned_clip) if c is not None]
        digest = hashlib.sha256()
        for clip in clips:
            _feed_weights(digest, clip.patcher)
            _feed(digest, "clip skip", str(clip.layer_idx))
        return digest.hexdigest() if clips else ""

    def pair(self, vae: Any, resolution: int, prompts: Iterable[str] = ()) -> HostPair:
        """The models as the core wants them; use it as a context.

        Args:
            vae: VAE of the base.
            resolution: image side; 0 is the family's own.
            prompts: that will be used, checked before anything runs.

        Raises:
            ForensicsError: MINOR_SUSPECTED; NO_CLIP for prompts without a text encoder.
        """
        prompts = tuple(prompts)
        self.stop_if_minor(prompts)
        if prompts:
            self._clip_at(BASE)
        parts = {"texts_sha256": self.texts_sha256, "vae_sha256": vae_sha256(vae)}
        return self.unnamed_pair(vae, resolution, parts)

    def unnamed_pair(
        self, vae: Any, resolution: int, parts: Mapping[str, str] | None = None
    ) -> HostPair:
        """`pair` unchecked, and without the hashes that only a report wants."""
        return HostPair(
            self.base,
            changes=self.changes,
            tuned=self.tuned if self.own_network else None,
            clips=self._clip_at,
            clip_changes=self.clip_changes,
            vae=vae,
            hashes=self.hashes,
            resolution=resolution or native_resolution(self.base),
            parts=parts,
        )

    def _clip_at(self, strength: float) -> Any:
        if self.clip is None or self.tuned_clip is None:
            raise InputError("NO_CLIP", "the suspect has no CLIP; connect one to its loader")
        if strength == BASE:
            return self.clip
        if strength != TUNED and self.clip_changes:
            return scaled_clip(self.clip, self.clip_changes, strength)
        return self.tuned_clip


def prompts_from(given: str) -> str:
    """Where `Suspect.prompts` takes them, for the report."""
    return "the user" if given.strip() else "the file's metadata"


def native_resolution(patcher: Any) -> int:
    """Image side that a family was trained at."""
    kind = type(patcher.model.model_config).__name__
    family = family_of_host(kind)
    return _SIDE if family is None else family.hosts[kind]


def suspect_from_file(
    path: Path,
    base: Any,
    clip: Any,
    strength: float,
    *,
    name: str = "",
    base_sha256: str = "",
) -> Suspect:
    """A LoRA file on a MODEL and CLIP, by the host's own loader.

    Args:
        path: the file.
        base: MODEL of the base.
        clip: CLIP of the base, or None.
        strength: of the adapter.
        name: shown to people.
        base_sha256: hash of the base where it is known already; it takes seconds to make.

    Raises:
        UnsafeFileError, LoraFormatError: the file is hostile, broken, no LoRA, or of another base.
    """
    _refuse_checkpoint(path)
    inspection, notes = _inspect(path)
    tensors = load_tensors(path)
    _refuse_not_finite(tensors)
    tuned, tuned_clip, coverage = _apply(tensors, base, clip, strength)
    changes = changes_of(base, tuned)
    clip_changes = _clip_changes(clip, tuned_clip)
    if not changes and not clip_changes:
        raise LoraFormatError("NOT_APPLIED", "every change of the file is zero on this base")
    return Suspect(
        name or path.stem,
        base,
        tuned,
        clip,
        tuned_clip,
        ModelHashes(
            base_sha256 or weights_sha256(base),
            inspection.sha256 if inspection else sha256_file(path),
        ),
        changes,
        clip_changes,
        inspection,
        coverage,
        strength,
        notes,
        () if inspection else tuple(model_signs(path)),
    )


def suspect_from_models(base: Any, clip: Any, tuned: Any, tuned_clip: Any, name: str) -> Suspect:
    """Any two MODELs: a full checkpoint, or a chain of LoRA loaders on the base.

    Raises:
        InputError: WRONG_BASE for two families.
        LoraFormatError: NOT_APPLIED when the two are the same.
    """
    kinds = [type(m.model.model_config).__name__ for m in (base, tuned)]
    if kinds[0] != kinds[1]:
        raise InputError("WRONG_BASE", f"the base is a {kinds[0]}, the tuned model a {kinds[1]}")
    one_network = base.is_clone(tuned)
    changes = changes_of(base, tuned) if one_network else ()
    hashes = ModelHashes(weights_sha256(base), weights_sha256(tuned, changes))
    if hashes.base == hashes.tuned:
        raise LoraFormatError("NOT_APPLIED", "base and tuned MODEL hold the same weights")
    clips = _clip_changes(clip, tuned_clip) if one_network else ()
    return Suspect(name, base, tuned, clip, tuned_clip, hashes, changes, clips)


def _inspect(path: Path) -> tuple[Inspection | None, tuple[str, ...]]:
    try:
        # A report goes to other people: it names the file, not where it lies on this machine.
        return replace(inspect_lora(read_lora(path)), path=path.name), ()
    except LoraFormatError as error:
        if error.code not in _ONLY_THE_HOST:
            raise
        return None, (f"applied by the host's loader, not inspected: {error}",)


def _refuse_checkpoint(path: Path) -> None:
    if any(name.startswith(_NETWORK) for name in read_header(path).tensors):
        raise LoraFormatError(
            "NOT_A_LORA",
            f"{path.name} is a full checkpoint; open it with Load Checkpoint and connect its MODEL "
            "and the base's to Suspect From Two Models",
        )


def _refuse_not_finite(tensors: Mapping[str, Tensor]) -> None:
    bad = [
        k for k, v in tensors.items() if v.is_floating_point() and not v.float().isfinite().all()
    ]
    if bad:
        raise LoraFormatError(
            "NON_FINITE", f"NaN or infinity in {plural(len(bad), 'tensor')}: {bad[:5]}"
        )


def _apply(
    tensors: dict[str, Tensor], base: Any, clip: Any, strength: float
) -> tuple[Any, Any, str]:
    import comfy.lora
    import comfy.lora_convert

    keys = comfy.lora.model_lora_keys_unet(base.model, {})
    if clip is not None:
        keys = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, keys)
    tensors = comfy.lora_convert.convert_lora(tensors)
    patches = comfy.lora.load_lora(tensors, keys, log_missing=False)
    coverage = _check_coverage(tensors, patches, keys, clip=clip is not None)
    tuned = base.clone()
    tuned.add_patches(patches, strength)
    if clip is None:
        return tuned, None, coverage
    tuned_clip = clip.clone()
    tuned_clip.add_patches(patches, strength)
    return tuned, tuned_clip, coverage


def _clip_changes(clip: Any, tuned_clip: Any) -> tuple[Change, ...]:
    if clip is None or tuned_clip is None:
        return ()
    return changes_of(clip.patcher, tuned_clip.patcher)


def _check_coverage(
    tensors: Mapping[str, Tensor],
    patches: Mapping[Any, Any],
    keys: Mapping[str, Any],
    *,
    clip: bool,
) -> str:
    """How many of the file's tensors found their place.

    Raises:
        LoraFormatError: NOT_APPLIED for none, WRONG_BASE for fewer than 95 %, NO_CLIP where the
            text encoder's have no CLIP to go to.
    """
    used = {k for value in patches.values() for k in getattr(value, "loaded_keys", ())}
    used |= {f"{x}.{s}" for x in keys for s in _SUFFIXES} & tensors.keys()
    share, lost = len(used) / len(tensors), sorted(tensors.keys() - used)
    if not clip and (texts := [name for name in lost if name.startswith(_TEXT)]):
        raise LoraFormatError(
            "NO_CLIP",
            f"{len(texts)} of the file's {plural(len(tensors), 'tensor')} would change the text "
            "encoder; connect the base's CLIP",
        )
    if not patches:
        raise LoraFormatError(
            "NOT_APPLIED",
            f"none of the file's {plural(len(tensors), 'tensor')} fits this MODEL: {lost[:3]}",
        )
    if share < MIN_MATCHED:
        raise LoraFormatError(
            "WRONG_BASE",
            f"this MODEL takes only {len(used)} of the file's {plural(len(tensors), 'tensor')}, "
            f"for example not {lost[:3]}; load the base that the LoRA was trained on",
        )
    changed = f"{plural(len(patches), 'weight')} changed"
    return f"{len(used)} of {plural(len(tensors), 'tensor')} placed, {changed}"


def weights_sha256(patcher: Any, changes: tuple[Change, ...] = ()) -> str:
    """SHA-256 of a MODEL's weights before patches, with its own patches and `changes` beside.

    It names the weights, not a file: a pruned or converted copy of equal weights has the same.
    """
    digest = hashlib.sha256()
    _feed_weights(digest, patcher, "diffusion_model.")
    for change in changes:
        _feed(digest, change.module, list(tensors_of(change.operator).values()))
    return digest.hexdigest()


def vae_sha256(vae: Any) -> str:
    """SHA-256 of a VAE's weights."""
    digest = hashlib.sha256()
    _feed_weights(digest, vae.patcher)
    return digest.hexdigest()


def _feed_weights(digest: Any, patcher: Any, below: str = "") -> None:
    """Add weights as they are before patches, then all patches."""
    import comfy.model_management as memory

    state = patcher.model.state_dict()
    for key in sorted(k for k in state if k.startswith(below)):
        memory.throw_exception_if_processing_interrupted()
        kept = patcher.backup.get(key)
        _feed(digest, key.removeprefix(below), state[key] if kept is None else kept.weight)
    for key in sorted(patcher.patches):
        _feed(digest, key, patcher.patches[key])


def _feed(digest: Any, name: str, value: Any) -> None:
    """Add what a value holds: tensors by their bytes, adapters and lists part by part."""
    if isinstance(value, Tensor):
        digest.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            _feed(digest, f"{name}.{i}", part)
    elif hasattr(value, "weights"):
        _feed(digest, name, value.weights)
    elif isinstance(value, int | float | str):
        digest.update(f"{name} {value} ".encode())
