"""Reads an adapter file of any supported dialect into one normal form."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import LoraFormatError, plural
from .building import build_operator
from .configs import AdapterConfig, metadata_configs, sidecar_config
from .header import SafetensorsHeader, existing_file, kohya_hashes, read_header, tensors_from_bytes
from .names import ParsedName, flatten, guess_family, parse_name, unsupported_kind
from .operators import Operator

MAX_LISTED = 20


@dataclass(frozen=True, slots=True, eq=False)
class LoraModule:
    """One module's change.

    Attributes:
        component: ``unet``, ``text_encoder`` or ``text_encoder_2``.
        key: the module as the file spells it.
        name: the module without dialect; dotted (diffusers, PEFT) or underscored (kohya).
        operator: the change, factors in the file's own precision.
    """

    component: str
    key: str
    name: str
    operator: Operator


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LoraFile:
    """An adapter file in normal form.

    Attributes:
        path: where it was read.
        sha256: of the file. ``tensor_sha256``: of the bytes after the header.
        header: names, shapes and metadata as found; metadata is a claim, not a fact.
        format: ``kohya``, ``diffusers``, ``peft`` or a ``+``-joined mixture.
        family: model family that names and widths fit, or ``unknown``.
        modules: all changes, in the order of the file's names.
        warnings: what a reader of results must know.
        recomputed: kohya's ``sshs_`` hashes computed from the tensors, for those it claims.
    """

    path: Path
    sha256: str
    tensor_sha256: str
    header: SafetensorsHeader
    format: str
    family: str
    modules: tuple[LoraModule, ...]
    warnings: tuple[str, ...]
    recomputed: Mapping[str, str]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's own metadata: claims by whoever wrote it."""
        return self.header.metadata


def read_lora(path: str | Path) -> LoraFile:
    """Reads an adapter file.

    Args:
        path: a .safetensors file; ``adapter_config.json`` beside it is read for PEFT files.

    Raises:
        LoraFormatError: any header code, or NOT_A_LORA, UNSUPPORTED_OP, UNPAIRED, RANK_MISMATCH,
            BAD_SHAPE, BAD_ALPHA, NON_FINITE, AMBIGUOUS.
        UnsafeFileError: PICKLE, TORCHSCRIPT, ARCHIVE, HEADER_TOO_LARGE, TOO_MANY_TENSORS.
    """
    path = existing_file(path)
    header = read_header(path)
    parsed = _parse_names(header)
    data = path.read_bytes()
    tensors = tensors_from_bytes(data)
    if {name: tuple(value.shape) for name, value in tensors.items()} != _shapes(header):
        raise LoraFormatError("MALFORMED_HEADER", "the file changed while it was read; try again.")
    _check_values({name: tensors[name] for name in parsed if parsed[name].slot != "alpha"})
    groups = _group(parsed)
    modules, notes = _build_all(groups, tensors, _config_lookup(path, header, parsed.values()))
    return LoraFile(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        tensor_sha256=hashlib.sha256(memoryview(data)[header.data_start :]).hexdigest(),
        header=header,
        format="+".join(sorted({name.dialect for name in parsed.values()})),
        family=guess_family(_shapes(header)),
        modules=modules,
        warnings=notes,
        recomputed=_recomputed(tensors, header.metadata),
    )


def _recomputed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    claimed = {"sshs_model_hash", "sshs_legacy_hash"} & metadata.keys()
    if not claimed:
        return {}
    model, legacy = kohya_hashes(tensors, metadata)
    values = {"sshs_model_hash": model, "sshs_legacy_hash": legacy}
    return {key: values[key] for key in sorted(claimed)}


def _shapes(header: SafetensorsHeader) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in header.tensors.items()}


def _parse_names(header: SafetensorsHeader) -> dict[str, ParsedName]:
    parsed = {name: parse_name(name) for name in header.tensors}
    unknown = [name for name, part in parsed.items() if part is None]
    _refuse_unsupported(unknown)
    if len(unknown) == len(parsed):
        raise LoraFormatError("NOT_A_LORA", _not_a_lora(unknown))
    if unknown:
        raise LoraFormatError(
            "UNSUPPORTED_OP",
            f"{plural(len(unknown), 'tensor')} of no supported form: {unknown[:MAX_LISTED]}.",
        )
    return {name: part for name, part in parsed.items() if part is not None}


def _refuse_unsupported(names: Iterable[str]) -> None:
    kinds: dict[str, str] = {}
    for name in names:
        if kind := unsupported_kind(name):
            kinds.setdefault(kind, name)
    if kinds:
        listed = "; ".join(f"{kind} (as in {name!r})" for kind, name in kinds.items())
        raise LoraFormatError(
            "UNSUPPORTED_OP",
            f"the file holds {listed}. Supported: LoRA, LoCon, LoHa, LoKr, DoRA, full differences.",
        )


