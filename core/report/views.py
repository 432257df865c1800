"""From the JSON twin to what the template prints: rows, exhibits, plots; no wording of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..errors import plural
from . import plots, text
from .comparisons import shared, uri
from .inspection_view import file_name, inspection_view, node
from .membership_view import decoys_view, membership_view
from .pictures import picture_uri
from .rates_view import rates_view
from .signals_view import primary_study, study_areas

MOST_ROWS = 200
MOST_EXHIBITS = 48
_EMPTY: dict[str, Any] = {
    "case_id": "",
    "created": "",
    "command": "",
    "tool": {},
    "models": {},
    "settings": {},
    "prompts": [],
    "prompts_from": "",
    "exchangeable": False,
    "photos": [],
    "controls": [],
    "duplicates_dropped": [],
    "inspection": {},
    "probe": None,
    "membership": None,
    "extraction": None,
    "attack": None,
    "decoys": None,
    "known_rates": None,
    "canonical": [],
    "planned_forwards": 0,
    "done_forwards": 0,
    "seconds": None,
}
LINES = (
    (
        "inspection",
        "Inspection",
        "What the file holds: which layers it changes, how strongly, what its metadata claims.",
        "Whether any photo was used. Anyone can edit or copy metadata.",
    ),
    (
        "membership",
        "White-box membership",
        "Whether the adapter makes the model predict these photos better than it does controls.",
        "Which single photo was used. Look-alikes and same-source photos move the same way.",
    ),
    (
        "extraction",
        "Extraction",
        "Which pictures the model gives back, and whether they resemble a photo more than any "
        "control.",
        "Absence of use: most training photos can never be pulled out. A likeness of a person is "
        "not a copy of a photo.",
    ),
    (
        "attack",
        "Black-box attack",
        "Whether the photos share traits with the images that the model makes, as a population.",
        "Photos apart within one source: published AUC 0.53 inside one institution, where 0.5 is "
        "chance.",
    ),
)


def case_view(case: dict[str, Any], root: Path) -> dict[str, Any]:
    """Everything that the template needs, by name."""
    case = {**_EMPTY, **case}
    verdict = _verdict(case.get("verdict") or {})
    failed = verdict["tone"] == "ERROR"
    return {
        "case": case,
        "verdict": verdict,
        "failed": failed,
        "subject": _subject(case["models"]),
        "lines": [] if failed else [_line(case, *line) for line in LINES],
        "forest": None if failed else _forest(case),
        "inspection": inspection_view(case["inspection"]),
        "membership": None if failed else membership_view(case, root),
        "decoys": None if failed else decoys_view(case),
        "rates": None if failed else rates_view(case),
        "extraction": None if failed else _extraction(case, root),
        "attack": None if failed else _attack(case["attack"]),
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


def _verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    letter = str(verdict.get("letter", "ERROR"))
    kind = "ERROR" if letter.startswith("ERROR") else letter
    tone = kind if kind in text.LETTERS else "ERROR"
    words, reading = text.LETTERS[tone]
    return {
        "letter": tone,
        "tone": tone,
        "headline": verdict.get("headline") or words,
        "reading": reading,
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


def _line(case: dict[str, Any], key: str, name: str, can: str, cannot: str) -> dict[str, Any]:
    evidence = case[key]
    comparison = (evidence or {}).get("comparison") if isinstance(evidence, Mapping) else None
    return {
        "name": name,
        "can": can,
        "cannot": cannot,
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
    for key, name, _, _ in LINES[1:]:
        auc = ((case[key] or {}).get("comparison") or {}).get("auc") or {}
        rows.append((name, auc.get("auc"), auc.get("low"), auc.get("high")))
    return uri(plots.forest(rows))


def _extraction(case: dict[str, Any], root: Path) -> dict[str, Any] | None:
    e = case["extraction"]
    if not e:
        return None
    marks = [(e["lenient_threshold"], "lenient threshold"), (e["copy_threshold"], "copy threshold")]
    marks = [(v, said) for v, said in marks if v is not None]
    return {
        **e,
        **shared(e["comparison"], "best similarity over all images", marks),
        "exhibits": [
            _exhibit(i, one, case["photos"], root)
            for i, one in enumerate(e["extracted"][:MOST_EXHIBITS])
        ],
        "left_out": max(0, len(e["extracted"]) - MOST_EXHIBITS),
    }


def _exhibit(
    index: int, one: Mapping[str, Any], photos: Sequence[Mapping[str, Any]], root: Path
) -> dict[str, Any]:
    at = one["nearest_photo"]
    photo = photos[at] if isinstance(at, int) and 0 <= at < len(photos) else None
    return {
        **one,
        "number": index + 1,
        "picture": uri(picture_uri(root, one["file"])),
        "photo_number": photo["number"] if photo else None,
        "photo_kept": bool(photo and photo.get("picture")),
        "photo": uri(picture_uri(root, photo["picture"])) if photo else None,
    }


def _attack(a: dict[str, Any] | None) -> dict[str, Any] | None:
    if not a:
        return None
    softmax = a.get("scores") == "softmax"
    axis, bar = ("mean P(member)", 0.5) if softmax else ("mean logit difference", 0.0)
    return {
        **a,
        **shared(a["comparison"], f"{axis} (above {bar:g}: looks tuned)", [(bar, "looks tuned")]),
        "softmax": softmax,
        "notes": a.get("notes") or [],
        "paper": (a.get("paper_low"), a.get("paper_high")),
        "mean_seed": sum(v or 0.0 for v in a["seed_aucs"]) / max(1, len(a["seed_aucs"])),
    }


def _items(name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"name": name, "rows": records[:MOST_ROWS], "total": len(records)}


def _seeds(settings: Any, path: str = "", depth: int = 0) -> list[tuple[str, str]]:
    if not isinstance(settings, Mapping) or depth > 4:
        return []
    found = []
    for key, value in settings.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            found += _seeds(value, name, depth + 1)
        elif key == "seed":
            found.append((name, text.plain_number(value)))
    return found
