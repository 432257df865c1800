"""How large a run is: pictures, networks, trainings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ....demo.repainted import GENERATORS, LATENT
from ....localization.settings import METHOD_NAMES, LocalizerSpec, paper_spec

PRACTICAL = "practical"
PAPER_SETUPS = ("A", "B", "C")


@dataclass(frozen=True, kw_only=True)
class LocalizationScale:
    """Sizes of a run.

    Attributes:
        name: ``tiny`` or ``full``.
        main: generator of setups B and C, and of the test pictures.
        generators: of the train-on-one, test-on-another table; the main one among them.
        seeds: trainings of each cell of the main table.
        side: input pixels of the networks.
        changes: settings that differ from the paper's in every training.
        epochs: by supervision; the paper's where none is said.
        widths: share of the published channels by method; 1 where none is said.
        attention_rate: step size of Attention, which starts from random weights at the tiny scale.
        photos: drawn people, at the tiny scale.
        told: in words, what differs from the paper.
    """

    name: str
    main: str
    generators: tuple[str, ...] = ()
    seeds: int = 1
    side: int = 299
    changes: dict[str, float | str] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    widths: dict[str, float] = field(default_factory=dict)
    attention_rate: float | None = None
    photos: int = 0
    told: dict[str, str] = field(default_factory=dict)

    def spec(self, method: str, setup: str, seed: int) -> LocalizerSpec:
        """A training's settings.

        Args:
            method: of `METHOD_NAMES`.
            setup: A, B, C or ``practical``, which is C's with degraded pictures.
            seed: of weights and order.
        """
        settings = paper_spec(method, "C" if setup == PRACTICAL else setup)
        if setup == PRACTICAL:
            settings = replace(settings, flip=0.5, degrade=0.5)
        if method == "attention" and self.attention_rate is not None:
            settings = replace(settings, learning_rate=self.attention_rate)
        width = self.widths.get(method, 1.0)
        epochs = self.epochs.get(settings.supervision, settings.epochs)
        changes: dict[str, Any] = {"width": width, "epochs": epochs, **self.changes}
        return replace(settings, side=self.side, seed=seed, **changes)


TINY = LocalizationScale(
    name="tiny",
    main=LATENT,
    generators=GENERATORS,
    seeds=1,
    side=128,
    changes={"batch": 32, "iterations": 100, "recalibration": 20, "precision": "bfloat16"},
    epochs={"labels": 8, "masks": 6},
    widths={"patches": 0.5, "gradcam": 0.25, "attention": 0.25},
    attention_rate=1e-3,
    photos=900,
    told={
        "pictures": "drawn people of 64 px, enlarged to 128; the paper: photos of 256, to 299",
        "generator": "RePaint 50/5/3 by the embedded latent model, originals pasted back; the "
        "paper: RePaint by a pixel model",
        "masks": "rectangles and brush strokes; the paper: parts of a face",
        "networks": "half of Xception's channels for Patches, a quarter for the others, random "
        "start; the paper: all channels, "
        "ImageNet's start for Grad-CAM, FFD's for Attention",
        "training": "800 steps of 32 on labels, 600 on masks, in bfloat16, batch norm measured "
        "anew; the paper: 50,000 and 25,000 (Attention 7,500) in float32",
        "Attention's step size": "1e-3, for its random start; the paper: 1e-4 and 3e-4",
    },
)
SCALES = {"tiny": TINY}


def full_scale(main: str, generators: tuple[str, ...], seeds: int) -> LocalizationScale:
    """The paper's settings on the user's set."""
    return LocalizationScale(name="full", main=main, generators=generators, seeds=seeds)


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes:
        table: ``main``, ``generators`` or ``practical``.
        method: of `METHOD_NAMES`.
        setup: what it learns from.
        generators: whose fakes it sees.
        seed: of the training.
    """

    table: str
    method: str
    setup: str
    generators: tuple[str, ...]
    seed: int

    @property
    def key(self) -> str:
        """Short and stable."""
        return f"{self.method}-{self.setup}-{'+'.join(self.generators)}-{self.seed}"


def runs_of(scale: LocalizationScale) -> tuple[Run, ...]:
    """All trainings, seed by seed: a run with fewer seeds is the first part of one with more."""
    seeds, main = range(scale.seeds), (scale.main,)
    runs = [
        Run("main", method, setup, main, seed)
        for seed in seeds
        for setup in PAPER_SETUPS
        for method in METHOD_NAMES
    ]
    others = [g for g in scale.generators if g != scale.main]
    runs += [Run("generators", "patches", "C", (g,), 0) for g in others]
    if len(scale.generators) > 2:
        mixes = [tuple(g for g in scale.generators if g != out) for out in scale.generators]
        runs += [Run("generators", "patches", "C", mix, 0) for mix in mixes]
    runs += [Run(PRACTICAL, "patches", PRACTICAL, main, seed) for seed in seeds]
    return tuple(sorted(runs, key=lambda run: run.seed))
