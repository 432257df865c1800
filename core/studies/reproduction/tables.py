"""The facts of a reproduction as Markdown tables; the documentation takes them from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...statistics.intervals import mean_seed_interval
from ..tables import NOTHING, Facts, Sections, document, figure, run_lines, signed, span, table


def _with(value: float | None, half: float | None) -> str:
    return figure(value) + ("" if None in (value, half) else f" ± {figure(half)}")


def _area(area: Mapping[str, float]) -> str:
    return span(area["auc"], area["low"], area["high"], lambda v: figure(v, 3))


def _rates(rates: Mapping[str, float | None]) -> str:
    return " / ".join(figure(rates.get(k), 3) for k in ("20", "50")) if rates else NOTHING


def auc_table(facts: Facts) -> str:
    """The paper's table: ours and the published values in turn."""
    return table(
        "No | Experiment | R18 published | R18 ours, its interval | ours, sound 95% | "
        "centroid published | centroid ours | TPR at 1% FPR published | ours",
        map(_auc_row, facts["rows"]),
    )


def _auc_row(row: Facts) -> str:
    published, printed = row["published"], row["printed"]
    few = "" if row["tpr1_estimable"] else " (few controls)"
    return (
        f"{row['key']} | {row['title']} | {_with(published['auc'], published['half'])} | "
        f"{_with(printed['auc'], printed['half'])} | {_area(row['sound'])} | "
        f"{figure(published['clip'])} | {figure(row['centroid']['auc'])} | "
        f"{figure(published['tpr1'])} | {figure(row['tpr1'])}{few}"
    )


def accusation_table(facts: Facts) -> str:
    """How often a textbook test convicts the target, and the untouched base in its place."""
    return table(
        "No | target, K = 20 / 50 | published | untouched base, K = 20 / 50 | published | "
        "AUC of the base | excess of the target",
        (_accusation_row(row, facts) for row in facts["rows"] if row["convicted"]),
    )


def _accusation_row(row: Facts, facts: Facts) -> str:
    target = f"{_rates(row['convicted'])} | {_rates(row['published']['convicted'])}"
    of_base = row["train"][0].startswith("base_")
    if of_base:
        target = f"untouched base itself | {NOTHING}"
    null, rates, area, excess = row["null"], NOTHING, NOTHING, NOTHING
    if null is not None:
        rates, area, e = _rates(null["convicted"]), _area(null["sound"]), null["excess"]
        excess = NOTHING if of_base else signed(e["estimate"], e["low"], e["high"])
    published = _published_null(row, facts)
    return f"{row['key']} | {target} | {rates} | {published} | {area} | {excess}"


def _published_null(row: Facts, facts: Facts) -> str:
    """The published rate of the row that is this row's null, if the paper has one."""
    if row["null"] is None:
        return NOTHING
    for other in facts["rows"]:
        same = other["folder"] == row["null"]["folder"] and other["test"] == row["test"]
        if same and other["published"]["convicted"]:
            return _rates(other["published"]["convicted"])
    return NOTHING


def seeds_table(facts: Facts) -> str:
    """AUC of each seed, errors, and the shares above 0.5."""
    return table(
        "No | AUC of each seed | SE of photos | SE of seeds | Student half-width published | ours"
        " | photos | above .5, members / others | published",
        map(_seeds_row, facts["rows"]),
    )


def _seeds_row(row: Facts) -> str:
    published, sound, areas = row["published"], row["sound"], row["seed_aucs"]
    above, above_published = (
        " / ".join(map(figure, shares)) for shares in (row["above"], published["above"] or [None])
    )
    return (
        f"{row['key']} | {' '.join(figure(a, 3) for a in areas)} | "
        f"{figure(sound['se_photos'], 3)} | {figure(sound['se_seeds'], 3)} | "
        f"{figure(published.get('student'), 3)} | {figure(_student(areas), 3)} | "
        f"{' / '.join(map(str, row['counts']))} | {above} | {above_published}"
    )


def _student(areas: Sequence[float]) -> float | None:
    if len(areas) < 2:
        return None
    interval = mean_seed_interval(areas)
    return interval.high - interval.estimate


def findings_table(facts: Facts) -> str:
    """Each finding with its rule and what the run says."""
    return table(
        "Finding | Published | Here | Numbers | Rule, fixed in code",
        (
            "{claim} | {published} | **{outcome}** | {numbers} | {rule}".format_map(f)
            for f in facts["findings"]
        ),
    )


def targets_table(facts: Facts) -> str:
    """What was trained, and how the loss fell."""
    return table(
        "Target | photos | steps | loss, first tenth | last tenth | seconds",
        (
            f"{s['name']} | {s['photos']} | {s['steps']:,} | {figure(s['first_loss'], 4)} | "
            f"{figure(s['last_loss'], 4)} | {s['seconds']:.0f}"
            for s in facts["stages"]
            if s["kind"] == "target"
        ),
    )


def run_facts(facts: Facts) -> str:
    """Command, machine, time, seeds and what differs from the paper's settings."""
    scale = facts["manifest"]["scale"]
    kinds = {
        kind: sum(s["cpu_seconds"] for s in facts["stages"] if s["kind"] == kind)
        for kind in ("target", "images", "attack", "features")
    }
    spent = ", ".join(f"{kind} {seconds / 60:.1f}" for kind, seconds in kinds.items())
    return run_lines(
        facts,
        f"{facts['seconds'] / 60:.0f} minutes by the clock, {facts['cpu_seconds'] / 60:.0f} of the "
        f"processor ({spent})",
        ("lora-forensics", "torch", "diffusers"),
        [
            f"seeds: classifiers 0 to {scale['attack']['seeds'] - 1}, training "
            f"{scale['finetune']['seed']}, images 1 (dtu prompt), 2 (aau), 3 (general)",
            f"images per arm {scale['attack']['images']}, training steps of the 400-epoch target "
            f"{scale['finetune']['steps']:,}",
            *(f"{name}: {text}" for name, text in scale["facts"].items()),
        ],
    )


SECTIONS: Sections = {
    "table": ("Published beside ours", auc_table),
    "findings": ("Findings", findings_table),
    "accusations": ("How often a textbook test convicts", accusation_table),
    "seeds": ("Seeds and errors", seeds_table),
    "targets": ("Targets", targets_table),
    "run": ("The run", run_facts),
}


def markdown(facts: Facts) -> str:
    """All sections as one document."""
    return document("The membership paper's experiments", SECTIONS, facts)
