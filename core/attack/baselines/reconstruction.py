"""Does the model, given an image's own caption, draw something like it?

Source: Pang and Wang 2023 (arXiv 2312.08207, NDSS 2025): caption the image, draw m images from the
caption, score = mean similarity of their embeddings with the image's. The released defaults are
m = 3 and 30 steps, with a DeiT embedding; any encoder serves here. As with GAN-Leaks the base is
asked too, with the same captions and noise, and subtracted (`base_calibrated`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError, plural
from ...protocols import ModelPair
from ...sampling.generation import generate
from ...sampling.guidance import cfg
from ...sampling.plans import Job, seed_of
from ...specs import SampleSpec
from ...storage import UNKEPT, Work
from ...types import TUNED, ImageBatch
from .vectors import directions

IMAGES, SCALE = 3, 7.5
RELEASED = SampleSpec(steps=30)
"""Solver settings of the released code."""


def plan_reconstructions(
    captions: Sequence[str],
    model: float,
    run_seed: int,
    *,
    images: int = IMAGES,
    scale: float = SCALE,
) -> tuple[Job, ...]:
    """`images` jobs a caption, captions in order; base and tuned share every noise.

    Args:
        captions: one per image in question.
        model: 0 base, 1 tuned.
        run_seed: of the noises.
        images: drawn from each caption.
        scale: guidance scale.

    Raises:
        InputError: no caption (EMPTY_PLAN), or fewer than one image (OUT_OF_RANGE).
    """
    if not captions:
        raise InputError("EMPTY_PLAN", "no caption was given; give one per image")
    if images < 1:
        raise InputError("OUT_OF_RANGE", f"{plural(images, 'image')} per caption; give 1 or more")
    rule = cfg(scale, model)
    return tuple(
        Job(k, captions[k // images], seed_of(run_seed, k), rule)
        for k in range(len(captions) * images)
    )


def draw_reconstructions(
    pair: ModelPair,
    captions: Sequence[str],
    *,
    model: float = TUNED,
    spec: SampleSpec = RELEASED,
    images: int = IMAGES,
    scale: float = SCALE,
    work: Work = UNKEPT,
) -> ImageBatch:
    """Images from each caption, caption by caption.

    Args:
        pair: the models.
        captions: one per image in question.
        model: 0 base, 1 tuned.
        spec: solver, steps and run seed.
        images: drawn from each caption.
        scale: guidance scale.
        work: keeps finished parts, is told of steps.

    Returns:
        ``len(captions) * images`` images.
    """
    jobs = plan_reconstructions(captions, model, spec.seed, images=images, scale=scale)
    task = "reconstruction: " + ("tuned images" if model == TUNED else "base images")
    return generate(pair, jobs, spec, work=work, task=task)


@torch.no_grad()
def reconstruction_scores(generated: Tensor, queries: Tensor) -> Tensor:
    """Mean cosine of each query with the images drawn from its caption, higher meaning member.

    Args:
        generated: ``[N * m, D]`` descriptors, m in a row for each query.
        queries: ``[N, D]`` descriptors by the same encoder, N >= 1.

    Returns:
        ``[N]`` float64, -1 to 1.

    Raises:
        InputError: BAD_SHAPE (not a whole number of images a query), NON_FINITE, or OUT_OF_RANGE
            (a zero vector).

    Example:
        >>> drawn = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
        >>> reconstruction_scores(drawn, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    wide = generated.ndim == queries.ndim == 2 and generated.shape[1] == queries.shape[1]
    if not wide or not len(queries) or not len(generated) or len(generated) % len(queries):
        raise InputError(
            "BAD_SHAPE",
            f"generated: {list(generated.shape)}, queries: {list(queries.shape)}; expected "
            "[N * m, D] and [N, D]: as many images of one encoder for each query",
        )
    drawn = directions(generated, "a generated image")
    asked = directions(queries, "a query")
    cosines = (drawn.view(len(asked), -1, drawn.shape[1]) * asked[:, None]).sum(-1)
    return cosines.mean(1).clamp(-1, 1)
