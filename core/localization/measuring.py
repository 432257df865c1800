"""What a trained localizer is measured to do: its gate, false alarms, its figures by kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..inpainting.examples import Example, ExampleSet
from ..inpainting.variants import NO_GENERATOR
from ..protocols import QUIET, Progress
from ..statistics.overlap import Overlap, overlap
from .files import Accuracy, Card, Localizer, Untouched
from .localizing import localize
from .settings import LocalizerSpec, LocalizeSpec
from .training import Trained

LIMITS = (
    "A map is a lead, not proof: published localizers reach an IoU of 0.23 to 0.33 on generators "
    "that they were not trained on, and 0.05 to 0.16 on the newest.",
    "Recompression, resizing and whole-picture regeneration hide what a localizer looks for.",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture as a user would see it.

    Attributes:
        row: the picture.
        overlap: of the shown map, after the gate; None for an untouched picture.
        score: of the picture.
        blank: the gate blanked the map.
        area: share of pixels marked.
    """

    row: Example
    overlap: Overlap | None
    score: float
    blank: bool
    area: float


def look(
    localizer: Localizer,
    examples: ExampleSet,
    spec: LocalizeSpec,
    progress: Progress = QUIET,
) -> list[Seen]:
    """Localize every picture of a set."""
    found = []
    progress.start("measuring", len(examples))
    for row in examples.rows:
        localization = localize(examples.picture(row), localizer, spec)
        figures = None
        if row.fake:
            figures = overlap(localization.map.numpy(), examples.mask(row), spec.threshold)
        found.append(Seen(row, figures, localization.score, localization.blank, localization.area))
        progress.step()
    return found


def nulls_of(seen: Sequence[Seen]) -> tuple[float, ...]:
    """Of each photo the highest score among its untouched variants, falling."""
    best: dict[str, float] = {}
    for s in seen:
        best[s.row.source] = max(s.score, best.get(s.row.source, -math.inf))
    return tuple(sorted(best.values(), reverse=True))


def measured(seen: Sequence[Seen], name: str, domain: str) -> Accuracy:
    """Figures of repainted pictures of one kind, as shown."""
    figures = [s.overlap for s in seen if s.overlap is not None]
    iou, f1, pbca, area = np.mean([(o.iou, o.f1, o.pbca, o.area) for o in figures], axis=0)
    # Mask areas give both guesses: everything repainted, or nothing.
    return Accuracy(
        name=name,
        domain=domain,
        pictures=len(figures),
        iou=float(iou),
        f1=float(f1),
        pbca=float(pbca),
        all_fake_iou=float(area),
        all_real_pbca=float(1 - area),
        found=float(np.mean([not s.blank for s in seen])),
    )


def alarms(seen: Sequence[Seen], name: str, domain: str) -> Untouched:
    """How many of these untouched pictures were marked."""
    return Untouched(name, domain, sum(not s.blank for s in seen), len(seen))


def by_kind(seen: Sequence[Seen]) -> dict[str, list[Seen]]:
    """Pictures by generator and variant, in order of first sight."""
    kinds: dict[str, list[Seen]] = {}
    for s in seen:
        kinds.setdefault(kind_of(s.row), []).append(s)
    return kinds


def kind_of(row: Example) -> str:
    """Generator and variant in words."""
    if row.generator == NO_GENERATOR:
        return row.variant
    return f"{row.generator}, {row.variant}"


def finish(
    trained: Trained,
    examples: ExampleSet,
    trained_on: str,
    *,
    source_side: int,
    outside: Mapping[str, ExampleSet] | None = None,
    limits: Sequence[str] = (),
    progress: Progress = QUIET,
) -> Localizer:
    """Set the gate on ``val`` pictures, measure on ``test`` pictures, and write the card.

    Args:
        trained: network and settings.
        examples: what it was trained on, all splits; untouched photos of ``val`` set the gate.
        trained_on: in words, for people.
        source_side: pixels of the pictures' shorter side.
        outside: by name, sets of generators or sources that it never saw; their ``test`` rows are
            taken, since a photo may be in both.
        limits: what a reader must know beside the usual.
        progress: long work.

    Returns:
        The localizer, without a file's hash.
    """
    off = LocalizeSpec(gate="off")
    plain = Localizer(trained.network, _card(trained, examples, trained_on, source_side), "")
    fresh = examples.pick(split="val").only(fake=False)
    nulls = nulls_of(look(plain, fresh, off, progress))
    gated = replace(plain, card=replace(plain.card, nulls=nulls))
    sets = [("", "in", examples), *((f"{n}: ", "out", e) for n, e in (outside or {}).items())]
    kinds = [
        (prefix + kind, domain, part)
        for prefix, domain, one in sets
        for kind, part in by_kind(
            look(gated, one.pick(split="test"), LocalizeSpec(), progress)
        ).items()
    ]
    card = replace(gated.card, limits=(*limits, *LIMITS))
    return replace(gated, card=with_figures(card, kinds))


def with_figures(card: Card, kinds: Sequence[tuple[str, str, Sequence[Seen]]]) -> Card:
    """A card with the figures of these pictures in place of its own.

    Args:
        card: of the localizer that looked.
        kinds: name, domain and pictures of each kind; all of one are repainted, or none is.
    """
    return replace(
        card,
        measured=tuple(measured(p, n, d) for n, d, p in kinds if p[0].row.fake),
        untouched=tuple(alarms(p, n, d) for n, d, p in kinds if not p[0].row.fake),
    )


def _card(trained: Trained, examples: ExampleSet, trained_on: str, source_side: int) -> Card:
    spec: LocalizerSpec = trained.spec
    return Card(
        method=spec.method,
        supervision=spec.supervision,
        width=spec.width,
        side=spec.side,
        source_side=source_side,
        pooling=spec.pooling,
        alarm=spec.alarm,
        trained_on=trained_on,
        pictures=len(examples.pick(split="train")),
        seed=spec.seed,
        epoch=trained.epoch,
    )


def words_of(examples: ExampleSet) -> str:
    """A set in words: how many pictures of which generator and variant."""
    counts: dict[str, int] = {}
    for r in examples.rows:
        name = r.variant if r.generator == "none" else f"{r.generator} {r.variant}"
        counts[name] = counts.get(name, 0) + 1
    return "; ".join(f"{n} {name}" for name, n in counts.items())
