import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.sampling.guidance import Branch, cfg, combine, model_guidance
from lora_forensics.core.types import BASE, TUNED

X = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))


def eps(seed):
    return torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_cfg_0_is_unconditional_and_cfg_1_conditional():
    assert cfg(0.0).branches == (Branch(TUNED, False, 1.0),)
    assert cfg(1.0, BASE).branches == (Branch(BASE, True, 1.0),)


def test_cfg_weights_sum_to_one():
    for scale in (-1.0, 0.5, 3.0, 7.5):
        assert sum(b.weight for b in cfg(scale).branches) == pytest.approx(1.0)


def test_model_guidance_1_is_the_tuned_model_and_0_the_base():
    assert model_guidance(1.0).branches == (Branch(TUNED, True, 1.0),)
    assert model_guidance(0.0).branches == (Branch(BASE, False, 1.0),)


def test_same_prompt_asks_the_base_with_the_caption():
    assert [b.conditional for b in model_guidance(2.0, same_prompt=True).branches] == [True, True]


@pytest.mark.parametrize("w", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("k", [0.0, -0.02, 0.3])
def test_published_eps_rule_equals_the_denoised_form(w, k):
    """FineXtract 2.3: ``eps_b + w (eps_t - eps_b) + k eps_b`` for any noise level."""
    sigma, eps_base, eps_tuned = 3.7, eps(1), eps(2)
    rule = model_guidance(w, k)
    by_model = {BASE: X - sigma * eps_base, TUNED: X - sigma * eps_tuned}
    out = combine(X, [by_model[b.model] for b in rule.branches], rule)
    published = eps_base + w * (eps_tuned - eps_base) + k * eps_base
    torch.testing.assert_close((X - out) / sigma, published, atol=2e-5, rtol=1e-5)


def test_v_prediction_mixes_like_denoised_when_weights_sum_to_one():
    sigma, v_base, v_tuned, w = 1.3, eps(3), eps(4), 3.0
    rule = model_guidance(w)
    scale = sigma / (sigma**2 + 1) ** 0.5

    def denoised(v):
        return X / (sigma**2 + 1) - v * scale

    by_model = {BASE: denoised(v_base), TUNED: denoised(v_tuned)}
    out = combine(X, [by_model[b.model] for b in rule.branches], rule)
    torch.testing.assert_close(out, denoised(v_base + w * (v_tuned - v_base)), atol=1e-5, rtol=0)


def test_a_missing_prediction_is_refused():
    with pytest.raises(InputError, match="BAD_GUIDANCE"):
        combine(X, [X], cfg(3.0))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(scale):
    with pytest.raises(InputError, match="BAD_GUIDANCE"):
        cfg(scale)
