"""The number of photos that a test needs is the one that gives it its power."""

import math

import numpy as np
import pytest
from lora_forensics.core.errors import InputError
from lora_forensics.core.statistics.sample_size import photos_needed


def test_more_power_and_better_scores_change_the_number_of_photos():
    assert photos_needed(0.6, 0.001) > photos_needed(0.6, 0.01) > photos_needed(0.65, 0.01)
    assert photos_needed(0.6, power=0.9) > photos_needed(0.6)
    for bad in (0.5, 0.4, 1.0):
        with pytest.raises(InputError, match="OUT_OF_RANGE"):
            photos_needed(bad)


def test_photos_needed_reaches_its_power():
    rng, n = np.random.default_rng(0), photos_needed(0.7)
    shift = math.sqrt(2) * 0.5244005
    means = rng.normal(shift, 1, (4000, n)).mean(axis=1) * math.sqrt(n)
    assert (means > 2.326348).mean() == pytest.approx(0.8, abs=0.025)