def _not_a_lora(names: list[str]) -> str:
    checkpoint = ("model.diffusion_model.", "first_stage_model.", "down_blocks.", "text_model.")
    if any(
        name.startswith((*checkpoint, "double_blocks.", "transformer_blocks.")) for name in names
    ):
        return (
            f"the file holds {plural(len(names), 'plain weight')}: a whole checkpoint where a LoRA "
            "is expected. Give it as the tuned model instead."
        )
    return f"none of {plural(len(names), 'tensor name')} is a LoRA's, for example {names[:3]}."


def _check_values(tensors: Mapping[str, Tensor]) -> None:
    whole = [name for name, value in tensors.items() if not value.is_floating_point()]
    if whole:
        raise LoraFormatError(
            "BAD_DTYPE",
            f"integers where weights are expected, in {plural(len(whole), 'tensor')}: "
            f"{whole[:MAX_LISTED]}. "
            "Quantised adapters are not read; save it as float16 or float32.",
        )
    bad = [name for name, value in tensors.items() if not torch.isfinite(value.float()).all()]
    if bad:
        raise LoraFormatError(
            "NON_FINITE", f"NaN or infinity in {plural(len(bad), 'tensor')}: {bad[:MAX_LISTED]}."
        )


Groups = dict[tuple[str, str], dict[str, tuple[str, ParsedName]]]


def _group(parsed: Mapping[str, ParsedName]) -> Groups:
    """Tensors by (component, underscored module), then slot."""
    groups: Groups = {}
    for name, part in parsed.items():
        slots = groups.setdefault((part.component, flatten(part.module)), {})
        if part.slot in slots:
            raise LoraFormatError(
                "AMBIGUOUS",
                f"{slots[part.slot][0]!r} and {name!r} both write {part.slot} of "
                f"{part.component} {part.module}; keep one.",
            )
        slots[part.slot] = (name, part)
    return groups


def _config_lookup(
    path: Path, header: SafetensorsHeader, names: Iterable[ParsedName]
) -> Callable[[ParsedName], AdapterConfig | None]:
    """Chooses the settings of a module: the file's own, or the sidecar's for PEFT names."""
    inside = metadata_configs(header.metadata)
    bare = any(name.dialect == "peft" or not name.explicit for name in names)
    beside = sidecar_config(path) if bare else None

    def lookup(name: ParsedName) -> AdapterConfig | None:
        if name.dialect == "kohya":
            return None
        return beside if name.dialect == "peft" or not name.explicit else inside.get(name.component)

    return lookup


def _build_all(
    groups: Groups,
    tensors: Mapping[str, Tensor],
    lookup: Callable[[ParsedName], AdapterConfig | None],
) -> tuple[tuple[LoraModule, ...], tuple[str, ...]]:
    modules: list[LoraModule] = []
    offences: dict[str, list[str]] = {}
    unscaled: list[str] = []
    for (component, _), slots in groups.items():
        first = next(iter(slots.values()))[1]
        parts = {slot: tensors[name] for slot, (name, _) in slots.items()}
        config = lookup(first)
        try:
            operator = build_operator(first.module, parts, config)
        except LoraFormatError as error:
            offences.setdefault(error.code, []).append(str(error).partition(": ")[2])
            continue
        if first.dialect == "peft" and config is None and "alpha" not in parts:
            unscaled.append(first.key)
        modules.append(LoraModule(component, first.key, first.module, operator))
    _raise_first(offences)
    return tuple(modules), _notes(modules, unscaled)


def _raise_first(offences: Mapping[str, list[str]]) -> None:
    for code, messages in offences.items():
        raise LoraFormatError(
            code, f"{plural(len(messages), 'module')}. " + " ".join(messages[:MAX_LISTED])
        )


def _notes(modules: Iterable[LoraModule], unscaled: list[str]) -> tuple[str, ...]:
    notes = []
    scales = [getattr(module.operator, "scale", 1.0) for module in modules]
    if negative := sum(scale < 0 for scale in scales):
        notes.append(f"negative alpha, so the change is subtracted: {plural(negative, 'module')}.")
    if zero := sum(scale == 0 for scale in scales):
        notes.append(f"alpha 0, so nothing is changed: {plural(zero, 'module')}.")
    if unscaled:
        notes.append(
            f"{plural(len(unscaled), 'PEFT module')} without a stated alpha (no "
            "adapter_config.json beside the file): alpha = rank was assumed, so the strength may "
            "be wrong."
        )
    return tuple(notes)
