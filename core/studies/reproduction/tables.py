"""The facts of a reproduction as Markdown tables; the documentation takes them from here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...statistics.intervals import mean_seed_interval

Facts = Mapping[str, Any]
NOTHING = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, places: int = 2) -> str:
    """A figure, or a dash where there is none.

    Example:
        >>> number(0.864), number(None), number(0.0132, 3)
        ('.86', '-', '.013')
    """
    if value is None:
        return NOTHING
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{places}f}")


def _with(value: float | None, half: float | None) -> str:
    if value is None:
        return NOTHING
    return number(value) + (f" ± {number(half)}" if half is not None else "")


def _span(found: Mapping[str, float]) -> str:
    return f"{number(found['auc'], 3)} ({number(found['low'], 3)} to {number(found['high'], 3)})"


def auc_table(facts: Facts) -> str:
    """The paper's table: ours and the published values in turn."""
    head = (
        *("No", "Experiment", "R18 published", "R18 ours, its interval", "ours, sound 95%"),
        *("centroid published", "centroid ours", "TPR at 1% FPR published", "ours"),
    )
    return table(head, [_auc_row(row) for row in facts["rows"]])


def _auc_row(row: Facts) -> tuple[str, ...]:
    published = row["published"]
    return (
        row["key"],
        row["title"],
        _with(published["auc"], published["half"]),
        _with(row["printed"]["auc"], row["printed"]["half"]),
        _span(row["sound"]),
        number(published["clip"]),
        number(row["centroid"]["auc"]),
        number(published["tpr1"]),
        number(row["tpr1"]) + ("" if row["tpr1_estimable"] else " (few controls)"),
    )


def accusation_table(facts: Facts) -> str:
    """How often a textbook test convicts the target, and the untouched base in its place."""
    head = (
        *("No", "target, K = 20 / 50", "published"),
        *("untouched base, K = 20 / 50", "published", "AUC of the base", "excess of the target"),
    )
    return table(head, [_accusation_row(row, facts) for row in facts["rows"] if row["convicted"]])


def _accusation_row(row: Facts, facts: Facts) -> tuple[str, ...]:
    null = row["null"]
    told = _published_null(row, facts)
    own = "untouched base itself" if row["train"][0].startswith("base_") else None
    return (
        row["key"],
        own or _rates(row["convicted"]),
        _rates(row["published"]["convicted"]) if own is None else NOTHING,
        _rates(null["convicted"]) if null else NOTHING,
        told,
        _span(null["sound"]) if null else NOTHING,
        _excess(null) if null and own is None else NOTHING,
    )


def _published_null(row: Facts, facts: Facts) -> str:
    """The published rate of the row that is this row's null, if the paper has one."""
    if row["null"] is None:
        return NOTHING
    for other in facts["rows"]:
        same = other["folder"] == row["null"]["folder"] and other["test"] == row["test"]
        if same and other["published"]["convicted"]:
            return _rates(other["published"]["convicted"])
    return NOTHING


def _rates(rates: Mapping[str, float | None]) -> str:
    if not rates:
        return NOTHING
    return " / ".join(number(rates.get(k), 3) for k in ("20", "50"))


def _excess(null: Facts) -> str:
    e = null["excess"]
    return f"{e['estimate']:+.3f} ({e['low']:+.3f} to {e['high']:+.3f})"


def seeds_table(facts: Facts) -> str:
    """AUC of each seed, errors, and the shares above 0.5."""
    head = (
        *("No", "AUC of each seed", "SE of photos", "SE of seeds"),
        *("Student half-width published", "ours", "photos"),
        *("above .5, members / others", "published"),
    )
    return table(
        head,
        [
            (
                row["key"],
                " ".join(number(a, 3) for a in row["seed_aucs"]),
                number(row["sound"]["se_photos"], 3),
                number(row["sound"]["se_seeds"], 3),
                number(row["published"].get("student"), 3),
                number(_student(row["seed_aucs"]), 3),
                " / ".join(str(n) for n in row["counts"]),
                " / ".join(number(s) for s in row["above"]),
                " / ".join(number(s) for s in row["published"]["above"] or (None,)),
            )
            for row in facts["rows"]
        ],
    )


def _student(areas: Sequence[float]) -> float | None:
    if len(areas) < 2:
        return None
    found = mean_seed_interval(areas)
    return found.high - found.estimate


def findings_table(facts: Facts) -> str:
    """Each finding with its rule and what the run says."""
    head = ("Finding", "Published", "Here", "Numbers", "Rule, fixed in code")
    return table(
        head,
        [
            (f["claim"], f["published"], f"**{f['outcome']}**", f["numbers"], f["rule"])
            for f in facts["findings"]
        ],
    )


def targets_table(facts: Facts) -> str:
    """What was trained, and how the loss fell."""
    head = ("Target", "photos", "steps", "loss, first tenth", "last tenth", "seconds")
    own = [s for s in facts["stages"] if s["kind"] == "target"]
    return table(
        head,
        [
            (
                s["name"],
                str(s["photos"]),
                f"{s['steps']:,}",
                number(s["first_loss"], 4),
                number(s["last_loss"], 4),
                f"{s['seconds']:.0f}",
            )
            for s in own
        ],
    )


def run_facts(facts: Facts) -> str:
    """Command, machine, time, seeds and what differs from the paper's settings."""
    hardware, versions = facts["hardware"], facts["versions"]
    scale = facts["manifest"]["scale"]
    kinds = {
        kind: sum(s["cpu_seconds"] for s in facts["stages"] if s["kind"] == kind)
        for kind in ("target", "images", "attack", "features")
    }
    spent = ", ".join(f"{kind} {seconds / 60:.1f}" for kind, seconds in kinds.items())
    lines = [
        f"- command: `{facts['command']}`",
        f"- time: {facts['seconds'] / 60:.0f} minutes by the clock, "
        f"{facts['cpu_seconds'] / 60:.0f} of the processor ({spent}); {hardware['threads']} "
        f"thread(s), {hardware['cores']} cores, {hardware['machine']}, {versions['device']}",
        f"- versions: lora-forensics {versions['lora-forensics']}, torch {versions['torch']}, "
        f"diffusers {versions['diffusers']}",
        f"- seeds: classifiers 0 to {scale['attack']['seeds'] - 1}, training "
        f"{scale['finetune']['seed']}, images 1 (dtu prompt), 2 (aau), 3 (general)",
        f"- images an arm {scale['attack']['images']}, training steps of the 400-epoch target "
        f"{scale['finetune']['steps']:,}",
        *(f"- {name}: {text}" for name, text in scale["facts"].items()),
    ]
    return "\n".join(lines)


SECTIONS: dict[str, tuple[str, Callable[[Facts], str]]] = {
    "table": ("Published beside ours", auc_table),
    "findings": ("Findings", findings_table),
    "accusations": ("How often a textbook test convicts", accusation_table),
    "seeds": ("Seeds and errors", seeds_table),
    "targets": ("Targets", targets_table),
    "run": ("The run", run_facts),
}


def markdown(facts: Facts) -> str:
    """All sections as one document."""
    parts = [f"## {title}\n\n{render(facts)}\n" for title, render in SECTIONS.values()]
    return "# The membership paper's experiments\n\n" + "\n".join(parts)
