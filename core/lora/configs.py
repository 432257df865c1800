"""PEFT's settings beside the weights: plain JSON, read for eight keys and nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LoraFormatError
from ..records import strict_json
from .safeguard import clean_text

MAX_CONFIG_BYTES = 1_000_000
CONFIG_NAME = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"
MAX_ALPHA = 1e6
_PLAIN_PATTERN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_READ = {
    "r",
    "lora_alpha",
    "alpha",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "use_dora",
    "use_rslora",
    "peft_type",
    "fan_in_fan_out",
    "init_lora_weights",
}
_PEFT_TYPES = ("LORA", "LOHA", "LOKR")
_RESIDUAL_INITS = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What scales a PEFT adapter.

    Attributes:
        rank: default inner dimension, or None if the settings do not say.
        alpha: default alpha, or None for "equal to the rank".
        rank_pattern: module-name ending -> rank. ``alpha_pattern`` likewise.
        rslora: scale by ``alpha / sqrt(rank)``.
        ignored: keys that were present and not read.
    """

    rank: int | None = None
    alpha: float | None = None
    rank_pattern: Mapping[str, float] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    rslora: bool = False
    ignored: tuple[str, ...] = ()

    def alpha_of(self, module: str, rank: int) -> float:
        """Alpha of one module; its rank where nothing is stated."""
        default = rank if self.alpha is None else self.alpha
        return _by_pattern(self.alpha_pattern, module, default)

    def scale_of(self, module: str, rank: int) -> float:
        """Factor in front of ``B @ A``: ``alpha / rank``, or ``alpha / sqrt(rank)`` (2312.03732).

        Raises:
            LoraFormatError: RANK_MISMATCH if the settings state another rank.
        """
        stated = _by_pattern(self.rank_pattern, module, rank if self.rank is None else self.rank)
        if stated != rank:
            raise LoraFormatError(
                "RANK_MISMATCH",
                f"{clean_text(module, 200)}: settings say rank {stated}, the tensors have {rank}.",
            )
        alpha = check_alpha(module, self.alpha_of(module, rank))
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def check_alpha(module: str, alpha: float) -> float:
    """Alpha itself, if finite and at most 1e6 in size.

    Raises:
        LoraFormatError: BAD_ALPHA.
    """
    if not math.isfinite(alpha) or abs(alpha) > MAX_ALPHA:
        raise LoraFormatError(
            "BAD_ALPHA",
            f"{clean_text(module, 200)}: alpha is {alpha}, expected a finite number up to "
            f"{MAX_ALPHA}.",
        )
    return alpha


def sidecar_config(weights: Path) -> AdapterConfig | None:
    """Settings from ``adapter_config.json`` beside the weights, None if there is no such file."""
    path = weights.parent / CONFIG_NAME
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise LoraFormatError(
            "MALFORMED_HEADER", f"{CONFIG_NAME} has over {MAX_CONFIG_BYTES} bytes; remove it."
        )
    return parse_config(strict_json(path.read_bytes()))


def metadata_configs(metadata: Mapping[str, str]) -> dict[str, AdapterConfig]:
    """Settings that diffusers keeps in the file, one for each component it names."""
    text = metadata.get(METADATA_KEY)
    if text is None or len(text) > MAX_CONFIG_BYTES:
        return {}
    flat = strict_json(text.encode())
    if not isinstance(flat, dict):
        raise LoraFormatError("MALFORMED_HEADER", f"{METADATA_KEY} must be a JSON object.")
    parts: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        component, _, name = key.partition(".")
        parts.setdefault("unet" if component == "transformer" else component, {})[name] = value
    return {component: parse_config(values) for component, values in parts.items()}


def parse_config(values: Any) -> AdapterConfig:
    """Reads decoded JSON settings; every key but eight is ignored and listed.

    Raises:
        LoraFormatError: MALFORMED_HEADER for a wrong type, UNSUPPORTED_OP for a method that
            this reader does not apply.
    """
    if not isinstance(values, dict):
        raise LoraFormatError("MALFORMED_HEADER", f"{CONFIG_NAME} must hold a JSON object.")
    _refuse_methods(values)
    rank = _number(values, "r")
    alpha = _number(values, "lora_alpha" if "lora_alpha" in values else "alpha")
    return AdapterConfig(
        rank=None if rank is None else int(rank),
        alpha=alpha,
        rank_pattern=_pattern(values, "rank_pattern"),
        alpha_pattern=_pattern(values, "alpha_pattern"),
        rslora=values.get("use_rslora") is True,
        ignored=tuple(sorted(str(key)[:80] for key in set(values) - _READ)),
    )


def _refuse_methods(values: dict[str, Any]) -> None:
    kind = values.get("peft_type", "LORA")
    if kind not in _PEFT_TYPES:
        raise LoraFormatError(
            "UNSUPPORTED_OP", f"PEFT method {str(kind)[:40]!r}; supported are {_PEFT_TYPES}."
        )
    if values.get("fan_in_fan_out") is True:
        raise LoraFormatError("UNSUPPORTED_OP", "transposed weights (fan_in_fan_out).")
    init = values.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_RESIDUAL_INITS):
        raise LoraFormatError(
            "UNSUPPORTED_OP",
            f"the adapter was initialised by {init[:20]!r}, which also changes the base weights; "
            "convert it to plain LoRA with PEFT when saving.",
        )


def _number(values: dict[str, Any], key: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LoraFormatError("MALFORMED_HEADER", f"{key} is {str(value)[:40]!r}, not a number.")
    return value


def _pattern(values: dict[str, Any], key: str) -> dict[str, float]:
    pattern = values.get(key) or {}
    if not isinstance(pattern, dict) or not all(isinstance(name, str) for name in pattern):
        raise LoraFormatError("MALFORMED_HEADER", f"{key} must map module names to numbers.")
    numbers = {name.removeprefix("^"): _number(pattern, name) for name in pattern}
    for name, number in numbers.items():
        if not name or not set(name) <= _PLAIN_PATTERN:
            raise LoraFormatError(
                "UNSUPPORTED_OP", f"{key} holds the regular expression {name[:60]!r}."
            )
        if number is None:
            raise LoraFormatError("MALFORMED_HEADER", f"{key}[{name[:60]!r}] is not a number.")
    return {name: number for name, number in numbers.items() if number is not None}


def _by_pattern(pattern: Mapping[str, float], module: str, default: float) -> float:
    dotted = f".{module}"
    return next((value for name, value in pattern.items() if dotted.endswith(f".{name}")), default)
