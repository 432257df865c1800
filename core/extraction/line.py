"""FineXtract: guided sampling, copy descriptors, cliques, medoids, and what they recover.

Source: Wu, Zhang, Wu, "Leveraging Model Guidance to Extract Training Data from Personalized
Diffusion Models", ICML 2025; clusters by complete linkage, output fixed at N0, controls beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..encoders.embedding import embed
from ..errors import InputError
from ..protocols import ImageEncoder, ModelPair
from ..sampling.generation import generate
from ..sampling.guidance import Guidance, cfg, model_guidance
from ..sampling.plans import forwards, plan
from ..specs import ExtractSpec, SampleSpec, VerdictSpec
from ..statistics.similarity import average_similarity, extraction_success_rate
from ..storage import UNKEPT, Work
from ..types import Embeddings, ImageBatch
from ..verdicts.comparison import compare
from ..verdicts.evidence import Extracted, ExtractionEvidence, PilotPoint
from .clustering import Clusters, cluster


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """What was drawn from the model, before anyone compares it with photos.

    Attributes:
        images: all images drawn with the chosen guidance.
        embeddings: their descriptors.
        clusters: medoids are the extracted images, best first.
        guidance: the rule used.
        pilot: weights tried and their scores; empty when the weight was given.
        forwards: denoiser rows spent.
    """

    images: ImageBatch
    embeddings: Embeddings
    clusters: Clusters
    guidance: Guidance
    pilot: tuple[PilotPoint, ...]
    forwards: int


def sample_spec(spec: ExtractSpec) -> SampleSpec:
    """The solver settings of an extraction."""
    return SampleSpec(spec.sampler, spec.steps, spec.batch, spec.seed)


def rule(spec: ExtractSpec, scale: float) -> Guidance:
    """The guidance rule of an arm at a scale."""
    if spec.guidance == "model":
        return model_guidance(scale, spec.correction)
    return cfg(scale if spec.guidance == "cfg" else 1.0)


def extract(
    pair: ModelPair,
    encoder: ImageEncoder,
    prompts: Sequence[str],
    n0: int,
    spec: ExtractSpec,
    *,
    work: Work = UNKEPT,
) -> Extraction:
    """Draw images, group them, and pick one representative a group. Needs no photo.

    Args:
        pair: base and tuned model.
        encoder: copy descriptor.
        prompts: training captions or trigger words, used in turn.
        n0: representatives wanted, the number of training images if known.
        spec: budget, guidance, pilot.
        work: keeps finished parts, is told of steps.

    Raises:
        InputError: no prompt, or n0 < 1.
    """
    if n0 < 1:
        raise InputError("BAD_SETTING", f"{n0} representatives were asked for; give 1 or more")
    pilot = _pilot(pair, encoder, prompts, spec, work)
    scale = max(pilot, key=lambda point: point.score).scale if pilot else spec.scale
    chosen = rule(spec, scale)
    jobs = plan(prompts, [chosen], spec.images, spec.seed)
    drawn = generate(pair, jobs, sample_spec(spec), work=work, task=f"extract {chosen.label}")
    embeddings = embed(drawn, encoder)
    spent = forwards(jobs, spec.steps) + _pilot_forwards(prompts, spec)
    return Extraction(drawn, embeddings, groups(embeddings, n0), chosen, pilot, spent)


def groups(embeddings: Embeddings, n0: int) -> Clusters:
    """At most `n0` clusters, topped up with central singletons to an equal output budget.

    Two medoids count as one picture above the descriptor's own copy threshold.
    """
    return cluster(
        embeddings.vectors.numpy(),
        n_clusters=n0,
        duplicate_similarity=embeddings.encoder.copy_threshold,
        fill=True,
    )


def planned_forwards(prompts: Sequence[str], spec: ExtractSpec) -> int:
    """Denoiser rows that `extract` will spend at most."""
    jobs = plan(prompts, [rule(spec, spec.scale or max(spec.pilot))], spec.images, spec.seed)
    return forwards(jobs, spec.steps) + _pilot_forwards(prompts, spec)


def _needs_pilot(spec: ExtractSpec) -> bool:
    return spec.guidance != "cond" and spec.scale == 0.0


def _pilot_forwards(prompts: Sequence[str], spec: ExtractSpec) -> int:
    if not _needs_pilot(spec):
        return 0
    rules = [rule(spec, scale) for scale in spec.pilot]
    return forwards(plan(prompts, rules, spec.pilot_images, spec.seed), spec.steps)


def _pilot(
    pair: ModelPair,
    encoder: ImageEncoder,
    prompts: Sequence[str],
    spec: ExtractSpec,
    work: Work,
) -> tuple[PilotPoint, ...]:
    if not _needs_pilot(spec):
        return ()
    rules = [rule(spec, scale) for scale in spec.pilot]
    jobs = plan(prompts, rules, spec.pilot_images, spec.seed)
    images = generate(pair, jobs, sample_spec(spec), work=work, task="pilot of the weight")
    vectors = embed(images, encoder).vectors.split(spec.pilot_images)
    return tuple(
        PilotPoint(scale, pilot_score(v.numpy()))
        for scale, v in zip(spec.pilot, vectors, strict=True)
    )


def pilot_score(vectors: np.ndarray) -> float:
    """How much a weight makes images repeat themselves without all becoming one.

    Args:
        vectors: ``[N, D]`` unit-norm descriptors of one weight's images.

    Returns:
        Mean similarity of each image to its nearest other one, minus the mean similarity of all
        pairs: near-copies raise it, collapse to one picture lowers it.
    """
    similarity = vectors @ vectors.T
    n = len(similarity)
    pairs = (similarity.sum() - np.trace(similarity)) / (n * (n - 1))
    np.fill_diagonal(similarity, -1.0)
    return float(similarity.max(1).mean() - pairs)


def judge(
    extraction: Extraction,
    photos: Embeddings,
    controls: Embeddings,
    spec: VerdictSpec,
    *,
    clusters: tuple[str, ...] | None = None,
) -> ExtractionEvidence:
    """Compare what was extracted with photos and controls.

    Args:
        extraction: what was drawn.
        photos: descriptors of the photos.
        controls: descriptors of the controls.
        spec: levels.
        clusters: session of each photo, then of each control.

    Raises:
        ProvenanceError: descriptors of different encoders.
    """
    encoder = extraction.embeddings.encoder
    medoids = extraction.embeddings.select(extraction.clusters.medoids.tolist())
    to_photos, to_controls = photos.similarity(medoids), controls.similarity(medoids)
    best_photo = photos.similarity(extraction.embeddings).max(1).values
    best_control = controls.similarity(extraction.embeddings).max(1).values
    return ExtractionEvidence(
        guidance=extraction.guidance.label,
        pilot=extraction.pilot,
        images=len(extraction.images),
        tau=float(extraction.clusters.tau),
        encoder=encoder.name,
        encoder_note=encoder.note,
        copy_threshold=encoder.copy_threshold,
        lenient_threshold=encoder.lenient_threshold,
        extracted=tuple(
            _extracted(extraction, k, to_photos, to_controls) for k in range(len(medoids))
        ),
        average_similarity=average_similarity(to_photos.numpy()),
        control_similarity=average_similarity(to_controls.numpy()),
        success_strict=extraction_success_rate(to_photos.numpy(), encoder.copy_threshold),
        success_lenient=extraction_success_rate(to_photos.numpy(), encoder.lenient_threshold),
        control_success_strict=extraction_success_rate(to_controls.numpy(), encoder.copy_threshold),
        best_of_all=float(best_photo.mean()),
        control_best_of_all=float(best_control.mean()),
        comparison=compare(best_photo.numpy(), best_control.numpy(), spec, clusters=clusters),
        forwards=extraction.forwards,
    )


def _extracted(
    extraction: Extraction, k: int, to_photos: torch.Tensor, to_controls: torch.Tensor
) -> Extracted:
    clusters = extraction.clusters
    source = extraction.images.sources[int(clusters.medoids[k])]
    nearest = int(to_photos[:, k].argmax())
    return Extracted(
        file=source.name,
        sha256=source.sha256,
        seed=source.seed,
        prompt=source.prompt,
        guidance=source.guidance,
        size=int(clusters.sizes[k]),
        intra=float(clusters.intra[k]),
        nearest_photo=nearest,
        similarity=float(to_photos[nearest, k]),
        control_similarity=float(to_controls[:, k].max()),
    )
