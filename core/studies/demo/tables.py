"""The study's figures as Markdown tables, with intervals over suspects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...statistics.intervals import bootstrap_ci

GUIDED = "model guidance, pilot"
BASELINES = (
    "conditional",
    "conditional, twice the images",
    "CFG, published scale",
    "CFG, pilot",
)
MEASURES = {
    "best_of_n": "AS, best of N",
    "representatives": "AS, N0 representatives",
    "success": "A-ESR, N0 representatives",
    "strangers": "AS of strangers, best of N",
}


def render_study(facts: Mapping[str, Any]) -> str:
    """docs-ready Markdown of `study.run_study`'s facts."""
    return "\n".join(
        [
            _screened(facts["screened"]),
            _unseen(facts["unseen"]),
            _arms(facts["arms"]),
            _gains(facts["arms"]),
            _black_box(facts["black_box"]),
            f"Run: {facts['images']} images an arm, seeds {facts['seeds']}, {facts['seconds']} s, "
            f"{facts['threads']} threads, torch {facts['torch']}.",
            "",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(r) for r in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _screened(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("suspect", "trained on the photos", "rank", "steps", "AUC (95%)", "p", "verdict")
    return _table(
        head,
        [
            (
                r["suspect"],
                "yes" if r["member"] else "no",
                str(r["rank"]),
                str(r["steps"]),
                f"{r['auc']['auc']:.3f} ({r['auc']['low']:.3f} to {r['auc']['high']:.3f})",
                f"{r['p']:.2g}",
                r["verdict"],
            )
            for r in rows
        ],
    )


def _unseen(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("asked about unseen photos", "sets", "AUC of each set", "p <= 0.05", "all as one (95%)")
    return _table(
        head,
        [
            (
                r["suspect"],
                str(len(r["aucs"])),
                f"{min(r['aucs']):.3f} to {max(r['aucs']):.3f}, mean {np.mean(r['aucs']):.3f}",
                f"{sum(p <= 0.05 for p in r['p'])} of {len(r['p'])}",
                f"{r['pooled']['auc']:.3f} ({r['pooled']['low']:.3f} to {r['pooled']['high']:.3f})",
            )
            for r in rows
        ],
    )


def _arms(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(r["arm"] for r in rows))
    body = []
    for name in names:
        own = [r for r in rows if r["arm"] == name]
        scales = sorted({r["scale"] for r in own})
        shown = "/".join(f"{s:g}" for s in scales)
        means = [f"{np.mean([r[k] for r in own]):.3f}" for k in MEASURES]
        body.append((name, shown, str(own[0]["images"]), *means))
    return _table(("arm", "scales", "images", *MEASURES.values()), body)


def _gains(rows: Sequence[Mapping[str, Any]]) -> str:
    """Paired differences of model guidance to each baseline; suspects are the clusters."""
    body = []
    for baseline in BASELINES:
        cells = []
        for key in MEASURES:
            difference, suspects = paired(rows, baseline, key)
            interval = bootstrap_ci(difference, clusters=suspects)
            cells.append(f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})")
        body.append((f"to {baseline}", *cells))
    return _table((f"gain of {GUIDED}", *MEASURES.values()), body)


def paired(
    rows: Sequence[Mapping[str, Any]], baseline: str, key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of model guidance to a baseline, run by run, and each run's suspect number."""
    value = {(r["arm"], r["suspect"], r["seed"]): r[key] for r in rows}
    runs = [(s, k) for arm, s, k in value if arm == GUIDED]
    names = sorted({s for s, _ in runs})
    difference = [value[GUIDED, s, k] - value[baseline, s, k] for s, k in runs]
    return np.asarray(difference), np.asarray([names.index(s) for s, _ in runs])


def _black_box(rows: Mapping[str, Mapping[str, float]]) -> str:
    return _table(
        ("black-box attack, tested on photos", "AUC (95%)"),
        [(k, f"{v['auc']:.3f} ({v['low']:.3f} to {v['high']:.3f})") for k, v in rows.items()],
    )
