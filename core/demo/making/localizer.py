"""Trains the shipped localiser.

``python -m lora_forensics.core.demo.making.localizer --out FOLDER``

Patches, in the practical setup: drawn people and crops of one photograph, repainted by the embedded
base and by OpenCV, with decoded and untouched pictures beside. It is measured on pictures of all
these kinds that it did not see, and on two that it never could: another photograph, and a LoRA.
Two input sides were tried, 128 and 96; the latter raised fewer false alarms on photographs.
"""

from __future__ import annotations

import argparse
import logging
from contextlib import closing
from pathlib import Path

import torch

from ...casework.localizing import words_of_card
from ...localization.files import save_localizer
from ...localization.measuring import finish
from ...localization.settings import SETUPS, LocalizerSpec
from ...localization.shipped import NAME
from ...localization.training import train_localizer
from ...protocols import NoProgress, Progress
from ...storage import Work, open_case
from ..repainted import (
    CLASSICAL,
    LATENT,
    LORA,
    SCENES,
    SIDE,
    drawn_people,
    joined,
    repainted,
    scene_crops,
)

PEOPLE, CROPS, FOREIGN = 700, 350, 400
SEEDS = {"people": 920_001, "scene": 920_002, "foreign scene": 920_003, "foreign people": 930_001}
SPEC = LocalizerSpec(side=96, epochs=20, iterations=120, degrade=0.3, precision="bfloat16")
log = logging.getLogger(__name__)
WORDS = (
    f"{PEOPLE} drawn people and {CROPS} crops of a photograph, 64 px, repainted by the embedded "
    "demo model and by OpenCV"
)
LIMITS = (
    "Trained on drawings of 64 pixels and on one photograph, to show how it works: it is no judge "
    "of photos from a camera. Train your own with `localizer train`.",
)


class Logged(NoProgress):
    """Tells which stage begins."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """One line per stage."""
        log.info("%s: %d steps, %d done", task, total, done)


def train(folder: Path, progress: Progress) -> Path:
    """Make the sets, train, measure, write; resumes.

    Args:
        folder: of the work; the file is written into it.
        progress: long work.
    """
    seen = joined(
        [drawn_people(PEOPLE, SEEDS["people"]), scene_crops(SCENES[0], CROPS, SEEDS["scene"])]
    )
    examples = repainted(folder / "examples", seen, (LATENT, *CLASSICAL), progress=progress)
    outside = {
        "another photograph": repainted(
            folder / "scene",
            scene_crops(SCENES[1], FOREIGN, SEEDS["foreign scene"]),
            (LATENT, *CLASSICAL),
            progress=progress,
        ),
        "a LoRA on the model": repainted(
            folder / "lora", drawn_people(FOREIGN, SEEDS["foreign people"]), (LORA,),
            progress=progress,
        ),
    }  # fmt: skip
    chosen = examples.pick(variants=SETUPS["practical"].variants)
    with closing(open_case(folder / "training", {"examples": chosen.digest()})) as case:
        trained = train_localizer(chosen, SPEC, work=Work(case, progress))
    made = finish(
        trained, examples, WORDS, source_side=SIDE, outside=outside, limits=LIMITS,
        progress=progress,
    )  # fmt: skip
    log.info(words_of_card(made))
    return save_localizer(made.network, made.card, folder / f"{NAME}.safetensors")


def main() -> None:
    """Train it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder, new or to resume")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = its default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    log.info("written: %s", train(args.out, Logged()))


if __name__ == "__main__":
    main()
