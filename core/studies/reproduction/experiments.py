"""``reproduce mia``: every row trained, drawn, attacked, measured, and judged against the paper."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...attack.baselines.centroid import centroid_scores
from ...casework.book import tool_facts
from ...protocols import QUIET, Progress
from ...statistics.auc import delong
from ...statistics.tpr_at_fpr import tpr_at_fpr
from ...storage import digest_of, open_case, write_atomic
from ..tables import span
from .budget import describe, stages_of
from .estimates import (
    SIZES,
    SeedScores,
    conviction_rates,
    difference,
    mean_tpr,
    paper_interval,
    shares_above,
    sound_interval,
)
from .findings import RULES, judge
from .folders import Folders, folder_material
from .material import Material
from .people import tiny_material
from .pictures import guidance_plot, save_sheet
from .rows import REST, ROWS, Row, select_rows
from .scales import SCALES, Folder, Scale, folder_of, own_folder
from .stages import Bench, features_of_arm, features_of_set, images_of, scores_of, stage_facts
from .tables import markdown

SCHEMA = 1
FACTS, TABLE, PLOT = "reproduction.json", "reproduction.md", "guidance.png"
SHEET_IMAGES = 24


@dataclass(frozen=True)
class Reproduction:
    """What to run.

    Attributes:
        out: folder of the results, new or to resume.
        scale: settings.
        rows: names for `select_rows`; empty for all.
        folders: the user's files, for scales that need them.
        command: as typed, for the record.
    """

    out: Path
    scale: Scale
    rows: tuple[str, ...] = ()
    folders: Folders = field(default_factory=Folders)
    command: str = ""


def scale_of(name: str, *, images: int = 0, sampling: int = 0, training: int = 0) -> Scale:
    """A scale by name, with other counts where they are given.

    Args:
        name: key of `SCALES`.
        images: images per arm.
        sampling: solver steps per image.
        training: optimiser steps of the 400-epoch target.
    """
    scale = SCALES[name]
    attack = replace(
        scale.attack, images=images or scale.attack.images, steps=sampling or scale.attack.steps
    )
    finetune = replace(scale.finetune, steps=training or scale.finetune.steps)
    return replace(scale, attack=attack, finetune=finetune)


def material_of(asked: Reproduction) -> Material:
    """The photos and the base of a scale."""
    if asked.scale.seen:
        return tiny_material(asked.scale, asked.folders.logo)
    return folder_material(asked.scale, asked.folders)


def reproduce(
    asked: Reproduction,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run rows, write `reproduction.json`, `reproduction.md` and the plot, and return the facts.

    The files are written after every row, of all rows that are there by then. The same call goes
    on where it stopped; other rows may be added later.

    Args:
        asked: what to run.
        progress: long work.
        announce: the plan first, then each stage and each row.

    Raises:
        InputError: BAD_ROW, or what is wrong with the user's files.
        RunError: the folder cannot be used.
    """
    rows = select_rows(asked.rows)
    material = material_of(asked)
    manifest = manifest_of(asked.scale, material)
    with closing(open_case(asked.out, manifest)) as root:
        announce(describe(stages_of(rows, asked.scale, asked.out), asked.scale))
        bench = Bench(asked.out, material, asked.scale, digest_of(manifest), progress, announce)
        for row in rows:
            if not root.has(unit_of(row)):
                entry = measure(bench, row)
                root.put(unit_of(row), ".json", json.dumps(entry).encode(), row=row.key)
                announce(row_said(entry))
                write_results(asked.out, facts_of(bench, asked.command, root.done))
        facts = facts_of(bench, asked.command, root.done)
        write_results(asked.out, facts)
        draw_sheets(bench, rows)
        return facts


def manifest_of(scale: Scale, material: Material) -> dict[str, Any]:
    """All that decides the results; rows may be added later."""
    return {
        "tool": __version__,
        "schema": SCHEMA,
        "scale": json.loads(json.dumps(asdict(scale) | {"facts": scale.told})),
        "base": material.networks.sha256,
        "encoder": material.encoder.id.sha256,
        **material.facts,
    }


def unit_of(row: Row) -> str:
    """Name of a row's result in the output folder."""
    return f"rows/{row.key.replace('/', '-')}"


def scores_of_row(bench: Bench, row: Row, folder: Folder) -> SeedScores:
    """What a folder's classifiers say of the row's two sets."""
    said = scores_of(bench, folder)
    names = ("rest-positives", "rest-negatives") if row.test == REST else row.test
    members, others = (said[name].double().numpy() for name in names)
    return SeedScores(members, others)


