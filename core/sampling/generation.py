"""Jobs -> images: sampled, decoded, health-checked, kept one by one so that a run can resume."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..errors import ForensicsError, plural
from ..images.photos import pixels_sha256, png_bytes, to_tensor, to_uint8
from ..protocols import ModelPair
from ..specs import SampleSpec
from ..storage import UNKEPT, CaseFolder, Work, digest_of
from ..types import ImageBatch, Source
from .plans import Job, sample_latents

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
    work: Work = UNKEPT,
    task: str = "sampling",
    max_side: int = 512,
) -> ImageBatch:
    """Images of a plan, in plan order.

    Args:
        pair: the models.
        jobs: the plan.
        spec: solver, steps, batch.
        work: keeps finished parts, is told of steps.
        task: its caption.
        max_side: images are held in memory at this side at most; files keep the native one.

    Returns:
        One image a job, quantised to 8 bits as the stored file is. Hashes are of native pixels.

    Raises:
        ForensicsError: more than 1% of the images are constant or not finite (BAD_SAMPLES).
    """
    images = {} if work.case is None else _stored(work.case, jobs, spec, max_side)
    missing = _unique([job for job in jobs if unit_of(job, spec) not in images], spec)
    total = len(images) + len(missing)
    work.progress.start(task, total * spec.steps, len(images) * spec.steps)
    for batch, latents in sample_latents(pair, missing, spec, progress=work.progress):
        decoded = pair.decode(latents)
        work.progress.show(decoded)
        for job, pixels in zip(batch, decoded, strict=True):
            unit = unit_of(job, spec)
            data = png_bytes(torch.nan_to_num(pixels))
            if work.case is not None:
                work.case.put(unit, ".png", data, prompt=job.prompt, seed=job.seed)
            images[unit] = _held(data, max_side)
    units = [unit_of(job, spec) for job in jobs]
    pixels = torch.stack([images[u].pixels for u in units])
    _check_health(pixels)
    sources = [_source(job, images[u].sha256, u) for job, u in zip(jobs, units, strict=True)]
    return ImageBatch(pixels, tuple(sources))


class _Held(NamedTuple):
    pixels: Tensor
    sha256: str


def _held(data: bytes, max_side: int) -> _Held:
    native = _decode(data)
    side = max(native.shape[-2:])
    sha256 = pixels_sha256(to_uint8(native))
    if side <= max_side:
        return _Held(native, sha256)
    size = [round(s * max_side / side) for s in native.shape[-2:]]
    smaller = F.interpolate(native[None], size, mode="bilinear", antialias=True)[0]
    return _Held(smaller, sha256)


def _stored(
    case: CaseFolder, jobs: Sequence[Job], spec: SampleSpec, max_side: int
) -> dict[str, _Held]:
    units = {unit_of(job, spec) for job in jobs}
    return {u: _held(case.read(u), max_side) for u in sorted(units) if case.has(u)}


def _unique(jobs: Sequence[Job], spec: SampleSpec) -> list[Job]:
    return list({unit_of(job, spec): job for job in reversed(jobs)}.values())[::-1]


def _decode(data: bytes) -> Tensor:
    return to_tensor(Image.open(io.BytesIO(data), formats=("PNG",)).convert("RGB"))


def _source(job: Job, sha256: str, unit: str) -> Source:
    return Source(
        kind="generated",
        sha256=sha256,
        name=f"{unit}.png",
        prompt=job.prompt,
        seed=job.seed,
        guidance=job.guidance.label,
    )


def _check_health(pixels: Tensor) -> None:
    bad = int((pixels.flatten(1).std(1) < 1 / 255).sum())
    if bad > MAX_BAD_SHARE * len(pixels):
        raise ForensicsError(
            "BAD_SAMPLES",
            f"constant or not finite: {bad} of {plural(len(pixels), 'generated image')}, by which "
            "the model cannot be judged. Try --dtype float32, a lower guidance scale, or check "
            "the base",
        )
