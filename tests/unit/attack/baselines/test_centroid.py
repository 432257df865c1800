import numpy as np
import pytest
import torch
from lora_forensics.core.attack.baselines.centroid import centroid_scores
from lora_forensics.core.errors import InputError
from sklearn.metrics.pairwise import cosine_similarity


def rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_equals_a_naive_computation_and_sklearn():
    generated, queries = rows(7, 12, 0) * torch.arange(1, 8)[:, None], rows(5, 12, 1)
    scores = centroid_scores(generated, queries)
    assert (scores.dtype, scores.shape) == (torch.float64, (5,))
    mean = [sum(float(v) for v in column) / 7 for column in generated.T]
    for score, q in zip(scores, queries.double().tolist(), strict=True):
        dot = sum(a * b for a, b in zip(q, mean, strict=True))
        naive = dot / (sum(a * a for a in q) ** 0.5 * sum(b * b for b in mean) ** 0.5)
        assert float(score) == pytest.approx(naive, abs=1e-12)
    centre = generated.double().mean(0, keepdim=True)
    assert np.allclose(scores, cosine_similarity(queries.double(), centre)[:, 0], atol=1e-12)


def test_length_of_a_query_does_not_matter_and_cosines_stay_in_range():
    generated, queries = rows(4, 6, 2), rows(9, 6, 3)
    assert torch.allclose(
        centroid_scores(generated, queries * 50), centroid_scores(generated, queries)
    )
    same = centroid_scores(generated[:1].repeat(3, 1), torch.cat([generated[:1], -generated[:1]]))
    assert same.abs().max() <= 1
    assert same.tolist() == pytest.approx([1, -1])
    assert centroid_scores(generated, queries[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("generated", "queries", "code"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), "BAD_SHAPE"),
        (torch.ones(3), torch.ones(2, 3), "BAD_SHAPE"),
        (torch.ones(0, 3), torch.ones(2, 3), "BAD_SHAPE"),
        (torch.ones(2, 3), torch.full((1, 3), torch.nan), "NON_FINITE"),
        (torch.full((2, 3), torch.inf), torch.ones(1, 3), "NON_FINITE"),
        (torch.ones(2, 3), torch.zeros(1, 3), "OUT_OF_RANGE"),
        (torch.tensor([[1.0], [-1.0]]), torch.ones(1, 1), "OUT_OF_RANGE"),
    ],
)
def test_what_has_no_direction_is_refused(generated, queries, code):
    with pytest.raises(InputError, match=code):
        centroid_scores(generated, queries)