def measure(bench: Bench, row: Row) -> dict[str, Any]:
    """Everything about one row, as JSON facts."""
    folder = own_folder(row, bench.scale)
    scores = scores_of_row(bench, row, folder)
    tpr, estimable = mean_tpr(scores)
    printed = paper_interval(scores, bench.scale.attack.test_holdout)
    facts = {
        "key": row.key,
        "title": row.title,
        "note": row.note,
        "paper": row.paper,
        "folder": folder.name,
        "train": [folder.positives.name, folder.negatives.name],
        "test": list(row.test),
        "counts": [scores.members.shape[1], scores.nonmembers.shape[1]],
        "published": asdict(row.published),
        "seed_aucs": scores.areas().tolist(),
        "printed": {"auc": printed.estimate, "half": printed.high - printed.estimate},
        "sound": asdict(sound_interval(scores)),
        "averaged": asdict(delong(*scores.mean())),
        "tpr1": tpr,
        "tpr1_estimable": estimable,
        "above": shares_above(scores),
        "convicted": conviction_rates(scores) if row.test != REST else {},
        "centroid": _centroid(bench, row, folder),
        "null": _null(bench, row, scores),
    }
    return json.loads(json.dumps(facts))


def _centroid(bench: Bench, row: Row, folder: Folder) -> dict[str, Any]:
    made, held = features_of_arm(bench, folder.positives, rest=folder.rest)
    if row.test == REST:
        _, other = features_of_arm(bench, folder.negatives, rest=True)
        queries = (held, other)
    else:
        queries = tuple(features_of_set(bench, name) for name in row.test)
    members, others = (centroid_scores(made, q).numpy() for q in queries)
    return {**asdict(delong(members, others)), "tpr1": tpr_at_fpr(members, others).tpr}


def _null(bench: Bench, row: Row, scores: SeedScores) -> dict[str, Any] | None:
    """The same attack with the untouched base in place of the target; None if there is none."""
    if row.null is None:
        return None
    folder = folder_of(row.null, bench.scale)
    null = scores_of_row(bench, row, folder)
    return {
        "folder": folder.name,
        "sound": asdict(sound_interval(null)),
        "above": shares_above(null),
        "convicted": conviction_rates(null),
        "excess": asdict(difference(scores, null, paired=True)),
    }


def row_said(entry: Mapping[str, Any]) -> str:
    """One row in one line."""
    sound, published = entry["sound"], entry["published"]["auc"]
    beside = "" if published is None else f", published {published:.2f}"
    return f"row {entry['key']}: AUC {span(sound['auc'], sound['low'], sound['high'])}{beside}"


def facts_of(bench: Bench, command: str, done: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result so far."""
    rows = [row for row in ROWS if unit_of(row) in done]
    entries = [json.loads((bench.root / f"{unit_of(row)}.json").read_bytes()) for row in rows]
    scores = {row.key: scores_of_row(bench, row, own_folder(row, bench.scale)) for row in rows}
    rates = {e["key"]: e["convicted"].get(str(SIZES[-1])) for e in entries}
    stages = stage_facts(bench.root)
    return {
        "schema": SCHEMA,
        "command": command,
        "manifest": manifest_of(bench.scale, bench.material),
        "versions": tool_facts(),
        "hardware": hardware(),
        "rows": entries,
        "findings": [
            asdict(finding) | {"rows": list(rule.needs)}
            for rule, finding in zip(RULES, judge(scores, rates), strict=True)
        ],
        "stages": stages,
        "seconds": round(sum(s["seconds"] for s in stages)),
        "cpu_seconds": round(sum(s["cpu_seconds"] for s in stages)),
    }


def hardware() -> dict[str, Any]:
    """What ran it: kind of processor, cores, threads."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def write_results(out: Path, facts: Mapping[str, Any]) -> None:
    """The JSON, the tables, and the plot if a point of the guidance figure is there."""
    write_atomic(out / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    write_atomic(out / TABLE, markdown(facts).encode())
    plot = guidance_plot(facts["rows"])
    if plot is not None:
        write_atomic(out / PLOT, plot)


def draw_sheets(bench: Bench, rows: Sequence[Row]) -> None:
    """A contact sheet of each arm below ``sheets``, for looking at what was made."""
    folders = [own_folder(row, bench.scale) for row in rows]
    for arm in dict.fromkeys(a for f in folders for a in (f.positives, f.negatives)):
        path = bench.root / "sheets" / f"{arm.name}.png"
        if not path.exists():
            save_sheet(images_of(bench, arm)[:SHEET_IMAGES], path)
