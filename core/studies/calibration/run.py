"""The study: train every adapter, then put each through the whole pipeline.

Two passes, since the adapters of other cases are the null models of each. Every unit is kept;
several processes may run the same command on one folder and share the cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ... import __version__
from ...backends.diffusers import DiffusersPair
from ...backends.loading import load_base
from ...backends.networks import Networks
from ...casework.intake import names_in, stop_if_minor
from ...demo.assets import asset_path
from ...encoders import load_encoder
from ...errors import plural
from ...lora.safeguard import stop_words
from ...protocols import QUIET, ImageEncoder, Progress
from ...specs import FinetuneSpec
from ...storage import CaseFolder, Work
from ...training.finetune import finetune
from ...training.trained import save_lora
from .cases import StudyCase, design, own_first
from .examine import examine, forwards_of
from .folders import ADAPTER, Plan, StudyFolder, open_study
from .photos import DrawnFaces, PhotoPool, PhotoSource, null_cases, photo_sets
from .settings import CalibrationSpec

ROWS_A_SECOND = 450  # of the embedded base on one thread of a 2024 server, for the plan only
STEPS_A_SECOND = 10


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Study:
    """Everything that a study works with.

    Attributes:
        scale: ``tiny``, or the name of the user's own base.
        base: the base.
        encoder: copy descriptor.
        source: pictures, as large as the base wants them.
        spec: design and budgets.
        cases: the design.
    """

    scale: str
    base: Networks
    encoder: ImageEncoder
    source: PhotoSource
    spec: CalibrationSpec
    cases: tuple[StudyCase, ...]

    def plan(self) -> Plan:
        """All that decides the results."""
        return Plan(
            tool=__version__,
            scale=self.scale,
            base=self.base.sha256,
            family=self.base.family.name,
            encoder=self.encoder.id.sha256,
            source=self.source.facts(),
            settings=self.spec,
            cases=self.cases,
        )


def tiny_study(spec: CalibrationSpec, cases: Sequence[StudyCase] = ()) -> Study:
    """The study on the embedded base, with faces drawn for it.

    Args:
        spec: design and budgets.
        cases: other cases than those of the design.
    """
    base = load_base(asset_path("base"))
    return Study(
        scale="tiny",
        base=base,
        encoder=load_encoder("tiny"),
        source=DrawnFaces(side_of(base)),
        spec=spec,
        cases=tuple(cases) or design(spec),
    )


def own_study(
    spec: CalibrationSpec,
    base: Path,
    photos: Path,
    prompt: str,
    *,
    encoder: str = "auto",
    models: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Study:
    """The study on a base of the user's, with photos of one source.

    Args:
        spec: design and budgets.
        base: diffusers folder or single-file checkpoint.
        photos: folder of photos that the base was not trained on.
        prompt: caption of every training photo.
        encoder: copy descriptor.
        models: folder with weights that the user brings.
        device: see `backends.loading.open_pair`.
        dtype: see `backends.loading.open_pair`.

    Raises:
        NotEnoughDataError: the pool is too small (SMALL_POOL).
        ForensicsError: MINOR_SUSPECTED: the prompt or a name in the pool points to a minor.
    """
    stop_if_minor(stop_words([prompt, *names_in(photos)]), flagged=False)
    networks, cases = load_base(base, device=device, dtype=dtype), design(spec)
    source = PhotoPool(photos, side_of(networks), prompt, spec.seed)
    for case in cases:
        source.names(case, 2 * case.photos, spec.controls)
    return Study(
        scale=f"own base {networks.sha256[:12]}",
        base=networks,
        encoder=load_encoder(encoder, models),
        source=source,
        spec=spec,
        cases=cases,
    )


def side_of(base: Networks) -> int:
    """Native edge of a base's images, in pixels."""
    return DiffusersPair(base, tuned_sha256=base.sha256).resolution


def plan_text(study: Study) -> str:
    """The plan in one sentence or two."""
    rows = sum(forwards_of(c, study.spec, study.source.caption) for c in study.cases)
    steps = sum(c.steps for c in study.cases)
    minutes = (rows / ROWS_A_SECOND + steps / STEPS_A_SECOND) / 60
    counts = {used: sum(c.used == used for c in study.cases) for used in (1.0, 0.0)}
    text = (
        f"{plural(len(study.cases), 'adapter')}: {counts[1.0]} guilty, {counts[0.0]} innocent, "
        f"{len(study.cases) - sum(counts.values())} in part; planned: {steps:,} training steps, "
        f"{rows:,} denoiser forwards"
    )
    tiny = f"; about {minutes:.0f} minutes of one core, and attacks and tests beside"
    return text + (tiny if study.scale == "tiny" else "")


def run_study(
    study: Study,
    out: Path,
    *,
    shard: int = 1,
    shards: int = 1,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> list[StudyCase]:
    """Train and examine all cases that are not done.

    Args:
        study: from `tiny_study` or `own_study`.
        out: folder of the study; several processes may share it.
        shard: which part this process takes first, from 1.
        shards: processes.
        progress: long work.
        announce: told what is done.

    Returns:
        Cases that other processes still work on.

    Raises:
        RunError: see `folders.open_study`.
    """
    folder = open_study(out, study.plan())
    order = own_first(study.cases, shard, shards)
    folder.work(
        order,
        folder.adapter,
        partial(train_case, study, progress=progress),
        wait=True,
        on_wait=lambda cases: announce(
            f"waiting for other processes to train {', '.join(c.name for c in cases)}"
        ),
    )
    announce(f"{plural(len(order), 'adapter')} trained")

    def look(case: StudyCase, kept: CaseFolder) -> None:
        examine_case(study, folder, case, kept, progress=progress)
        announce(f"{case.name} examined")

    return folder.work(order, folder.result, look)


def train_case(study: Study, case: StudyCase, kept: CaseFolder, *, progress: Progress) -> None:
    """Train the adapter of one case and keep its file."""
    photos = photo_sets(case, study.source, study.spec).training.images.pixels
    settings = FinetuneSpec(
        rank=case.rank,
        steps=case.steps,
        batch=study.spec.batch,
        learning_rate=case.learning_rate,
        flip=0.0,
        seed=case.seed,
    )
    captions = [study.source.caption] * len(photos)
    trained = finetune(
        study.base, list(photos), captions, settings, work=Work(kept, progress), unit="training"
    )
    with TemporaryDirectory() as folder:
        path = save_lora(trained, Path(folder) / ADAPTER, name=case.name)
        kept.put(Path(ADAPTER).stem, Path(ADAPTER).suffix, path.read_bytes())


def examine_case(
    study: Study, folder: StudyFolder, case: StudyCase, kept: CaseFolder, *, progress: Progress
) -> None:
    """The whole pipeline on one case."""
    started = time.process_time()
    nulls = null_cases(case, study.cases, study.source, study.spec)
    examined = examine(
        case,
        photo_sets(case, study.source, study.spec),
        base=study.base,
        encoder=study.encoder,
        adapter=folder.adapter(case),
        placebos={c.name: folder.adapter(c) for c in nulls},
        prompt=study.source.caption,
        spec=study.spec,
        work=Work(kept, progress),
    )
    kept.put("result", ".json", examined.json(time.process_time() - started))
