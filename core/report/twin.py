"""The JSON twin: everything that the HTML says, for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..verdicts.case import SCHEMA_VERSION

TWIN_NAME = "report.json"
REDACTED_NAME = "report-redacted.json"


def render_json(case: Any) -> str:
    """The case as JSON text: sorted keys, NaN and infinities as null, ASCII only.

    Args:
        case: a `Case`, or the plain dict made from one.
    """
    return json.dumps(plain(case), sort_keys=True, indent=1, allow_nan=False) + "\n"


def plain(case: Any) -> dict[str, Any]:
    """The case as plain JSON values, as `render_html` takes it."""
    whole = _plain(case)
    if not isinstance(whole, dict):
        raise TypeError(f"a case is a mapping, not {type(case).__name__}")
    whole.setdefault("schema_version", SCHEMA_VERSION)
    return whole


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(v) for v in items]
    if callable(item := getattr(value, "item", None)):  # a numpy or torch scalar
        value = item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a report")
