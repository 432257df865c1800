"""Every statistic names what is wrong with its input."""

import math

import numpy as np
import pytest
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.statistics.auc import auc, delong
from lora_forensics.core.statistics.auc_bootstrap import bootstrap_auc
from lora_forensics.core.statistics.holm import holm
from lora_forensics.core.statistics.intervals import (
    bootstrap_ci,
    clopper_pearson,
    mean_seed_interval,
)
from lora_forensics.core.statistics.permutation import permutation_test
from lora_forensics.core.statistics.ranks import conformal_p
from lora_forensics.core.statistics.sample_size import photos_needed
from lora_forensics.core.statistics.similarity import average_similarity, extraction_success_rate
from lora_forensics.core.statistics.tpr_at_fpr import tpr_at_fpr

TWO_SAMPLES = [auc, delong, bootstrap_auc, tpr_at_fpr, conformal_p, permutation_test]


BAD = [([], "EMPTY_INPUT"), ([1.0, math.nan], "NON_FINITE"), ([math.inf], "NON_FINITE"),
       ([[1.0]], "WRONG_SHAPE"), (["a"], "NOT_NUMERIC")]  # fmt: skip


@pytest.mark.parametrize("function", TWO_SAMPLES)
@pytest.mark.parametrize(("bad", "code"), BAD)
def test_bad_samples_are_named(function, bad, code):
    for arguments in ((bad, [1.0, 2.0]), ([1.0, 2.0], bad)):
        with pytest.raises(InputError, match=code) as caught:
            function(*arguments)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(3, 2),
        lambda: clopper_pearson(0, 0),
        lambda: clopper_pearson(1, 2, side="left"),
        lambda: clopper_pearson(1, 2, 1.0),
        lambda: delong([1.0], [0.0], 95),
        lambda: tpr_at_fpr([1.0], [0.0], 0.0),
        lambda: holm([1.2]),
        lambda: permutation_test([1.0], [0.0], "median"),
        lambda: permutation_test([1.0], [0.0], permutations=0),
        lambda: extraction_success_rate([[0.1]], 2.0),
        lambda: photos_needed(0.6, control_ratio=0),
    ],
)
def test_settings_out_of_range_are_named(call):
    with pytest.raises(InputError, match="OUT_OF_RANGE"):
        call()


def test_clusters_are_checked():
    with pytest.raises(InputError, match="WRONG_SHAPE"):
        permutation_test([1.0, 2.0], [0.0], clusters=[1, 2])
    with pytest.raises(InputError, match="MIXED_CLUSTER"):
        permutation_test([1.0, 2.0], [0.0], clusters=["a", "b", "a"])
    with pytest.raises(NotEnoughDataError, match="FEW_CLUSTERS"):
        bootstrap_auc([1.0, 2.0], [0.0, 3.0], clusters=[1, 1, 2, 3])
    with pytest.raises(NotEnoughDataError, match="FEW_CLUSTERS"):
        bootstrap_ci([1.0])
    with pytest.raises(NotEnoughDataError, match="FEW_SEEDS"):
        mean_seed_interval([1.0])


@pytest.mark.parametrize("function", [average_similarity, extraction_success_rate])
def test_similarity_of_nothing_is_named_and_of_itself_is_one(function):
    assert function(np.eye(4)) == 1
    with pytest.raises(InputError, match="EMPTY_INPUT"):
        function(np.empty((3, 0)))
    with pytest.raises(InputError, match="WRONG_SHAPE"):
        function([1.0])
