import pytest
import torch
from lora_forensics.core.backends.noise import noise_like
from lora_forensics.core.lora.operators import Full, LowRank, delta


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(12, 8), (12, 8, 3, 3)])
def test_noise_keeps_rank_and_norm(shape):
    weight = torch.randn(shape, generator=generator())
    tail = (1,) * (len(shape) - 2)
    op = LowRank(torch.randn(4, *shape[1:]), torch.randn(12, 4, *tail), None, 0.5)
    null = noise_like(op, weight, generator(1))
    ours, theirs = delta(null, weight), delta(op, weight)
    assert ours.shape == weight.shape
    assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=1e-5)
    assert torch.linalg.matrix_rank(ours.flatten(1), rtol=1e-4) == 4
    cosine = (ours * theirs).sum() / ours.norm() / theirs.norm()
    assert abs(float(cosine)) < 0.3


def test_dense_changes_get_dense_noise():
    weight = torch.randn(6, 5, generator=generator())
    op = Full(torch.full((6, 5), 0.1), None)
    null = noise_like(op, weight, generator(2))
    assert float(delta(null, weight).norm()) == pytest.approx(0.1 * 30**0.5, rel=1e-5)
    assert torch.linalg.matrix_rank(delta(null, weight).double()) == 5


def test_another_seed_is_another_null():
    weight = torch.randn(6, 5)
    op = LowRank(torch.randn(2, 5), torch.randn(6, 2), None, 1.0)
    a, b = (delta(noise_like(op, weight, generator(s)), weight) for s in (1, 2))
    assert not torch.allclose(a, b)
