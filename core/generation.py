"""Jobs -> images: sampled, decoded, health-checked, kept one by one so that a run can resume."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict

import torch
from PIL import Image
from torch import Tensor

from .errors import ForensicsError
from .images import pixels_sha256, png_bytes, to_tensor, to_uint8
from .protocols import ModelPair, NoProgress, Progress
from .sampling import Job, sample_latents
from .specs import SampleSpec
from .storage import CaseFolder, digest_of
from .types import ImageBatch, Source

MAX_BAD_SHARE = 0.01


def unit_of(job: Job, spec: SampleSpec) -> str:
    """Name of a job's image in the case folder: the digest of all that makes it.

    The place in the plan and the batch size are left out, since they change nothing; equal jobs
    of different arms share one image.
    """
    facts = {**asdict(job), "sampler": spec.sampler, "steps": spec.steps}
    del facts["index"]
    return f"img/{digest_of(facts)[:20]}"


def generate(
    pair: ModelPair,
    jobs: Sequence[Job],
    spec: SampleSpec,
    *,
    case: CaseFolder | None = None,
    progress: Progress | None = None,
    task: str = "sampling",
) -> ImageBatch:
    """Images of a plan, in plan order.

    Args:
        pair: the models.
        jobs: the plan.
        spec: solver, steps, batch.
        case: keeps each image and skips those already there; None keeps all in memory.
        progress: counts solver steps times images.
        task: its caption.

    Returns:
        One image a job, quantised to 8 bits as the stored file is.

    Raises:
        ForensicsError: more than 1% of the images are constant or not finite (BAD_SAMPLES).
    """
    progress = progress or NoProgress()
    found = {} if case is None else _stored(case, jobs, spec)
    missing = _unique([job for job in jobs if unit_of(job, spec) not in found], spec)
    total = len(found) + len(missing)
    progress.start(task, total * spec.steps, len(found) * spec.steps)
    for batch, latents in sample_latents(pair, missing, spec, progress=progress):
        for job, pixels in zip(batch, pair.decode(latents), strict=True):
            unit = unit_of(job, spec)
            data = png_bytes(pixels)
            if case is not None:
                case.put(unit, ".png", data, prompt=job.prompt, seed=job.seed)
            found[unit] = _decode(data) if pixels.isfinite().all() else torch.zeros_like(pixels)
    units = [unit_of(job, spec) for job in jobs]
    _check_health(torch.stack([found[u] for u in units]))
    return ImageBatch(
        torch.stack([found[u] for u in units]),
        tuple(_source(job, found[u], u) for job, u in zip(jobs, units, strict=True)),
    )


def _stored(case: CaseFolder, jobs: Sequence[Job], spec: SampleSpec) -> dict[str, Tensor]:
    units = {unit_of(job, spec) for job in jobs}
    return {u: _decode(case.read(u)) for u in sorted(units) if case.has(u)}


def _unique(jobs: Sequence[Job], spec: SampleSpec) -> list[Job]:
    return list({unit_of(job, spec): job for job in reversed(jobs)}.values())[::-1]


def _decode(data: bytes) -> Tensor:
    return to_tensor(Image.open(io.BytesIO(data), formats=("PNG",)).convert("RGB"))


def _source(job: Job, pixels: Tensor, unit: str) -> Source:
    return Source(
        "generated",
        pixels_sha256(to_uint8(pixels)),
        f"{unit}.png",
        prompt=job.prompt,
        seed=job.seed,
        guidance=job.guidance.label,
    )


def _check_health(pixels: Tensor) -> None:
    bad = int((pixels.flatten(1).std(1) < 1 / 255).sum())
    if bad > MAX_BAD_SHARE * len(pixels):
        raise ForensicsError(
            "BAD_SAMPLES",
            f"{bad} of {len(pixels)} generated images are constant or not finite; the model cannot "
            "be judged by them. Try --dtype float32, a lower guidance scale, or check the base",
        )
