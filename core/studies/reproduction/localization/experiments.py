"""``reproduce localization``: every training of the paper's tables, scored as the authors score."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .... import __version__
from ....casework.book import tool_facts
from ....demo.repainted import CLASSICAL, LATENT, SCENES, drawn_people, repainted, scene_crops
from ....errors import InputError, plural
from ....inpainting.examples import ExampleSet, read_examples
from ....inpainting.variants import ORIGINAL, SPLICED, WHOLE
from ....localization.settings import SETUPS
from ....localization.training import Trained, train_localizer
from ....lora.header import load_tensors, sha256_file
from ....protocols import QUIET, Progress
from ....statistics.overlap import baselines
from ....storage import CaseFolder, Work, open_case, write_atomic
from ..experiments import hardware
from .findings import judged_findings
from .scales import LocalizationScale, Run, runs_of
from .scoring import Trial, detection, means, overlaps, tests_of
from .tables import markdown

KIND, SCHEMA = "localization", 1
FACTS, TABLE = "localization.json", "localization.md"
PEOPLE_SEED, SCENE_SEED, SCENE_CROPS = 940_001, 940_002, 400


@dataclass(frozen=True, kw_only=True)
class LocalizationRun:
    """What to run.

    Attributes:
        out: folder of the results, new or to resume.
        scale: sizes and settings.
        examples: at the full scale, a folder that `inpaint` made.
        outside: by name, further folders to test on.
        weights: first weights as safetensors, by method.
        device: ``cpu``, ``cuda``.
        command: as typed, for the record.
    """

    out: Path
    scale: LocalizationScale
    examples: Path | None = None
    outside: tuple[Path, ...] = ()
    weights: dict[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    command: str = ""


@dataclass(frozen=True, eq=False)
class PictureSets:
    """Pictures to learn from and to be tested on."""

    examples: ExampleSet
    outside: dict[str, ExampleSet]


def material_of(asked: LocalizationRun, progress: Progress) -> PictureSets:
    """The drawn sets, made now; or the user's.

    Raises:
        InputError: NOT_EXAMPLES, or the set lacks what a setup needs (MISSING_VARIANT).
    """
    scale = asked.scale
    if scale.photos:
        people = drawn_people(scale.photos, PEOPLE_SEED)
        examples = repainted(
            asked.out / "examples", people, scale.generators, whole=scale.photos, progress=progress
        )
        crops = scene_crops(SCENES[1], SCENE_CROPS, SCENE_SEED)
        scenes = repainted(asked.out / "scenes", crops, (LATENT, *CLASSICAL[:1]), progress=progress)
        return PictureSets(examples, {"photograph": scenes})
    if asked.examples is None:
        raise InputError("MISSING_FLAG", "the full scale needs --examples: a folder of `inpaint`")
    examples = read_examples(asked.examples)
    _check(examples, scale)
    return PictureSets(examples, {folder.name: read_examples(folder) for folder in asked.outside})


def _check(examples: ExampleSet, scale: LocalizationScale) -> None:
    for generator in scale.generators:
        for split in ("train", "test"):
            if not examples.pick(variants=(SPLICED,), split=split, generators=(generator,)).rows:
                raise InputError(
                    "MISSING_VARIANT",
                    f"{examples.root} has no pictures spliced by {generator} in its {split} "
                    "split; add the generator to `inpaint`, and more photos",
                )
    for variant, flag in ((WHOLE, "--whole N"), (ORIGINAL, "photos")):
        if not examples.pick(variants=(variant,), split="train").rows:
            raise InputError(
                "MISSING_VARIANT",
                f"{examples.root} has no {variant} pictures to train on; make it with {flag}",
            )


def reproduce_localization(
    asked: LocalizationRun,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train and test all, write `localization.json` and `localization.md`, return the facts.

    The files are written after every training; the same call goes on where it stopped.

    Raises:
        InputError: what is wrong with the user's files.
        RunError: the folder cannot be used.
    """
    asked.out.mkdir(parents=True, exist_ok=True)
    material = material_of(asked, progress)
    tests = tests_of(material.examples, asked.scale.main, material.outside)
    manifest = _manifest(asked, material)
    runs = runs_of(asked.scale)
    with closing(open_case(asked.out / "runs", manifest)) as case:
        announce(f"{plural(len(runs), 'training')}, {plural(len(tests), 'kind')} of test pictures")
        for run in runs:
            if not case.has(f"entry/{run.key}"):
                entry = _measure(run, asked, material, tests, Work(case, progress))
                case.put(f"entry/{run.key}", ".json", json.dumps(entry).encode())
                announce(_said(entry))
                _write(asked.out, _facts(asked, manifest, tests, runs, case))
        facts = _facts(asked, manifest, tests, runs, case)
        _write(asked.out, facts)
        return facts


