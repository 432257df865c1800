"""From the JSON twin to what the template prints: rows, exhibits, plots; no wording of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..errors import plural
from ..verdicts.case import Case
from ..verdicts.letters import LETTERS, requirement
from ..verdicts.lines import LINES, Line
from . import plots, text
from .comparisons import levels_of, uri
from .inspection_view import file_name, inspection_view, node
from .line_views import attack_view, extraction_view
from .membership_view import decoys_view, look_alikes_view, membership_view
from .rates_view import rates_view
from .signals_view import primary_study, study_areas

MOST_ROWS = 200
SECTIONS = (
    "rates.html", "inspection.html", "membership.html", "extraction.html", "attack.html",
    "items.html", "settings.html",
)  # fmt: skip
"""Sections of the page in order, each a template that finds its view under its own name."""
FAILED = ("inspection.html", "items.html", "settings.html")
"""Those that a file that could not be analyzed leaves something to say in."""


def case_view(case: dict[str, Any], root: Path) -> dict[str, Any]:
    """Everything that the templates need, by name."""
    case = {**_empty(), **case}
    verdict = _verdict(case.get("verdict") or {})
    failed = verdict["tone"] == "ERROR"
    views = {
        "rates": rates_view,
        "membership": partial(membership_view, root=root),
        "look_alikes": partial(look_alikes_view, root=root),
        "decoys": decoys_view,
        "extraction": partial(extraction_view, root=root),
        "attack": attack_view,
        "forest": _forest,
    }
    return {
        "case": case,
        "verdict": verdict,
        "failed": failed,
        "sections": FAILED if failed else SECTIONS,
        "letters": _letters(case["settings"]),
        "subject": _subject(case["models"]),
        "lines": [] if failed else [_line(case, key, line) for key, line in LINES.items()],
        "inspection": inspection_view(case["inspection"]),
        **{name: None if failed else view(case) for name, view in views.items()},
        "items": [
            _items("Photos", case["photos"]),
            _items("Controls", case["controls"]),
        ],
        "most_rows": MOST_ROWS,
        "models_tree": node(case["models"]),
        "settings_tree": node(case["settings"]),
        "tool_tree": node(case["tool"]),
        "seeds": sorted(_seeds(case["settings"])),
    }


def _empty() -> dict[str, Any]:
    """The fields of a case where the twin lacks them."""
    given = (f for f in fields(Case) if f.name != "verdict")
    values = {f.name: f.default_factory() if f.default is MISSING else f.default for f in given}  # type: ignore[misc]
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _letters(settings: Any) -> list[dict[str, str]]:
    """The letters with what each takes, at the levels of this case."""
    levels = levels_of(settings)
    return [
        {"letter": key, "headline": letter.headline, "takes": requirement(key, levels)}
        for key, letter in LETTERS.items()
        if letter.takes
    ]


def _verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    letter = str(verdict.get("letter", "ERROR"))
    kind = "ERROR" if letter.startswith("ERROR") else letter
    tone = kind if kind in LETTERS else "ERROR"
    return {
        "letter": tone,
        "tone": tone,
        "headline": verdict.get("headline") or LETTERS[tone].headline,
        "reading": LETTERS[tone].reading,
        "gates": [text.gate(r) for r in verdict.get("reasons") or []],
        "caveats": [c for c in verdict.get("caveats") or [] if not _said_anyway(c)],
        "error_rates": verdict.get("error_rates") or [],
        "photos_needed": verdict.get("photos_needed") or 0,
    }


def _said_anyway(caveat: str) -> bool:
    """The card's last line says this in every report."""
    return str(caveat).startswith("A person decides")


def _subject(models: Mapping[str, Any]) -> str:
    for key in ("adapter", "lora", "tuned", "suspect"):
        found = models.get(key)
        if isinstance(found, Mapping):
            found = found.get("name") or found.get("file") or found.get("path")
        if found:
            return file_name(str(found))
    return ""


def _line(case: dict[str, Any], key: str, line: Line) -> dict[str, Any]:
    evidence = case[key]
    comparison = (evidence or {}).get("comparison") if isinstance(evidence, Mapping) else None
    return {
        "name": line.title,
        "can": line.can,
        "cannot": line.cannot,
        "run": bool(evidence),
        "statistic": _statistic(key, evidence) if evidence else "",
        "comparison": comparison,
        "study": _study(case, key) if evidence else None,
    }


def _study(case: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """The line's AUC over the guilty cases of the calibration study."""
    areas = study_areas(case)
    return primary_study(areas) if key == "membership" else areas.get(key)


def _statistic(key: str, evidence: Mapping[str, Any]) -> str:
    if key == "membership":
        return f"{evidence['signal']}, {plural(len(evidence['timesteps']), 'timestep')}"
    if key == "extraction":
        count = f"{evidence['images']:,}"
        return f"best similarity to {count} guided images ({evidence['encoder']})"
    if key == "attack":
        score = "P(member)" if evidence.get("scores") == "softmax" else "logit difference"
        return f"mean {score}, {plural(len(evidence['seed_aucs']), 'classifier seed')}"
    return "facts of the file; no test"


def _forest(case: dict[str, Any]) -> Markup | None:
    rows = []
    for key, line in LINES.items():
        area = (case[key] or {}).get("comparison", {}).get("auc")
        if key != "inspection":
            rows.append((line.title, *((area or {}).get(k) for k in ("auc", "low", "high"))))
    return uri(plots.forest(rows))


def _items(name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"name": name, "rows": records[:MOST_ROWS], "total": len(records)}


def _seeds(settings: Any, path: str = "", depth: int = 0) -> list[tuple[str, str]]:
    if not isinstance(settings, Mapping) or depth > 4:
        return []
    rows = []
    for key, value in settings.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            rows += _seeds(value, name, depth + 1)
        elif key == "seed":
            rows.append((name, text.plain_number(value)))
    return rows
