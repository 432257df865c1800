"""The inspection's dictionary, sorted into what the report prints.

It is a `core.lora.inspection.Inspection` as plain JSON. Parts known by name get their place; any
other key is still printed, so nothing is lost when the inspection learns something new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ..errors import plural
from . import plots, text

MOST_DEPTH = 4
MOST_ENTRIES = 120
_CLAIMS = ("metadata", "claims", "claimed", "claimed_metadata")
_PROMPTS = ("prompts", "recovered_prompts", "captions", "trigger_words")
_HASHES = ("hashes", "sha256", "tensor_sha256")
_TABLES = (
    ("coverage", "Coverage of the base model"),
    ("blocks", "Where the change sits"),
    ("exposure", "Exposure, if the metadata is true"),
)
_VALUES = ("top", "singular_values", "values")
_SEVERITIES = ("info", "note", "warning")


def inspection_view(inspection: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Parts of the inspection in the order of the report, or None if it was not run."""
    if not inspection:
        return None
    left = dict(inspection)
    findings = [_finding(f) for f in _as_list(left.pop("findings", []))]
    if isinstance(left.get("path"), str):
        left = {"file": file_name(left.pop("path")), **left}
    hashes = {k: left.pop(k) for k in _HASHES if k in left}
    claims = {k: left.pop(k) for k in _CLAIMS if k in left}
    stated = next((c for c in claims.values() if isinstance(c, Mapping)), {})
    prompts = [p for k in _PROMPTS if k in stated for p in _as_list(stated[k])]
    prompts += [p for k in _PROMPTS if k in left for p in _as_list(left.pop(k))]
    curves = _curves(left)
    tables = [("Hashes, computed here", node(_flat(hashes)))] if hashes else []
    tables += [(title, node(found)) for key, title in _TABLES if (found := left.pop(key, None))]
    facts = {k: left.pop(k) for k in list(left) if not _deep(left[k])}
    claimed = next(iter(claims.values())) if len(claims) == 1 else claims
    if isinstance(claimed, Mapping):
        claimed = {k: v for k, v in claimed.items() if k not in _PROMPTS}
    return {
        "findings": findings,
        "claims": node(claimed) if claims and claimed else None,
        "prompts": [_prompt(p) for p in prompts[:MOST_ENTRIES]],
        "tables": tables,
        "spectra": None if not curves else _uri(plots.spectra(curves)),
        "facts": node(facts) if facts else None,
        "rest": [(key, node(value)) for key, value in left.items()],
    }


def node(value: Any, depth: int = 0) -> dict[str, Any]:
    """A JSON value as a tree that the template can print: ``table``, ``list`` or ``leaf``."""
    if depth >= MOST_DEPTH and isinstance(value, Mapping | list):
        return {
            "kind": "leaf",
            "value": f"({plural(len(value), 'entry', 'entries')}, see the JSON twin)",
        }
    if isinstance(value, Mapping):
        shown = list(value.items())[:MOST_ENTRIES]
        rows = [(str(k), node(v, depth + 1)) for k, v in shown]
        return {"kind": "table", "rows": rows, "left": len(value) - len(shown)}
    if isinstance(value, list):
        if all(not isinstance(v, Mapping | list) for v in value):
            words = [_word(v) for v in value[:MOST_ENTRIES]]
            return {"kind": "list", "words": words, "left": len(value) - len(words)}
        shown = value[:MOST_ENTRIES]
        if _is_grid(shown):
            heads = list(dict.fromkeys(k for v in shown for k in v))
            cells = [[_word(v.get(k)) for k in heads] for v in shown]
            left = len(value) - len(shown)
            return {"kind": "grid", "heads": heads, "rows": cells, "left": left}
        rows = [(str(i + 1), node(v, depth + 1)) for i, v in enumerate(shown)]
        return {"kind": "table", "rows": rows, "left": len(value) - len(shown)}
    return {"kind": "leaf", "value": _word(value)}


def file_name(path: str) -> str:
    """The last part of a path: folders name people."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text.plain_number(value)


def _is_grid(rows: list[Any]) -> bool:
    return all(
        isinstance(r, Mapping) and len(r) <= 8 and not any(_deep(v) for v in r.values())
        for r in rows
    )


def _deep(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(isinstance(v, Mapping | list) for v in value.values()) or len(value) > 12
    return isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value)


def _flat(hashes: dict[str, Any]) -> dict[str, Any]:
    inner = hashes.pop("hashes", None)
    return {**hashes, **inner} if isinstance(inner, Mapping) else hashes


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _finding(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        return {"severity": "note", "subject": "", "message": found, "evidence": ""}
    message = found.get("message") or found.get("text") or found.get("name") or found.get("code")
    return {
        "severity": _severity(found.get("severity")),
        "subject": found.get("subject") or "",
        "message": message or "",
        "evidence": found.get("evidence") or found.get("trigger") or found.get("detail") or "",
    }


def _severity(value: Any) -> str:
    if isinstance(value, int) and 0 <= value < len(_SEVERITIES):
        return _SEVERITIES[value]
    return "note" if value is None else str(value)


def _prompt(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        return {"text": found, "detail": ""}
    said = next((found[k] for k in ("text", "prompt", "caption", "token") if k in found), "")
    keys = ("score", "count", "source", "from", "weight")
    detail = [f"{k} {found[k]}" for k in keys if found.get(k) is not None]
    return {"text": said, "detail": ", ".join(detail)}


def _curves(left: dict[str, Any]) -> list[list[float | None]]:
    spectra = left.get("spectra")
    entries = list(spectra.values()) if isinstance(spectra, Mapping) else _as_list(spectra)
    curves = [c for c in (_values(e) for e in entries) if c]
    if curves:
        left.pop("spectra")
    return curves


def _values(entry: Any) -> list[float | None]:
    if isinstance(entry, Mapping):
        entry = next((entry[k] for k in _VALUES if k in entry), None)
    if not isinstance(entry, list):
        return []
    return [v for v in entry if isinstance(v, int | float) and not isinstance(v, bool)]


def _uri(made: str | None) -> Markup | None:
    return None if made is None else Markup(made)
