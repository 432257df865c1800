"""The stages between the photos and the scores: targets, images, classifiers, features.

Each finished piece is kept below ``work/`` of the output folder and found again, so that rows
share what they have in common and a killed run goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...attack.line import train_seeds
from ...backends.diffusers import DiffusersPair
from ...backends.loading import pair_of
from ...errors import plural
from ...protocols import NoProgress, Progress
from ...sampling.generation import generate
from ...sampling.plans import plan
from ...specs import SampleSpec
from ...storage import LEDGER, CaseFolder, Work, digest_of, open_case
from ...training.finetune import finetune, save_checkpoint
from .material import Material, features, stacked
from .rows import BASE_TARGET, PHOTOS, TARGETS
from .scales import PROMPT_SEEDS, REST_SHARE, Drawn, Folder, Scale, queries_of

DONE = "done"


@dataclass(frozen=True, eq=False)
class Bench:
    """Where the experiments are made.

    Attributes:
        root: the output folder.
        material: base and photos.
        scale: settings.
        identity: digest of all that decides the results.
        progress: long work.
        announce: takes a sentence at the start of each stage.
    """

    root: Path
    material: Material
    scale: Scale
    identity: str
    progress: Progress = field(default_factory=NoProgress)
    announce: Callable[[str], None] = lambda _: None

    def work(self, name: str) -> closing[CaseFolder]:
        """The case folder of one piece of work, closed when it is left."""
        return closing(open_case(self.root / "work" / name, {"run": self.identity}))

    def base_pair(self) -> DiffusersPair:
        """The untouched base in both places."""
        networks = self.material.networks
        return DiffusersPair.finetuned(networks, networks)


@dataclass(slots=True)
class Clock:
    """Seconds by the wall and of the processor since it was made."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def read(self) -> dict[str, float]:
        """Both, rounded."""
        return {
            "seconds": round(time.monotonic() - self.wall, 2),
            "cpu_seconds": round(time.process_time() - self.cpu, 2),
        }


def finish(case: CaseFolder, clock: Clock, kind: str, **facts: Any) -> None:
    """Mark a piece of work as done, with the time of the session that finished it."""
    data = digest_of(facts).encode()
    case.put(DONE, ".txt", data, kind=kind, **clock.read(), **facts)


