"""Overlap figures against scikit-learn and torchmetrics' definitions."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics.overlap import (
    baselines,
    f1,
    image_ap,
    iou,
    overlap,
    pbca,
    pixel_ap,
)
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, jaccard_score


@given(seed=st.integers(0, 10_000), area=st.floats(0.05, 0.95))
def test_figures_equal_scikit_learns(seed, area):
    rng = np.random.default_rng(seed)
    mask, soft = rng.random((9, 11)) < area, rng.random((9, 11)).round(1)
    marked, flat = soft > 0.5, (mask.ravel(), (soft > 0.5).ravel())
    figures = overlap(soft, mask)
    assert figures.pbca == pytest.approx(accuracy_score(*flat))
    assert figures.iou == pytest.approx(jaccard_score(*flat, zero_division=1.0))
    assert figures.f1 == pytest.approx(f1_score(*flat, zero_division=1.0))
    assert figures.area == pytest.approx(mask.mean())
    if mask.any():
        called = soft >= np.unique(soft)[::-1, None, None]  # equal scores are one threshold
        hits = (called & mask).sum((1, 2))
        steps = np.diff(hits, prepend=0) * hits / called.sum((1, 2))
        assert figures.pixel_ap == pytest.approx(steps.sum() / mask.sum())
    assert iou(marked, mask) == figures.iou


def test_an_empty_union_is_a_perfect_iou():
    nothing = np.zeros((4, 4), bool)
    assert iou(nothing, nothing) == f1(nothing, nothing) == pbca(nothing, nothing) == 1.0
    assert np.isnan(pixel_ap(np.zeros((4, 4)), nothing))


def test_the_threshold_is_strict():
    mask = np.array([[True, False]])
    assert overlap(np.array([[0.5, 0.5]]), mask).iou == 0.0
    assert overlap(np.array([[0.500001, 0.5]]), mask).iou == 1.0


def test_baselines_follow_from_the_areas():
    rng = np.random.default_rng(0)
    masks = [rng.random((8, 8)) < a for a in (0.1, 0.2, 0.4)]
    area = np.mean([m.mean() for m in masks])
    found = baselines(masks)
    assert found.fake_iou == pytest.approx(area)
    assert found.fake_pbca == pytest.approx(area)
    assert found.real_pbca == pytest.approx(1 - area)
    assert found.real_iou == 0.0


def test_image_ap_of_equal_classes_is_scikit_learns():
    rng = np.random.default_rng(1)
    fake, real = rng.normal(1, 1, 40), rng.normal(0, 1, 40)
    mean, spread = image_ap(fake, real)
    labels = np.repeat([1, 0], 40)
    assert mean == pytest.approx(average_precision_score(labels, np.concatenate([fake, real])))
    assert spread == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("counts", [(300, 20), (20, 300)])
def test_image_ap_draws_as_the_authors_do(counts):
    """Their seed 1337 draws untouched photos before repainted ones; scores have ties."""
    rng = np.random.default_rng(2)
    fake, real = (
        rng.normal(shift, 1, n).round(1) for shift, n in zip((0.5, 0), counts, strict=True)
    )
    stream, each = random.Random(1337), []
    for _ in range(5):
        drawn = [stream.sample(list(scores), 20) for scores in (real, fake)]
        each.append(average_precision_score([0] * 20 + [1] * 20, np.hstack(drawn)))
    assert image_ap(fake, real) == pytest.approx((np.mean(each), 2 * np.std(each)), abs=1e-12)
    assert np.std(each) > 0


def test_bad_input_is_named():
    with pytest.raises(InputError, match="BAD_SHAPE"):
        overlap(np.zeros((2, 2)), np.zeros((3, 2), bool))
    with pytest.raises(InputError, match="NON_FINITE"):
        overlap(np.full((2, 2), np.nan), np.zeros((2, 2), bool))
    with pytest.raises(NotEnoughDataError, match="NO_MASKS"):
        baselines([])
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_IMAGES"):
        image_ap([], [1.0])
