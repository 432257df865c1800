import numpy as np
import pytest
import torch
from gaussian_pair import GaussianPair
from lora_forensics.core.encoders.embedding import embed
from lora_forensics.core.errors import ProvenanceError
from lora_forensics.core.extraction.line import extract, judge, pilot_score, planned_forwards
from lora_forensics.core.specs import ExtractSpec, VerdictSpec
from lora_forensics.core.types import EncoderId, ImageBatch, Source
from torch.nn import functional as F

SPEC = ExtractSpec(images=12, steps=4, pilot=(1.0, 1.5), pilot_images=4, batch=8)


class PixelEncoder:
    id = EncoderId("pixels", "0", 192, 0.9, 0.8)

    def __call__(self, pixels):
        return F.normalize((pixels - 0.5).flatten(1))


def batch(pixels, kind="photo"):
    return ImageBatch(
        pixels, tuple(Source(kind=kind, sha256=str(i), name=str(i)) for i in range(len(pixels)))
    )


def test_spends_what_was_planned():
    pair = GaussianPair()
    done = extract(pair, PixelEncoder(), ["p"], 3, SPEC)
    assert pair.rows == done.forwards <= planned_forwards(["p"], SPEC)
    assert {p.scale for p in done.pilot} == set(SPEC.pilot)
    assert 1 <= len(done.clusters) <= 3


def test_extraction_finds_the_tuned_mean_and_not_strangers():
    pair = GaussianPair(mean=0.6, spread=0.05)
    done = extract(pair, PixelEncoder(), ["p"], 2, SPEC)
    near = embed(batch(torch.full((2, 3, 8, 8), 0.8)), PixelEncoder())
    far = embed(batch(torch.rand(6, 3, 8, 8), "control"), PixelEncoder())
    found = judge(done, near, far, VerdictSpec())
    assert found.average_similarity > 0.95 > found.control_similarity
    assert found.success_strict == 1.0
    assert found.control_success_strict == 0.0
    assert found.comparison.auc.auc == 1.0
    best = found.extracted[0]
    assert best.file.endswith(".png")
    assert best.guidance == done.guidance.label
    assert best.similarity == pytest.approx(found.average_similarity, abs=0.05)


def test_different_encoders_are_not_compared():
    class Other(PixelEncoder):
        id = EncoderId("other", "1", 192, 0.9, 0.8)

    done = extract(GaussianPair(), PixelEncoder(), ["p"], 1, SPEC)
    photos = embed(batch(torch.rand(2, 3, 8, 8)), Other())
    with pytest.raises(ProvenanceError, match="MIXED_ENCODERS"):
        judge(done, photos, photos, VerdictSpec())


def test_pilot_score_prefers_repeats_to_noise_and_to_collapse():
    rng = np.random.default_rng(0)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    noise = unit(rng.normal(size=(24, 64)))
    collapse = unit(rng.normal(size=(1, 64)) + 0.1 * rng.normal(size=(24, 64)))
    repeats = unit(np.repeat(rng.normal(size=(6, 64)), 4, 0) + 0.1 * rng.normal(size=(24, 64)))
    assert pilot_score(repeats) > max(pilot_score(noise), pilot_score(collapse))
