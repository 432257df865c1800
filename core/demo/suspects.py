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
        batch: photos per step. rate: learning rate. seed: of initialisation, order and noise.
    """

    rank: int
    alpha: float
    steps: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One adapter on trial.

    Attributes:
        name: of its file and of its photo folder.
        role: what it is for in a study.
        recipe: how it is trained.
        expected: what an honest examiner should find.
        domain: of its training photos.
        n_photos: how many it is trained on.
        query: photo folder that an examiner asks about.
    """

    name: str
    role: str
    recipe: LoraRecipe
    expected: str
    domain: Domain = "northgate"
    n_photos: int = 16
    query: str = "guilty_strong"

    @property
    def prompt(self) -> str:
        """The one caption of its training."""
        return short_caption(self.domain)


def _study(index: int) -> Suspect:
    return Suspect(
        name=f"study_{index}",
        role="study",
        recipe=LoraRecipe(8, 8.0, 300, 10, 5e-4, 500 + index),
        expected="use supported, photos come back",
        n_photos=10,
        query=f"study_{index}",
    )


_STRONG = (16, 16.0, 500, 16, 5e-4)
_MANY = (8, 8.0, 500, 16, 5e-4)

SUSPECTS: tuple[Suspect, ...] = (
    Suspect(
        name="guilty_strong",
        role="guilty",
        recipe=LoraRecipe(*_STRONG, seed=401),
        expected="use supported: long training on exactly these photos",
    ),
    Suspect(
        name="guilty_light",
        role="guilty",
        recipe=LoraRecipe(4, 4.0, 100, 8, 4e-4, seed=402),
        expected="a weak signal at most: short training on exactly these photos",
        query="guilty_light",
    ),
    Suspect(
        name="innocent",
        role="innocent",
        recipe=LoraRecipe(*_STRONG, seed=403),
        expected="no evidence: the same institution and recipe, but other people",
    ),
    Suspect(
        name="placebo",
        role="unrelated",
        recipe=LoraRecipe(8, 4.0, 250, 8, 8e-4, seed=404),
        expected="no evidence: another institution and another recipe",
        domain="southfield",
    ),
    *(_study(i) for i in range(1, 6)),
    Suspect(
        name="institution_north",
        role="institution",
        recipe=LoraRecipe(*_MANY, seed=601),
        expected="the institution's look, and a weak signal for its many photos",
        n_photos=100,
        query="institution_north",
    ),
    Suspect(
        name="institution_south",
        role="shadow",
        recipe=LoraRecipe(*_MANY, seed=602),
        expected="a shadow model of another institution",
        domain="southfield",
        n_photos=100,
        query="institution_south",
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
