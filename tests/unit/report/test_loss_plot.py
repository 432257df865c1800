"""The plot of a fine-tuning's losses."""

import io

import numpy as np
import pytest
from lora_forensics.core.report.loss_plot import losses_png, running_mean
from PIL import Image


def test_running_mean_is_numpys():
    values = np.random.default_rng(0).random(30)
    wanted = np.convolve(values, np.ones(7) / 7, mode="valid")
    assert running_mean(values, 7)[6:] == pytest.approx(wanted)
    assert running_mean(values, 7)[2] == pytest.approx(values[:3].mean())


@pytest.mark.parametrize("steps", [1, 5, 5000])
def test_it_draws_any_number_of_steps(steps):
    data = losses_png(np.random.default_rng(1).random(steps).tolist())
    assert Image.open(io.BytesIO(data), formats=("PNG",)).size == (760, 360)


def test_nothing_finite_is_nothing():
    assert losses_png([]) is None
    assert losses_png([float("nan")]) is None
