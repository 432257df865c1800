"""The facts of the localization runs as Markdown tables; the documentation takes them from here."""

from __future__ import annotations

import numpy as np

from ....statistics.intervals import bootstrap_ci
from ...tables import NOTHING, Facts, Sections, document, figure, percent, run_lines, span, table
from ..tables import findings_table
from .published import PUBLISHED
from .scales import PAPER_SETUPS, PRACTICAL

TITLES = {"gradcam": "Grad-CAM", "patches": "Patches", "attention": "Attention"}
SHOWN = (("A", "patches"), ("B", "patches"), ("C", "gradcam"), ("C", "patches"),
         ("C", "attention"), (PRACTICAL, "patches"))  # fmt: skip


def _runs(facts: Facts, setup: str, method: str) -> list[Facts]:
    """Trainings of one cell: on the main generator, or practical."""
    return [
        r
        for r in facts["runs"]
        if r["table"] in ("main", PRACTICAL) and (r["setup"], r["method"]) == (setup, method)
    ]


def _mean(runs: list[Facts], test: str, key: str) -> float:
    return float(np.mean([r["tests"][test][key] for r in runs]))


def main_table(facts: Facts) -> str:
    """Table 2, published and ours in turn; baselines that look at nothing below."""
    cells = [(setup, method) for setup in PAPER_SETUPS for method in TITLES]
    rows = [_cell(facts, *cell) for cell in cells if _runs(facts, *cell)]
    guess = facts["baselines"]
    for kind in ("real", "fake"):
        iou, pbca = (percent(guess[f"{kind}_{key}"]) for key in ("iou", "pbca"))
        rows.append(f"- | all pixels {kind} | - | {iou} | - | - | {pbca} | - | -")
    return table(
        "Setup | Method | IoU published | IoU ours (95% over pictures) | each seed | "
        "PBCA published | ours | AP published | ours",
        rows,
    )


def _cell(facts: Facts, setup: str, method: str) -> str:
    runs, published = _runs(facts, setup, method), PUBLISHED.table[setup][method]
    main = facts["tests"][0]
    interval = bootstrap_ci(np.mean([r["main_iou"] for r in runs], axis=0))
    aps = [r["ap"][0] for r in runs if r["ap"]]
    ap = percent(float(np.mean(aps)) if aps else None)
    seeds = " ".join(percent(r["tests"][main]["iou"]) for r in runs)
    return (
        f"{setup} | {TITLES[method]} | {published.iou} | "
        f"{span(interval.estimate, interval.low, interval.high, percent)} | {seeds} | "
        f"{published.pbca} | {percent(_mean(runs, main, 'pbca'))} | "
        f"{NOTHING if published.ap is None else published.ap} | {ap}"
    )


def generators_table(facts: Facts) -> str:
    """Patches C: trained on the row's generators, tested on the column's; mean IoU."""
    runs = [r for r in facts["runs"] if (r["method"], r["setup"], r["seed"]) == ("patches", "C", 0)]
    runs.sort(key=lambda r: len(r["generators"]) > 1)
    tested = [r["generators"][0] for r in runs if len(r["generators"]) == 1]

    def shown(run: Facts, test: str) -> str:
        iou = percent(run["tests"][test]["iou"])
        return f"**{iou}**" if test in run["generators"] else iou

    rows = [[" + ".join(r["generators"]), *(shown(r, test) for test in tested)] for r in runs]
    fake = [percent(runs[0]["tests"][test]["all_fake_iou"]) for test in tested]
    rows.append(["all pixels fake", *fake])
    return table(" | ".join(["Trained on", *tested]), map(" | ".join, rows))


def foreign_table(facts: Facts) -> str:
    """What the paper printed for pictures of another generator and source."""
    return table(
        "Published | IoU on Repaint-P2 | IoU on COCO Glide",
        (f"{name} | {own} | {other}" for name, (own, other) in PUBLISHED.foreign.items()),
    )


def robustness_table(facts: Facts) -> str:
    """Mean IoU on changed pictures, on other generators, on other sources."""
    shown = {cell: runs for cell in SHOWN if (runs := _runs(facts, *cell))}
    one = next(iter(shown.values()))[0]["tests"]
    rows = (
        [name, str(one[name]["pictures"]),
         *(percent(_mean(runs, name, "iou")) for runs in shown.values()),
         percent(one[name]["all_fake_iou"])]
        for name in facts["tests"]
    )  # fmt: skip
    head = ["Test pictures", "n", *(f"{TITLES[m]} {s}" for s, m in shown), "all pixels fake"]
    return table(" | ".join(head), map(" | ".join, rows))


def training_table(facts: Facts) -> str:
    """How each training went: its own loss, and that of pictures it did not see."""
    return table(
        "Training | training loss, last epoch | validation, first epoch | best | last | epoch kept",
        (
            f"{r['key']} | {figure(r['loss'], 3)} | {figure(r['validation'][0], 3)} | "
            f"{figure(min(r['validation']), 3)} | {figure(r['validation'][-1], 3)} | "
            f"{r['epoch']} of {len(r['validation'])}"
            for r in facts["runs"]
        ),
    )


def run_facts(facts: Facts) -> str:
    """Command, machine, time, and what differs from the paper."""
    last = max(r["seed"] for r in facts["runs"])
    seeds = f"seeds 0 to {last}" if last else "seed 0"
    return run_lines(
        facts,
        f"{facts['seconds'] / 60:.0f} minutes for {len(facts['runs'])} trainings and their tests",
        ("lora-forensics", "torch"),
        [
            f"{seeds} in the main table, seed 0 in the others",
            *(f"{name}: {text}" for name, text in facts["manifest"]["scale"]["told"].items()),
        ],
    )


SECTIONS: Sections = {
    "table": ("Published beside ours", main_table),
    "findings": ("Findings", findings_table),
    "generators": ("Trained on one generator, tested on another", generators_table),
    "foreign": ("Published on foreign pictures", foreign_table),
    "robustness": ("Robustness", robustness_table),
    "training": ("Trainings", training_table),
    "run": ("The run", run_facts),
}


def markdown(facts: Facts) -> str:
    """All sections as one document."""
    return document("The localization paper's experiments", SECTIONS, facts)
