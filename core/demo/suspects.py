"""The suspects of the demo: who trained on which photos, and what an honest examiner should find.

All photos of one institution come from one draw and are split afterwards, so members, queries and
controls are exchangeable by construction.
"""

from dataclasses import dataclass
from pathlib import Path

from .datasets import write_photos
from .faces import draw_faces
from .people import Domain, short_caption

PHOTO_SEEDS: dict[Domain, int] = {"northgate": 3001, "southfield": 3002}
CONTROLS: dict[Domain, str] = {"northgate": "controls_north", "southfield": "controls_south"}
N_CONTROLS = 100


@dataclass(frozen=True)
class LoraRecipe:
    """How a suspect is trained.

    Attributes:
        rank: of every low-rank pair. alpha: its scale, divided by the rank. steps: optimiser steps.
        batch: photos a step. rate: learning rate. seed: of initialisation, order and noise.
    """

    rank: int
    alpha: float
    steps: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Suspect:
    """One adapter on trial.

    Attributes:
        name: of its file and of its photo folder.
        role: what it is for in a study.
        domain: of its training photos.
        n_photos: how many it is trained on.
        query: photo folder that an examiner asks about.
        recipe: how it is trained.
        expected: what an honest examiner should find.
    """

    name: str
    role: str
    domain: Domain
    n_photos: int
    query: str
    recipe: LoraRecipe
    expected: str

    @property
    def prompt(self) -> str:
        """The one caption of its training."""
        return short_caption(self.domain)


def _study(index: int) -> Suspect:
    name = f"study_{index}"
    recipe = LoraRecipe(8, 8.0, 300, 10, 5e-4, 500 + index)
    return Suspect(name, "study", "northgate", 10, name, recipe, "use supported, photos come back")


_STRONG = (16, 16.0, 500, 16, 5e-4)

SUSPECTS: tuple[Suspect, ...] = (
    Suspect(
        "guilty_strong",
        "guilty",
        "northgate",
        16,
        "guilty_strong",
        LoraRecipe(*_STRONG, seed=401),
        "use supported: long training on exactly these photos",
    ),
    Suspect(
        "guilty_light",
        "guilty",
        "northgate",
        16,
        "guilty_light",
        LoraRecipe(4, 4.0, 100, 8, 4e-4, seed=402),
        "a weak signal at most: short training on exactly these photos",
    ),
    Suspect(
        "innocent",
        "innocent",
        "northgate",
        16,
        "guilty_strong",
        LoraRecipe(*_STRONG, seed=403),
        "no evidence: the same institution and recipe, but other people",
    ),
    Suspect(
        "placebo",
        "unrelated",
        "southfield",
        16,
        "guilty_strong",
        LoraRecipe(8, 4.0, 250, 8, 8e-4, seed=404),
        "no evidence: another institution and another recipe",
    ),
    *(_study(i) for i in range(1, 6)),
    Suspect(
        "institution_north",
        "institution",
        "northgate",
        100,
        "institution_north",
        LoraRecipe(8, 8.0, 500, 16, 5e-4, seed=601),
        "the institution's look, and a weak signal for its many photos",
    ),
    Suspect(
        "institution_south",
        "shadow",
        "southfield",
        100,
        "institution_south",
        LoraRecipe(8, 8.0, 500, 16, 5e-4, seed=602),
        "a shadow model of another institution",
    ),
)


def photo_plan() -> dict[str, tuple[Domain, int]]:
    """Every photo folder with its domain and size, in drawing order."""
    plan: dict[str, tuple[Domain, int]] = {s.name: (s.domain, s.n_photos) for s in SUSPECTS}
    plan.update({CONTROLS[domain]: (domain, N_CONTROLS) for domain in PHOTO_SEEDS})
    return plan


def write_all_photos(folder: Path) -> None:
    """Draws one pool per institution, splits it and writes every photo folder."""
    plan = photo_plan()
    for domain, seed in PHOTO_SEEDS.items():
        sets = [(name, n) for name, (home, n) in plan.items() if home == domain]
        pool = draw_faces(sum(n for _, n in sets), domain, seed).pixels
        start = 0
        for number, (name, n) in enumerate(sets):
            write_photos(pool[start : start + n], folder / name, seed * 100 + number)
            start += n
