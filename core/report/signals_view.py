"""Every white-box signal beside the declared one: rows, forest plot, and what each adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import plural
from . import plots, text
from .comparisons import levels_of, uri

GROUPS = {
    "declared": "The declared signal: the verdict rests on it alone",
    "own": "Other signals, measured in the same pass",
    "published": "Published attacks on the tuned model alone, for comparison",
}
CAPTIONS = {
    "paired": "Its own caption",
    "trigger": "One prompt for all",
    "shuffled": "Another image's caption",
    "generic": "A general caption",
}


def signals_view(case: Mapping[str, Any]) -> dict[str, Any]:
    """Table, plot and sentences on every signal; empty where no other signal was measured."""
    m = case["membership"]
    rows = _rows(m, study_areas(case)) if m.get("signals") else []
    return {
        "groups": [(GROUPS[g], part) for g in GROUPS if (part := [r for r in rows if r[g]])],
        "studied": any(r["study"] for r in rows),
        "forest": uri(_forest(rows)) if rows else None,
        "said": _sentences(rows, levels_of(case["settings"]).alpha_strong) if rows else [],
        "left_out": [(str(entry[0]), entry[1]) for entry in m.get("left_out") or []],
    }


def captions_view(membership: Mapping[str, Any]) -> dict[str, Any] | None:
    """The conditional gap under each caption, known kinds first; None where it was not run."""
    captions = membership.get("captions")
    if not captions:
        return None
    aucs, p = captions["aucs"], captions["p"]
    kinds = [*(k for k in CAPTIONS if k in aucs), *(k for k in aucs if k not in CAPTIONS)]
    rows = [(CAPTIONS.get(k, text.label(k)), aucs[k], p.get(k)) for k in kinds]
    return {"rows": rows, "dependent": captions["dependent"]}


def study_areas(case: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """AUC of each line and signal in the calibration study, by its name."""
    return {s["name"]: s for s in (case.get("known_rates") or {}).get("signals") or []}


def primary_study(areas: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The declared signal among the study's, whose code calls it by one of two names."""
    return areas.get("primary") or areas.get("base_ratio")


def _rows(m: Mapping[str, Any], study: Mapping[str, Any]) -> list[dict[str, Any]]:
    c = m["comparison"]
    title, _, source = str(m["signal"]).partition(": ")
    declared = _row(
        {"title": text.label(title), "source": source, "p": c["permutation"]["p"]},
        c["auc"],
        _five_percent(c["tpr"]),
        "declared",
        primary_study(study),
    )
    others = [
        _row(s, s["auc"], s["tpr"], "published" if s["published"] else "own", study.get(s["name"]))
        for s in m["signals"]
    ]
    return [declared, *sorted(others, key=lambda r: (r["published"], -(r["auc"] or 0.0)))]


def _row(
    said: Mapping[str, Any], area: Mapping[str, Any], tpr: Any, group: str, study: Any
) -> dict[str, Any]:
    return {
        "title": text.first_upper(str(said["title"])),
        "source": said.get("source") or "",
        "p": said["p"],
        "holm_p": said.get("holm_p"),
        "forwards": said.get("forwards"),
        "auc": area["auc"],
        "low": area["low"],
        "high": area["high"],
        "tpr": tpr,
        "study": study,
        **{name: name == group for name in GROUPS},
    }


def _five_percent(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((r for r in rows if r.get("needed_controls") == 20), None)


def _forest(rows: Sequence[Mapping[str, Any]]) -> str | None:
    lines = [(plots.plain_words(r["title"]), r["auc"], r["low"], r["high"]) for r in rows]
    return plots.forest(lines, faint=[r["published"] for r in rows])


def _sentences(rows: Sequence[Mapping[str, Any]], alpha: float) -> list[str]:
    """What the other signals add, from this case's figures alone."""
    others = [r for r in rows if not r["declared"] and r["auc"] is not None]
    if not others:
        return []
    significant = sum(r["holm_p"] is not None and r["holm_p"] <= alpha for r in others)
    counted = plural(len(others), "other signal")
    said = (
        f"{significant} of {counted} {'finds' if significant == 1 else 'find'} a difference "
        f"(Holm-adjusted p at most {alpha:g}). The highest AUC among them is {_best(others)}."
    )
    return [said, *_against_published(rows[0], others)]


def _against_published(
    declared: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The declared signal was chosen before scoring, so this comparison picks no winner."""
    areas = [r["auc"] for r in others if r["published"]]
    own = declared["auc"]
    if not areas or own is None:
        return []
    above, level = sum(own > a for a in areas), sum(own == a for a in areas)
    return [
        f"On this case the declared signal, AUC {text.number(own, 3)}, is above {above} of "
        f"{plural(len(areas), 'published attack')}, level with {level} and below "
        f"{len(areas) - above - level}; the best of those: "
        f"{_best([r for r in others if r['published']])}."
    ]


def _best(rows: Sequence[Mapping[str, Any]]) -> str:
    """The highest AUC and whose it is."""
    top = max(r["auc"] for r in rows)
    whose = [r["title"] for r in rows if r["auc"] == top]
    shared = f", shared by {len(whose)}" if len(whose) > 1 else f" ({whose[0]})"
    return f"{text.number(top, 3)}{shared}"
