"""Rates from JSON, strictly: another schema or a strange file is refused by name."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import InputError
from .facts import SCHEMA_VERSION, KnownRates

SHIPPED = Path(__file__).parent
TINY = "tiny"


def shipped_rates(name: str = TINY) -> KnownRates | None:
    """The rates that come with the tool; None where there are none of that name."""
    path = SHIPPED / f"{name}.json"
    return load_rates(path) if path.exists() else None


def load_rates(path: Path) -> KnownRates:
    """Rates from the JSON of a calibration study.

    Raises:
        InputError: no such file (MISSING_RATES), written by another version (RATES_SCHEMA), or
            not the JSON of a calibration study (BAD_RATES).
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); `calibrate` writes rates.json"
        raise InputError("MISSING_RATES", message) from error
    except ValueError as error:
        raise InputError("BAD_RATES", f"{path} is not JSON ({error})") from error
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            "RATES_SCHEMA",
            f"{path} has schema {version}, this version reads {SCHEMA_VERSION}; run `calibrate "
            "--summarise` on the study's folder again",
        )
    try:
        return _built(KnownRates, facts)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("BAD_RATES", f"{path} is not a calibration's rates ({error})") from error


def _built(kind: Any, value: Any) -> Any:
    """A value of a declared type from plain JSON; strict about names and kinds."""
    if isinstance(kind, UnionType):
        return None if value is None else _built(get_args(kind)[0], value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        unknown = value.keys() - hints.keys()
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        return kind(**{f.name: _built(hints[f.name], value[f.name]) for f in fields(kind)})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_built(k, v) for k, v in zip(each, value, strict=True))
    if get_origin(kind) is dict:
        return {k: _built(get_args(kind)[1], v) for k, v in value.items()}
    if kind is Any:
        return value
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, _accepted(kind)):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _accepted(kind: type) -> tuple[type, ...]:
    return (int, float) if kind is float else (kind,)
