"""Pictures scored as the authors score them: no gate, bicubic maps, strictly above one half.

Source: specification localization.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ....inpainting.examples import Example, ExampleSet
from ....inpainting.variants import ORIGINAL, REGENERATED, SPLICED
from ....localization.judging import Judgement, judge
from ....localization.placing import resized_as_published
from ....localization.training import Trained
from ....localization.views import jpeg, normalized, rescaled, resized
from ....statistics.overlap import Overlap, image_ap, overlap

_CHUNK = 32
Change = Callable[[Image.Image], Image.Image]
CHANGES: dict[str, Change] = {
    "JPEG 90": lambda p: jpeg(p, 90),
    "JPEG 70": lambda p: jpeg(p, 70),
    "JPEG 50": lambda p: jpeg(p, 50),
    "resize 0.5": lambda p: rescaled(p, 0.5),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One kind of test picture.

    Attributes:
        name: in tables.
        rows: repainted pictures.
        change: made to each picture before the network sees it.
    """

    name: str
    rows: ExampleSet
    change: Change | None = None


def tests_of(examples: ExampleSet, main: str, outside: dict[str, ExampleSet]) -> tuple[Trial, ...]:
    """The main test first; then changed pictures, each other kind, each other set."""
    held = examples.pick(split="test")
    first = held.pick(variants=(SPLICED,), generators=(main,))
    trials = [Trial(main, first), *(Trial(name, first, do) for name, do in CHANGES.items())]
    trials += _kinds(held, main, "")
    for name, other in outside.items():
        trials += _kinds(other.pick(split="test"), "", f"{name}: ")
    return tuple(t for t in trials if len(t.rows))


def _kinds(held: ExampleSet, main: str, prefix: str) -> Iterator[Trial]:
    for variant, words in ((SPLICED, ""), (REGENERATED, ", regenerated")):
        part = held.pick(variants=(variant,))
        for name in dict.fromkeys(r.generator for r in part.rows):
            if name != main or variant != SPLICED:
                one = part.pick(variants=(variant,), generators=(name,))
                yield Trial(f"{prefix}{name}{words}", one)


def judged(trained: Trained, examples: ExampleSet, change: Change | None = None) -> Judgement:
    """All pictures of a set, resized as they were in training."""
    spec = trained.spec

    def seen(row: Example) -> torch.Tensor:
        picture = examples.picture(row)
        changed = picture if change is None else change(picture)
        return normalized(resized(changed, spec.side, lanczos=spec.lanczos))

    parts = []
    for at in range(0, len(examples), _CHUNK):
        x = torch.stack([seen(r) for r in examples.rows[at : at + _CHUNK]])
        parts.append(judge(trained.network, x, supervision=spec.supervision, pooling=spec.pooling))
    return Judgement(
        torch.cat([p.maps for p in parts]),
        torch.cat([p.scores for p in parts]),
        torch.cat([p.probabilities for p in parts]),
    )


def overlaps(trained: Trained, test: Trial) -> list[Overlap]:
    """Figures of each picture of a test."""
    maps = judged(trained, test.rows, test.change).maps
    masks = [test.rows.mask(r) for r in test.rows.rows]
    return [
        overlap(resized_as_published(cells, mask.shape), mask)  # type: ignore[arg-type]
        for cells, mask in zip(maps, masks, strict=True)
    ]


def detection(trained: Trained, fake: ExampleSet, examples: ExampleSet) -> tuple[float, float]:
    """Average precision of image scores against untouched test pictures, and its +-."""
    real = examples.pick(split="test", variants=(ORIGINAL,))
    scores = [judged(trained, part).scores.double().numpy() for part in (fake, real)]
    return image_ap(*scores)


def means(figures: Sequence[Overlap]) -> dict[str, float]:
    """Mean figures; all-fake's IoU and all-real's PBCA beside."""
    area = float(np.mean([o.area for o in figures]))
    return {
        "iou": float(np.mean([o.iou for o in figures])),
        "pbca": float(np.mean([o.pbca for o in figures])),
        "f1": float(np.mean([o.f1 for o in figures])),
        "pixel_ap": float(np.nanmean([o.pixel_ap for o in figures])),
        "all_fake_iou": area,
        "all_real_pbca": 1 - area,
    }
