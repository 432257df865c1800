"""A copy of a case for other eyes: verdict, figures, hashes and caveats, and no word of anybody.

What may stay is listed; every other text becomes a mark, and every other field goes. So a field
that somebody adds to a case is left out until it is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .twin import plain

MARK = "[redacted]"
_HASH = re.compile(r"[0-9a-f]{8,128}")
_CODE = re.compile(r"ERROR/[A-Z0-9_]+")


def redact(case: Any) -> dict[str, Any]:
    """The JSON twin without pictures, names, prompts, paths and text of the file's metadata.

    Args:
        case: a `Case` or its JSON twin; it is not changed.

    Returns:
        A JSON twin with ``redacted`` true. Counts stay: a list of prompts keeps its length.
    """
    return {**_apply(_CASE, plain(case)), "redacted": True}


def _apply(rule: Any, value: Any) -> Any:
    """`value` under a rule: a function, or a mapping of keys to rules (``*``: all other keys)."""
    if callable(rule):
        return rule(value)
    if isinstance(value, list):
        return [_apply(rule, v) for v in value]
    if isinstance(value, Mapping):
        rules = {k: rule.get(k, rule.get("*")) for k in value}
        return {k: _apply(rules[k], v) for k, v in value.items() if rules[k] is not None}
    return _figures(value)


def _as_it_is(value: Any) -> Any:
    return value


def _figures(value: Any) -> Any:
    """Numbers at any depth; text is marked."""
    if isinstance(value, Mapping):
        return {k: _figures(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_figures(v) for v in value]
    return MARK if isinstance(value, str) and value else value


def _hash(value: Any) -> Any:
    return value if isinstance(value, str) and _HASH.fullmatch(value) else _figures(value)


def _nothing(value: Any) -> str:
    return ""


def _shipped(value: Any) -> Any:
    """The name of a study that comes with the tool; any other was given by a person."""
    return value if value == "tiny" else _figures(value)


def _sentences(value: Any) -> list[Any]:
    """Sentences of this tool, alone or in pairs with a name; anything else is marked."""
    return [_sentence(v) for v in value] if isinstance(value, list) else []


def _sentence(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return value
    return value if isinstance(value, str) else _figures(value)


def _marks(value: Any) -> list[str]:
    return [MARK] * len(value) if isinstance(value, list) else []


def _items(kind: str) -> Callable[[Any], list[Any]]:
    """Photos or controls, named by their number."""
    return _each(
        lambda r: {
            **_apply(_ITEM, r),
            "name": f"{kind} {_figures(r.get('number'))}",
            "picture": "",
            "heat": "",
        }
    )


def _reason(reason: Any) -> dict[str, Any]:
    """A reason as it is; an error's message may hold paths, so only its code stays."""
    kind, text = reason.get("kind"), str(reason.get("text") or "")
    if kind == "cause":
        code = _CODE.match(text)
        text = f"{code[0]}: {MARK}" if code else MARK
    return {"kind": kind, "text": text}


def _finding(finding: Any) -> dict[str, Any]:
    """A finding's sentence where the tool alone wrote it; its evidence quotes the file."""
    known = finding.get("subject") in _OWN_FINDINGS
    return {
        "severity": _figures(finding.get("severity")),
        "subject": finding["subject"] if known else MARK,
        "message": finding.get("message") if known else MARK,
        "evidence": "",
    }


