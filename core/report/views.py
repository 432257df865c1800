"""From the JSON twin to what the template prints: rows, exhibits, plots; no wording of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..evidence import NULL_WORDS, TRAINED_NULLS
from . import plots, score_plot, text
from .inspection_view import file_name, inspection_view, node
from .pictures import picture_uri

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
        "membership": None if failed else _membership(case),
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
    }


def _statistic(key: str, evidence: Mapping[str, Any]) -> str:
    if key == "membership":
        return f"{evidence['signal']}, {len(evidence['timesteps'])} timesteps"
    if key == "extraction":
        count = f"{evidence['images']:,}"
        return f"best similarity to {count} guided images ({evidence['encoder']})"
    if key == "attack":
        return f"mean logit difference, {len(evidence['seed_aucs'])} classifier seeds"
    return "facts of the file; no test"


def _forest(case: dict[str, Any]) -> Markup | None:
    rows = []
    for key, name, _, _ in LINES[1:]:
        auc = ((case[key] or {}).get("comparison") or {}).get("auc") or {}
        rows.append((name, auc.get("auc"), auc.get("low"), auc.get("high")))
    return _uri(plots.forest(rows))


def _uri(made: str | None) -> Markup | None:
    """Marks our own data URI as printable whole; it is base64, so it needs no escape."""
    return None if made is None else Markup(made)


def _legend(comparison: Mapping[str, Any]) -> str:
    auc = comparison["auc"]
    ends = text.interval(auc["low"], auc["high"])
    return f"AUC {text.number(auc['auc'], 2)}, 95% interval {ends} ({_method(auc['method'])})"


def _method(name: str) -> str:
    return "DeLong" if str(name).startswith("DeLong") else "conservative"


def rate_of(row: Mapping[str, Any]) -> float:
    """The false-alarm rate that a row was declared for."""
    return 1 / max(1, row.get("needed_controls") or 1)


def _marks(comparison: Mapping[str, Any]) -> list[tuple[float, str]]:
    return sorted(
        (row["threshold"], f"{text.percent(rate_of(row))} of controls above")
        for row in comparison["tpr"]
        if row["estimable"] and row["threshold"] is not None
    )


def _tpr(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "rate": rate_of(row)} for row in comparison["tpr"]]


def _shared(comparison: Mapping[str, Any], axis: str, marks: Sequence[Any]) -> dict[str, Any]:
    photos, controls = comparison["photo_scores"], comparison["control_scores"]
    return {
        "scores": _uri(score_plot.scores(photos, controls, axis=axis, marks=marks)),
        "roc": _uri(plots.roc(photos, controls, _legend(comparison).replace(", 95%", "\n95%"))),
        "roc_said": _legend(comparison),
        "tpr": _tpr(comparison),
    }


def _membership(case: dict[str, Any]) -> dict[str, Any] | None:
    m = case["membership"]
    if not m:
        return None
    c, ranks = m["comparison"], m["null_ranks"]
    return {
        **m,
        **_shared(c, "membership score (higher: more like a member)", _marks(c)),
        "losses": _uri(plots.losses(m["timesteps"], m["photo_curve"], m["control_curve"])),
        "seeds": _uri(
            plots.dots(m["seed_effects"], axis="effect by noise seed", mark=(c["effect"], "all"))
        ),
        "ranks": [_rank(rank) for rank in ranks],
        "trained_nulls": any(rank["kind"] in TRAINED_NULLS for rank in ranks),
        "agree": sum(1 for e in m["seed_effects"] if e is not None and e > 0),
        "rows": _photo_rows(case),
    }


def _rank(rank: dict[str, Any]) -> dict[str, Any]:
    drawn = plots.dots(
        rank["nulls"],
        axis="effect under null models (dots), in control sd",
        mark=(rank["value"], "this model"),
        zero=False,
    )
    words = NULL_WORDS.get(rank["kind"], str(rank["kind"]))
    return {**rank, "plot": _uri(drawn), "words": words}


def _photo_rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    c = case["membership"]["comparison"]
    listed, photos = set(c["shortlist"]), case["photos"]
    rows = [
        {
            "number": photos[i]["number"] if i < len(photos) else i + 1,
            "name": photos[i]["name"] if i < len(photos) else "",
            "score": score,
            "p": c["photo_p"][i] if i < len(c["photo_p"]) else None,
            "listed": i in listed,
            "similarity": _at(case["extraction"], i),
            "logit": _at(case["attack"], i),
        }
        for i, score in enumerate(c["photo_scores"])
    ]
    return sorted(rows, key=lambda r: (r["score"] is None, -(r["score"] or 0.0)))


def _at(evidence: Mapping[str, Any] | None, index: int) -> float | None:
    scores = evidence["comparison"]["photo_scores"] if evidence else ()
    return scores[index] if index < len(scores) else None


def _extraction(case: dict[str, Any], root: Path) -> dict[str, Any] | None:
    e = case["extraction"]
    if not e:
        return None
    marks = [(e["lenient_threshold"], "lenient threshold"), (e["copy_threshold"], "copy threshold")]
    marks = [(v, said) for v, said in marks if v is not None]
    return {
        **e,
        **_shared(e["comparison"], "best similarity over all images", marks),
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
        "picture": _uri(picture_uri(root, one["file"])),
        "photo_number": photo["number"] if photo else None,
        "photo_kept": bool(photo and photo.get("picture")),
        "photo": _uri(picture_uri(root, photo["picture"])) if photo else None,
    }


def _attack(a: dict[str, Any] | None) -> dict[str, Any] | None:
    if not a:
        return None
    shared = _shared(
        a["comparison"], "mean logit difference (above 0: looks tuned)", [(0.0, "looks tuned")]
    )
    return {
        **a,
        **shared,
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
