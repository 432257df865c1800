"""The study's figures as Markdown tables, with intervals over suspects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...statistics.intervals import bootstrap_ci
from ..tables import Facts, signed, span, table

GUIDED = "model guidance, pilot"
BASELINES = ("conditional", "conditional, twice the images", "CFG, published scale", "CFG, pilot")
MEASURES = {
    "best_of_n": "AS, best of N",
    "representatives": "AS, N0 representatives",
    "success": "A-ESR, N0 representatives",
    "strangers": "AS of strangers, best of N",
}


def render_study(facts: Facts) -> str:
    """docs-ready Markdown of `study.run_study`'s facts."""
    black_box = (f"{name} | {_area(area)}" for name, area in facts["black_box"].items())
    tables = (
        _screened(facts["screened"]),
        _unseen(facts["unseen"]),
        _arms(facts["arms"]),
        _gains(facts["arms"]),
        table("black-box attack, tested on photos | AUC (95%)", black_box),
    )
    return "\n\n".join(tables) + (
        f"\n\nRun: {facts['images']} images per arm, seeds {facts['seeds']}, {facts['seconds']} s, "
        f"{facts['threads']} threads, torch {facts['torch']}.\n"
    )


def _area(area: Mapping[str, float]) -> str:
    return span(area["auc"], area["low"], area["high"])


def _screened(rows: Sequence[Facts]) -> str:
    return table(
        "suspect | trained on the photos | rank | steps | AUC (95%) | p | verdict",
        (
            f"{r['suspect']} | {'yes' if r['member'] else 'no'} | {r['rank']} | {r['steps']} | "
            f"{_area(r['auc'])} | {r['p']:.2g} | {r['verdict']}"
            for r in rows
        ),
    )


def _unseen(rows: Sequence[Facts]) -> str:
    return table(
        "asked about unseen photos | sets | AUC of each set | p <= 0.05 | all as one (95%)",
        (
            f"{r['suspect']} | {len(r['aucs'])} | {min(r['aucs']):.3f} to {max(r['aucs']):.3f}, "
            f"mean {np.mean(r['aucs']):.3f} | {sum(p <= 0.05 for p in r['p'])} of {len(r['p'])} | "
            f"{_area(r['pooled'])}"
            for r in rows
        ),
    )


def _measured(head: str, rows: Mapping[str, Callable[[str], str]]) -> str:
    """A table with a column per measure; a row's function gives its cell."""
    lines = (" | ".join([name, *map(cell, MEASURES)]) for name, cell in rows.items())
    return table(" | ".join([head, *MEASURES.values()]), lines)


def _arms(rows: Sequence[Facts]) -> str:
    def mean(own: list[Facts]) -> Callable[[str], str]:
        return lambda measure: f"{np.mean([r[measure] for r in own]):.3f}"

    arms = {}
    for name in dict.fromkeys(r["arm"] for r in rows):
        own = [r for r in rows if r["arm"] == name]
        scales = "/".join(f"{s:g}" for s in sorted({r["scale"] for r in own}))
        arms[f"{name} | {scales} | {own[0]['images']}"] = mean(own)
    return _measured("arm | scales | images", arms)


def _gains(rows: Sequence[Facts]) -> str:
    """Paired differences of model guidance to each baseline; suspects are the clusters."""

    def gain(baseline: str, measure: str) -> str:
        difference, suspects = paired(rows, baseline, measure)
        interval = bootstrap_ci(difference, clusters=suspects)
        return signed(interval.estimate, interval.low, interval.high)

    return _measured(f"gain of {GUIDED}", {f"to {b}": partial(gain, b) for b in BASELINES})


def paired(
    rows: Sequence[Mapping[str, Any]], baseline: str, key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of model guidance to a baseline, run by run, and each run's suspect number."""
    value = {(r["arm"], r["suspect"], r["seed"]): r[key] for r in rows}
    runs = [(s, k) for arm, s, k in value if arm == GUIDED]
    names = sorted({s for s, _ in runs})
    difference = [value[GUIDED, s, k] - value[baseline, s, k] for s, k in runs]
    return np.asarray(difference), np.asarray([names.index(s) for s, _ in runs])