def _each(rule: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda values: [rule(v) if isinstance(v, Mapping) else MARK for v in values or ()]


_OWN_FINDINGS = {  # subjects whose messages core.lora.inspection words without the file's text
    "base",
    "exposure",
    "merged_from",
    "metadata",
    "minors",
    "modelspec.hash_sha256",
    "modelspec.thumbnail",
    "rank",
    "sshs_legacy_hash",
    "sshs_model_hash",
    "trigger words",
}
_ITEM = {
    "sha256": _hash,
    "pixels_sha256": _hash,
    "number": _figures,
    "width": _figures,
    "height": _figures,
    "format": _as_it_is,
}
_MODEL_FACTS = ("tuned_kind", "family", "prediction", "device", "dtype")
_MODEL = {
    "base_sha256": _hash,
    "tuned_sha256": _hash,
    **dict.fromkeys(_MODEL_FACTS, _as_it_is),
    **{key: {"sha256": _hash} for key in ("base", "adapter", "lora", "tuned", "suspect")},
    **dict.fromkeys(("resolution", "latent_shape", "strength"), _figures),
    **dict.fromkeys(("output_change", "row_limit"), _figures),
    "notes": _marks,
}
_CLAIMS = {
    **dict.fromkeys(("steps", "batch", "images", "regularization_images"), _figures),
    "datasets": {"images": _figures, "repeats": _figures},
}
_INSPECTION = {
    "sha256": _hash,
    "tensor_sha256": _hash,
    **dict.fromkeys(("format", "family"), _as_it_is),
    **dict.fromkeys(("modules", "kinds", "ranks", "text_encoder_share"), _figures),
    "claims": _CLAIMS,
    "exposure": {"passes": _figures, "reading": _as_it_is},
    "stop_words": _marks,
    "spectra": {"kind": _as_it_is, "module": _nothing, "component": _as_it_is, "*": _figures},
    "blocks": {"block": _as_it_is, "component": _as_it_is, "*": _figures},
    "coverage": {"component": _as_it_is, "*": _figures},
    "findings": _each(_finding),
}
_COMPARISON = {"auc": {"method": _as_it_is, "*": _figures}, "*": _figures}
_AREA = {"method": _as_it_is, "*": _figures}
_NULL_RANK = {
    "kind": _as_it_is,
    "note": _as_it_is,
    "difference": {"first": _AREA, "second": _AREA, **_AREA},
    "*": _figures,
}
_EXTRACTED = {"file": _nothing, "sha256": _hash, "guidance": _as_it_is, "*": _figures}
_EXTRACTION = {
    **dict.fromkeys(("guidance", "encoder", "encoder_note"), _as_it_is),
    "comparison": _COMPARISON,
    "extracted": _EXTRACTED,
    "*": _figures,
}
_VERDICT = {
    **dict.fromkeys(("letter", "headline", "caveats", "error_rates"), _as_it_is),
    "reasons": _each(_reason),
    "photos_needed": _figures,
}
_SIGNAL = {
    **dict.fromkeys(("name", "title", "source"), _as_it_is),
    "auc": _AREA,
    "*": _figures,
}
_CAPTIONS = {
    **dict.fromkeys(
        ("aucs", "p"), dict.fromkeys(("paired", "trigger", "shuffled", "generic"), _figures)
    ),
    "dependent": _figures,
}
_KNOWN_RATES = {
    "study": _shipped,
    "cases": _figures,
    "outside": _sentences,
    "letters": {"letter": _as_it_is, "*": _figures},
    "signals": {"name": _as_it_is, "title": _as_it_is, "*": _figures},
    "p_uniform": {"name": _as_it_is, "verdict": _as_it_is, "*": _figures},
    "likelihood": {"verbal": _as_it_is, "calibrator": _as_it_is, "*": _figures},
}
_CASE = {
    **dict.fromkeys(("case_id", "created", "tool", "prompts_from"), _as_it_is),
    **dict.fromkeys(("exchangeable", "forwards"), _figures),
    **dict.fromkeys(("seconds", "schema_version"), _figures),
    "command": _figures,
    "models": _MODEL,
    "settings": {"*": {"sampler": _as_it_is, "guidance": _as_it_is, "*": _figures}},
    "canonical": _sentences,
    "prompts": _marks,
    "duplicates_dropped": _marks,
    "photos": _items("photo"),
    "controls": _items("control"),
    "inspection": _INSPECTION,
    "probe": {"reason": _as_it_is, "*": _figures},
    "look_alikes": {"picture": _nothing, "*": _figures},
    "membership": {
        "signal": _as_it_is,
        "comparison": _COMPARISON,
        "null_ranks": _NULL_RANK,
        "signals": _SIGNAL,
        "left_out": _sentences,
        "captions": _CAPTIONS,
        "usage": {"method": _as_it_is, "*": _figures},
        "*": _figures,
    },
    "extraction": _EXTRACTION,
    "attack": {
        **dict.fromkeys(("negatives", "scores"), _as_it_is),
        "notes": _sentences,
        "comparison": _COMPARISON,
        "*": _figures,
    },
    "decoys": {"kind": _as_it_is, "commitment": _hash, "*": _figures},
    "known_rates": _KNOWN_RATES,
    "verdict": _VERDICT,
}