def _write(out: Path, facts: Mapping[str, Any]) -> None:
    write_atomic(out / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    write_atomic(out / TABLE, markdown(facts).encode())


def _manifest(asked: LocalizationRun, material: PictureSets) -> dict[str, Any]:
    scale = json.loads(json.dumps(asdict(asked.scale)))
    del scale["seeds"]  # more of them may be added later
    return {
        "tool": __version__,
        "schema": SCHEMA,
        "scale": scale,
        "examples": material.examples.digest(),
        "outside": {name: other.digest() for name, other in material.outside.items()},
        "weights": {method: sha256_file(path) for method, path in asked.weights.items()},
    }


def _measure(
    run: Run,
    asked: LocalizationRun,
    material: PictureSets,
    tests: tuple[Trial, ...],
    work: Work,
) -> dict[str, Any]:
    began = time.monotonic()
    trained = _trained(run, asked, material, work)
    figures = {test.name: overlaps(trained, test) for test in tests}
    labels = trained.spec.supervision == "labels"
    return {
        **asdict(run),
        "key": run.key,
        "epoch": trained.epoch,
        "loss": trained.losses[-1],
        "validation": list(trained.validation),
        "ap": detection(trained, tests[0].rows, material.examples) if labels else None,
        "tests": {name: {"pictures": len(o), **means(o)} for name, o in figures.items()},
        "main_iou": [round(o.iou, 4) for o in figures[asked.scale.main]],
        "seconds": round(time.monotonic() - began),
    }


def _trained(run: Run, asked: LocalizationRun, material: PictureSets, work: Work) -> Trained:
    seen = material.examples.pick(variants=SETUPS[run.setup].variants, generators=run.generators)
    weights = asked.weights.get(run.method)
    return train_localizer(
        seen,
        asked.scale.spec(run.method, run.setup, run.seed),
        start=None if weights is None else load_tensors(weights),
        work=work,
        unit=f"training/{run.key}",
        device=asked.device,
    )


def _said(entry: Mapping[str, Any]) -> str:
    first = next(iter(entry["tests"].values()))
    return (
        f"{entry['key']}: IoU {first['iou']:.3f}, PBCA {first['pbca']:.3f}, epoch "
        f"{entry['epoch']}, {entry['seconds']} s"
    )


def _facts(
    asked: LocalizationRun,
    manifest: Mapping[str, Any],
    tests: tuple[Trial, ...],
    runs: tuple[Run, ...],
    case: CaseFolder,
) -> dict[str, Any]:
    entries = [json.loads(case.read(f"entry/{r.key}")) for r in runs if case.has(f"entry/{r.key}")]
    masks = [tests[0].rows.mask(r) for r in tests[0].rows.rows]
    cells = {
        (s, m): np.array([e["main_iou"] for e in entries if _is(e, s, m)])
        for s, m in dict.fromkeys(
            (e["setup"], e["method"]) for e in entries if e["table"] == "main"
        )
    }
    facts = {
        "kind": KIND,
        "schema": SCHEMA,
        "command": asked.command,
        "manifest": manifest,
        "versions": tool_facts(),
        "hardware": hardware(),
        "baselines": asdict(baselines(masks)),
        "tests": [t.name for t in tests],
        "runs": entries,
        "findings": [asdict(f) for f in judged_findings(cells, transfer_of(entries))],
        "seconds": sum(e["seconds"] for e in entries),
    }
    return json.loads(json.dumps(facts))


def _is(entry: Mapping[str, Any], setup: str, method: str) -> bool:
    return (entry["table"], entry["setup"], entry["method"]) == ("main", setup, method)


def transfer_of(entries: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean IoU of Patches C of seed 0 by the one generator trained on, then by tested one."""
    alone = {
        e["generators"][0]: e["tests"]
        for e in entries
        if (e["method"], e["setup"], e["seed"], len(e["generators"])) == ("patches", "C", 0, 1)
    }
    return {
        own: {other: tests[other]["iou"] for other in alone if other in tests}
        for own, tests in alone.items()
    }
