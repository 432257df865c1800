"""The facts of the localisation runs as Markdown tables; the documentation takes them from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....statistics.intervals import bootstrap_ci
from ..tables import NOTHING, findings_table, number, table
from .published import FOREIGN, TABLE
from .scales import PAPER_SETUPS, PRACTICAL

Facts = Mapping[str, Any]
TITLES = {"gradcam": "Grad-CAM", "patches": "Patches", "attention": "Attention"}
SHOWN = (("A", "patches"), ("B", "patches"), ("C", "gradcam"), ("C", "patches"),
         ("C", "attention"), (PRACTICAL, "patches"))  # fmt: skip


def _share(value: float | None) -> str:
    """Per cent, as the paper prints."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _runs(facts: Facts, setup: str, method: str) -> list[Facts]:
    """Trainings of one cell: on the main generator, or practical."""
    return [
        r
        for r in facts["runs"]
        if r["table"] in ("main", PRACTICAL) and (r["setup"], r["method"]) == (setup, method)
    ]


def main_table(facts: Facts) -> str:
    """Table 2, published and ours in turn; baselines that look at nothing below."""
    head = (
        *("Setup", "Method", "IoU published", "IoU ours (95% over pictures)", "each seed"),
        *("PBCA published", "ours", "AP published", "ours"),
    )
    rows = [
        _cell(facts, setup, method)
        for setup in PAPER_SETUPS
        for method in TITLES
        if _runs(facts, setup, method)
    ]
    guess = facts["baselines"]
    rows.append(("-", "all pixels real", *_guess(guess["real_iou"], guess["real_pbca"])))
    rows.append(("-", "all pixels fake", *_guess(guess["fake_iou"], guess["fake_pbca"])))
    return table(head, rows)


def _guess(iou: float, pbca: float) -> tuple[str, ...]:
    return (NOTHING, _share(iou), NOTHING, NOTHING, _share(pbca), NOTHING, NOTHING)


def _cell(facts: Facts, setup: str, method: str) -> tuple[str, ...]:
    runs, told = _runs(facts, setup, method), TABLE[setup, method]
    main = facts["tests"][0]
    found = bootstrap_ci(np.mean([r["main_iou"] for r in runs], axis=0))
    aps = [r["ap"][0] for r in runs if r["ap"]]
    return (
        setup,
        TITLES[method],
        _percent(told.iou),
        f"{_share(found.estimate)} ({_share(found.low)} to {_share(found.high)})",
        " ".join(_share(r["tests"][main]["iou"]) for r in runs),
        _percent(told.pbca),
        _share(float(np.mean([r["tests"][main]["pbca"] for r in runs]))),
        _percent(told.ap),
        _share(float(np.mean(aps)) if aps else None),
    )


def generators_table(facts: Facts) -> str:
    """Patches C: trained on the row's generators, tested on the column's; mean IoU."""
    single = [r for r in facts["runs"] if _is_patches_c(r) and len(r["generators"]) == 1]
    mixes = [r for r in facts["runs"] if _is_patches_c(r) and len(r["generators"]) > 1]
    tested = list(dict.fromkeys(g for r in single for g in r["generators"]))
    rows = [
        (
            " + ".join(r["generators"]),
            *(_marked(r, name) for name in tested),
        )
        for r in [*single, *mixes]
    ]
    first = next(iter(single))["tests"] if single else {}
    fake = ("all pixels fake", *(_share(first[name]["all_fake_iou"]) for name in tested))
    return table(["Trained on", *tested], [*rows, fake])


def _is_patches_c(run: Facts) -> bool:
    return (run["method"], run["setup"], run["seed"]) == ("patches", "C", 0)


def _marked(run: Facts, tested: str) -> str:
    told = _share(run["tests"][tested]["iou"])
    return f"**{told}**" if tested in run["generators"] else told


def foreign_table(facts: Facts) -> str:
    """What the paper printed for pictures of another generator and source."""
    head = ("Published", "IoU on Repaint-P2", "IoU on COCO Glide")
    return table(head, [(name, *map(_percent, pair)) for name, pair in FOREIGN.items()])


def robustness_table(facts: Facts) -> str:
    """Mean IoU on changed pictures, on other generators, on other sources."""
    shown = [cell for cell in SHOWN if _runs(facts, *cell)]
    head = ["Test pictures", "n", *(f"{TITLES[m]} {s}" for s, m in shown), "all pixels fake"]
    rows = []
    for name in facts["tests"]:
        found = [[r["tests"][name] for r in _runs(facts, *cell)] for cell in shown]
        one = found[0][0]
        rows.append(
            (
                name,
                str(one["pictures"]),
                *(_share(float(np.mean([t["iou"] for t in tests]))) for tests in found),
                _share(one["all_fake_iou"]),
            )
        )
    return table(head, rows)


def training_table(facts: Facts) -> str:
    """How each training went: its own loss, and that of pictures it did not see."""
    head = ("Training", "training loss, last epoch", "validation, first epoch", "best", "last",
            "epoch kept")  # fmt: skip
    return table(
        head,
        [
            (
                r["key"],
                number(r["loss"], 3),
                *(number(v, 3) for v in (r["validation"][0], min(r["validation"]))),
                number(r["validation"][-1], 3),
                f"{r['epoch']} of {len(r['validation'])}",
            )
            for r in facts["runs"]
        ],
    )


def run_facts(facts: Facts) -> str:
    """Command, machine, time, and what differs from the paper."""
    machine, versions, scale = facts["hardware"], facts["versions"], facts["manifest"]["scale"]
    lines = [
        f"- command: `{facts['command']}`",
        f"- time: {facts['seconds'] / 60:.0f} minutes for {len(facts['runs'])} trainings and their "
        f"tests; {machine['threads']} thread(s), {machine['cores']} cores, {machine['machine']}, "
        f"{versions['device']}",
        f"- versions: lora-forensics {versions['lora-forensics']}, torch {versions['torch']}",
        f"- {_seeds(facts)} in the main table, seed 0 in the others",
        *(f"- {name}: {text}" for name, text in scale["told"].items()),
    ]
    return "\n".join(lines)


def _seeds(facts: Facts) -> str:
    last = max(r["seed"] for r in facts["runs"])
    return f"seeds 0 to {last}" if last else "seed 0"


SECTIONS: dict[str, tuple[str, Callable[[Facts], str]]] = {
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
    parts = [f"## {title}\n\n{render(facts)}\n" for title, render in SECTIONS.values()]
    return "# The localisation paper's experiments\n\n" + "\n".join(parts)
