"""Overlap figures against scikit-learn and torchmetrics' definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics.overlap import (
    baselines,
    best_f1,
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
    found, flat = soft > 0.5, (mask.ravel(), (soft > 0.5).ravel())
    figures = overlap(soft, mask)
    assert figures.pbca == pytest.approx(accuracy_score(*flat))
    assert figures.iou == pytest.approx(jaccard_score(*flat, zero_division=1.0))
    assert figures.f1 == pytest.approx(f1_score(*flat, zero_division=1.0))
    assert figures.area == pytest.approx(mask.mean())
    if mask.any():
        assert figures.pixel_ap == pytest.approx(
            average_precision_score(mask.ravel(), soft.ravel())
        )
    assert iou(found, mask) == figures.iou


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


def test_image_ap_draws_equal_classes():
    rng = np.random.default_rng(2)
    fake, real = rng.normal(0, 1, 300), rng.normal(0, 1, 20)
    mean, spread = image_ap(fake, real)
    assert 0.3 < mean < 0.7
    assert spread > 0
    assert image_ap(fake, real) == (mean, spread)


def test_best_f1_is_a_ceiling():
    rng = np.random.default_rng(3)
    masks = [rng.random((6, 6)) < 0.3 for _ in range(4)]
    soft = [np.where(m, 0.4, 0.1) for m in masks]
    assert best_f1(soft, masks) == (1.0, 0.1)
    assert overlap(soft[0], masks[0]).f1 == 0.0


def test_bad_input_is_named():
    with pytest.raises(InputError, match="BAD_SHAPE"):
        overlap(np.zeros((2, 2)), np.zeros((3, 2), bool))
    with pytest.raises(InputError, match="NON_FINITE"):
        overlap(np.full((2, 2), np.nan), np.zeros((2, 2), bool))
    with pytest.raises(NotEnoughDataError, match="NO_MASKS"):
        baselines([])
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_IMAGES"):
        image_ap([], [1.0])