def checkpoint_of(bench: Bench, target: str) -> Path:
    """Folder of a target's weights, trained if they are not there."""
    with bench.work(f"target-{target}") as case:
        folder = case.root / "checkpoint"
        if case.has(DONE):
            return folder
        spec, clock = bench.scale.spec_of(target), Clock()
        images = [i for name in TARGETS[target].sets for i in bench.material.sets[name]]
        captions = [c for name in TARGETS[target].sets for c in bench.material.captions[name]]
        bench.announce(
            f"target {target}: {plural(spec.steps, 'step')} on {plural(len(images), 'photo')}"
        )
        trained = finetune(
            bench.material.networks, images, captions, spec, work=Work(case, bench.progress)
        )
        save_checkpoint(trained, bench.material.networks, folder)
        losses = torch.tensor(trained.losses)
        tenth = max(1, len(losses) // 10)
        finish(
            case,
            clock,
            "target",
            name=target,
            steps=spec.steps,
            photos=len(images),
            first_loss=round(float(losses[:tenth].mean()), 4),
            last_loss=round(float(losses[-tenth:].mean()), 4),
        )
        return folder


def images_of(bench: Bench, arm: Drawn) -> Tensor:
    """Images ``[N, 3, h, w]`` of an arm, at the attack's side at most.

    The run seed belongs to the prompt: a target, the base in its place and marked copies share
    noises, two prompts do not, as the paper's unseeded arms did not.
    """
    if arm.target == PHOTOS:
        return _photos(bench, arm.prompt)
    spec, seed = bench.scale.attack, PROMPT_SEEDS[arm.prompt]
    jobs = plan([bench.scale.prompts[arm.prompt]], [arm.rule], spec.images, seed)
    sampling = SampleSpec(spec.sampler, spec.steps, spec.batch, seed)
    with bench.work(f"images-{arm.name}") as case:
        done = case.has(DONE)
        progress = NoProgress() if done else bench.progress
        pair = bench.base_pair() if done or arm.target == BASE_TARGET else _opened(bench, arm)
        with closing(pair):
            if not done:
                bench.announce(f"images of {arm.name}: {len(jobs)}")
            clock = Clock()
            made = generate(pair, jobs, sampling, work=Work(case, progress), max_side=spec.side)
        if not done:
            finish(case, clock, "images", name=arm.name, images=len(jobs))
    return made.pixels


def _opened(bench: Bench, arm: Drawn) -> DiffusersPair:
    return pair_of(bench.material.networks, checkpoint_of(bench, arm.target))


def _photos(bench: Bench, name: str) -> Tensor:
    """Real photos as label 0: the seen ones of an institution, then the unseen."""
    wanted = bench.scale.attack.images
    sets = bench.material.sets
    photos = [*sets[f"{name}-seen"], *sets[f"{name}-unseen"]][:wanted]
    return stacked(photos, bench.scale.attack.side)


def parts_of(images: Tensor, *, rest: bool) -> tuple[Tensor, Tensor]:
    """Images to train on and images held back: four fifths and a fifth, or all and none."""
    cut = len(images) - len(images) // REST_SHARE if rest else len(images)
    return images[:cut], images[cut:]


def scores_of(bench: Bench, folder: Folder) -> dict[str, Tensor]:
    """Logits ``[seeds, n]`` of each photo set that any row asks of the folder's classifiers.

    With `folder.rest` the sets are ``rest-positives`` and ``rest-negatives``. The accuracy on the
    training images is not kept: nothing is held out in the paper's protocol.
    """
    with bench.work(f"attack-{folder.name}") as case:
        if not case.has(DONE):
            _train(bench, folder, case)
        counts = dict(case.done[DONE]["counts"])
        seeds = range(folder.seeds)
        logits = torch.stack([case.read_tensors(f"attack/seed-{s}")["logits"] for s in seeds])
    return dict(zip(counts, logits.split(list(counts.values()), dim=1), strict=True))


def _train(bench: Bench, folder: Folder, case: CaseFolder) -> None:
    arms = [images_of(bench, arm) for arm in (folder.positives, folder.negatives)]
    if folder.negatives.target == PHOTOS:
        arms[0] = arms[0][: len(arms[1])]  # as many of each, as in the paper
    (positives, held_1), (negatives, held_0) = (parts_of(a, rest=folder.rest) for a in arms)
    side, sets = bench.scale.attack.side, bench.material.sets
    queries = {name: stacked(sets[name], side) for name in queries_of(folder, bench.scale)}
    if folder.rest:
        queries = {"rest-positives": held_1, "rest-negatives": held_0}
    bench.announce(f"attack: {folder.name}, {len(positives)} and {plural(len(negatives), 'image')}")
    clock = Clock()
    train_seeds(
        positives,
        negatives,
        torch.cat([stacked(list(q), side) for q in queries.values()]),
        replace(bench.scale.attack, seeds=folder.seeds),
        weights=bench.material.resnet,
        device=str(bench.base_pair().device),
        work=Work(case, bench.progress),
    )
    counts = [[name, len(images)] for name, images in queries.items()]  # the ledger sorts keys
    finish(case, clock, "attack", name=folder.name, counts=counts)


def features_of_arm(bench: Bench, arm: Drawn, *, rest: bool = False) -> tuple[Tensor, Tensor]:
    """Features ``[N, D]`` of the images trained on and of those held back."""
    features_of_all = _kept_features(bench, f"arm-{arm.name}", lambda: images_of(bench, arm))
    return parts_of(features_of_all, rest=rest)


def features_of_set(bench: Bench, name: str) -> Tensor:
    """Features ``[N, D]`` of a photo set."""
    side = bench.scale.attack.side
    return _kept_features(bench, f"set-{name}", lambda: stacked(bench.material.sets[name], side))


def _kept_features(bench: Bench, name: str, pixels: Callable[[], Tensor]) -> Tensor:
    with bench.work(f"features-{name}") as case:
        if not case.has(DONE):
            images, clock = pixels(), Clock()
            case.put_tensors("features", {"features": features(bench.material.encoder, images)})
            finish(case, clock, "features", name=name)
        return case.read_tensors("features")["features"]


def stage_facts(root: Path) -> list[dict[str, Any]]:
    """What every finished stage said of itself, in the order of their names."""
    facts = []
    for ledger in sorted((root / "work").glob(f"*/{LEDGER}")):
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        facts += [
            {k: v for k, v in line.items() if k not in ("unit", "file", "sha256")}
            for line in lines
            if line["unit"] == DONE
        ]
    return facts
