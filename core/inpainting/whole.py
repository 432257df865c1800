"""Pictures that a model drew as a whole: fakes that no mask describes (setup A)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor

from ..images.photos import png_bytes
from ..protocols import QUIET, Progress
from ..sampling.plans import seed_of
from ..storage import CaseFolder, digest_of, sha256_bytes
from .examples import Example, ExampleSet, Tick, listed, read_unit, split_of, stored
from .variants import WHOLE

_GROUP = 16  # pictures of one call
_PURPOSE = -21


class Painter(Protocol):
    """Something that draws pictures from nothing; `DiffusionInpainter` is one."""

    name: str

    @property
    def whole_cost(self) -> int:
        """Units of work per picture, for progress."""
        ...

    def facts(self) -> dict[str, Any]:
        """What decides its results, as JSON facts."""
        ...

    def whole(self, seeds: Sequence[int], tick: Tick) -> Tensor:
        """Pictures ``[N, 3, side, side]`` in 0..1."""
        ...


def add_whole(
    made: ExampleSet,
    painters: Sequence[Painter],
    count: int,
    case: CaseFolder,
    *,
    seed: int = 0,
    progress: Progress = QUIET,
) -> ExampleSet:
    """A set and `count` whole pictures of each painter, split as photos are.

    Args:
        made: the set.
        painters: models.
        count: pictures of each.
        case: the set's folder; finished pictures are not drawn again.
        seed: of noise and split.
        progress: counts units of work.
    """
    progress.start("drawing whole pictures", count * sum(p.whole_cost for p in painters))
    rows = [r for p in painters for r in _rows(p, count, case, seed, progress.step)]
    return listed(case, (*made.rows, *rows))


def _rows(
    painter: Painter, count: int, case: CaseFolder, seed: int, tick: Tick
) -> Iterator[Example]:
    seeds = [seed_of(seed_of(seed, _PURPOSE), i) for i in range(count)]
    facts = painter.facts()
    for at in range(0, count, _GROUP):
        part = seeds[at : at + _GROUP]
        units = [f"img/{digest_of([WHOLE, facts, s])[:20]}" for s in part]
        if all(case.has(u) for u in units):
            tick(len(part) * painter.whole_cost)
            drawn: Sequence[Tensor] = [read_unit(case, u) for u in units]
        else:
            drawn = list(painter.whole(part, tick))
        for one, unit, own in zip(drawn, units, part, strict=True):
            source = sha256_bytes(png_bytes(one))
            yield stored(
                case,
                unit,
                one,
                variant=WHOLE,
                generator=painter.name,
                source=source,
                split=split_of(source, seed),
                seed=own,
            )
