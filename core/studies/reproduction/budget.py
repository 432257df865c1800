"""What a run will cost, counted before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...sampling.plans import forwards, plan
from .rows import PHOTOS, Row
from .scales import Drawn, Folder, Scale, folders_of, targets_of

# Processor seconds of one core, float32: the run in docs/data/reproduction_mia.json by its stages:
# an optimiser step of 8 photos, a denoiser row, an image in one pass of the attack's training.
TINY_COST = {"target": 0.072, "images": 0.0021, "attack": 0.0119}


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One piece of work to come.

    Attributes:
        kind: ``target``, ``images`` or ``attack``.
        name: of its folder below ``work``, without the kind.
        amount: optimiser steps, denoiser rows, or images through the training of classifiers.
        done: whether it is there already.
    """

    kind: str
    name: str
    amount: int
    done: bool


def stages_of(
    rows: Sequence[Row], scale: Scale, root: Path | None = None
) -> tuple[PlannedStage, ...]:
    """All work that rows need, shared pieces once."""
    folders = list(dict.fromkeys(f for row in rows for f in folders_of(row, scale)))
    arms = list(dict.fromkeys(arm for f in folders for arm in (f.positives, f.negatives)))
    drawn = [arm for arm in arms if arm.target != PHOTOS]
    stages = [("target", name, scale.spec_of(name).steps) for name in targets_of(folders)]
    stages += [("images", arm.name, _rows_of(arm, scale)) for arm in drawn]
    stages += [("attack", f.name, _passes(f, scale)) for f in folders]
    return tuple(PlannedStage(*stage, done=_is_done(root, *stage[:2])) for stage in stages)


def _rows_of(arm: Drawn, scale: Scale) -> int:
    jobs = plan([scale.prompts[arm.prompt]], [arm.rule], scale.attack.images, 0)
    return forwards(jobs, scale.attack.steps)


def _passes(folder: Folder, scale: Scale) -> int:
    return 2 * scale.attack.images * scale.attack.epochs * folder.seeds


def _is_done(root: Path | None, kind: str, name: str) -> bool:
    return root is not None and (root / "work" / f"{kind}-{name}" / "done.txt").is_file()


def seconds_of(stages: Iterable[PlannedStage], scale: Scale) -> float | None:
    """Expected seconds of the work not done, on one core; None where the machine is unknown."""
    if scale.name != "tiny":
        return None
    return sum(TINY_COST[s.kind] * s.amount for s in stages if not s.done)


def describe(stages: Sequence[PlannedStage], scale: Scale) -> str:
    """The plan in words."""
    words = {
        "target": ("targets", "optimiser steps"),
        "images": ("arms", "denoiser rows"),
        "attack": ("attacks", "training images"),
    }
    lines = []
    for kind, (name, unit) in words.items():
        own = [s for s in stages if s.kind == kind]
        left = [s for s in own if not s.done]
        amount = sum(s.amount for s in left)
        lines.append(f"{len(left)} of {len(own)} {name} to make: {amount:,} {unit}")
    seconds = seconds_of(stages, scale)
    if seconds is not None:
        lines.append(f"about {seconds / 60:.0f} minutes of one quiet core")
    return "\n".join(lines)
