"""Operator formulas against loops written out by hand."""

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.lora.building import build_operator
from lora_forensics.core.lora.operators import LowRank, Magnitude, delta, fits, is_zero, rank
from lora_forensics.core.lora.spectra import block_energy, singular_values, spectrum


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def loha(**extra):
    parts = {
        "hada_w1_a": random(6, 2),
        "hada_w1_b": random(2, 4),
        "hada_w2_a": random(6, 2, seed=9),
    }
    return parts | {"hada_w2_b": random(2, 4, seed=9), "alpha": torch.tensor(1.0)} | extra


def test_loha_entry_by_entry():
    parts = loha()
    ours = delta(build_operator("m", parts), torch.zeros(6, 4))
    for i in range(6):
        for j in range(4):
            left = sum(parts["hada_w1_a"][i, k] * parts["hada_w1_b"][k, j] for k in range(2))
            right = sum(parts["hada_w2_a"][i, k] * parts["hada_w2_b"][k, j] for k in range(2))
            assert ours[i, j].item() == pytest.approx(0.5 * float(left * right), rel=1e-5)


def test_tucker_loha_entry_by_entry():
    parts = {f"hada_w{n}_a": random(2, 6, seed=n) for n in (1, 2)}
    parts |= {f"hada_w{n}_b": random(2, 4, seed=n) for n in (1, 2)}
    parts |= {f"hada_t{n}": random(2, 2, 3, 3, seed=n) for n in (1, 2)}
    ours = delta(build_operator("m", parts), torch.zeros(6, 4, 3, 3))

    def factor(n, o, i, x, y):
        t, a, b = (parts[f"hada_{s}"] for s in (f"t{n}", f"w{n}_a", f"w{n}_b"))
        return sum(t[r, s, x, y] * a[r, o] * b[s, i] for r in range(2) for s in range(2))

    for o, i, x, y in [(0, 0, 0, 0), (5, 3, 2, 1), (2, 1, 0, 2)]:
        expected = float(factor(1, o, i, x, y) * factor(2, o, i, x, y))
        assert ours[o, i, x, y].item() == pytest.approx(expected, rel=1e-5)


def test_whole_lokr_ignores_alpha():
    parts = {"lokr_w1": random(3, 2), "lokr_w2": random(2, 2), "alpha": torch.tensor(1e10)}
    ours = delta(build_operator("m", parts), torch.zeros(6, 4))
    assert torch.equal(ours[2:4, 2:4], parts["lokr_w1"][1, 1] * parts["lokr_w2"])


@pytest.mark.parametrize("halves", ["1", "2", "12"])
def test_lokr_products_scale_by_their_rank(halves):
    whole = {"lokr_w1": random(3, 2), "lokr_w2": random(2, 2, seed=5)}
    parts, factors = dict(whole), dict(whole)
    for n in halves:
        rows, columns = parts.pop(f"lokr_w{n}").shape
        parts |= {f"lokr_w{n}_a": random(rows, 4), f"lokr_w{n}_b": random(4, columns)}
        factors[f"lokr_w{n}"] = parts[f"lokr_w{n}_a"] @ parts[f"lokr_w{n}_b"]
    ours = delta(build_operator("m", parts | {"alpha": torch.tensor(2.0)}), torch.zeros(6, 4))
    expected = 0.5 * torch.kron(factors["lokr_w1"], factors["lokr_w2"])
    torch.testing.assert_close(ours, expected)


def lycoris_dora(merged, values, on_output):
    """LyCORIS apply_weight_decompose, written out."""
    flat = merged.flatten(1) if on_output else merged.transpose(0, 1).flatten(1)
    norm = flat.norm(dim=1) + torch.finfo(torch.float32).eps
    shape = [-1, *[1] * (merged.ndim - 1)] if on_output else [1, -1, *[1] * (merged.ndim - 2)]
    return merged * (values / norm.reshape(shape))


@pytest.mark.parametrize("on_output", [True, False])
@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_dora_axis_follows_the_stored_shape(on_output, kernel):
    weight = random(6, 4, *kernel)
    ones = [1] * len(kernel)
    values = torch.rand(*((6, 1) if on_output else (1, 4)), *ones) + 0.5
    parts = {"down": random(2, 4, *kernel), "up": random(6, 2, *ones), "dora_scale": values}
    ours = delta(build_operator("m", parts), weight)
    plain = delta(build_operator("m", {k: parts[k] for k in ("down", "up")}), weight)
    expected = lycoris_dora(weight + plain, values, on_output) - weight
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_dora_on_a_square_weight_keeps_the_stated_axis():
    weight, change = random(4, 4), {"down": random(2, 4), "up": random(4, 2)}
    values = torch.rand(4) + 0.5
    by_row = delta(build_operator("m", change | {"dora_scale": values[:, None]}), weight)
    by_column = delta(build_operator("m", change | {"dora_scale": values[None]}), weight)
    by_peft = delta(build_operator("m", change | {"magnitude": values}), weight)
    assert torch.equal(by_row, by_peft)
    torch.testing.assert_close((weight + by_row).norm(dim=1), values)
    torch.testing.assert_close((weight + by_column).norm(dim=0), values)


def test_dora_norms_that_fit_no_axis():
    parts = {"down": random(2, 4), "up": random(6, 2), "dora_scale": torch.ones(5, 1)}
    with pytest.raises(InputError, match="DoRA norms"):
        delta(build_operator("m", parts), random(6, 4))


def test_delta_refuses_another_shape():
    operator = build_operator("m", {"down": random(2, 4), "up": random(6, 2)})
    with pytest.raises(InputError, match=r"\[6, 4\], the weight is \[4, 6\]"):
        delta(operator, torch.zeros(4, 6))


@pytest.mark.parametrize(
    ("given", "expected", "answer"),
    [
        ((6, 4), (6, 4), True),
        ((6, 4), (6, 4, 1, 1), True),
        ((6, 4, 1, 1), (6, 4), True),
        ((6, 36), (6, 4, 3, 3), True),
        ((6, 4, 1, 9), (6, 4, 3, 3), False),
        ((6, 4), (4, 6), False),
        ((6,), (6, 1), False),
        ((), (6, 4), True),
    ],
)
def test_fits(given, expected, answer):
    assert fits(given, expected) is answer


def test_zero_and_rank():
    down, up = random(2, 4), random(6, 2)
    assert is_zero(LowRank(down, up * 0, None, 1.0))
    assert is_zero(LowRank(down, up, None, 0.0))
    assert not is_zero(LowRank(down, up, None, 1.0))
    assert not is_zero(LowRank(down, up * 0, None, 1.0, Magnitude(torch.ones(6))))
    assert rank(LowRank(down, up, None, 1.0)) == 2


OPERATORS = {
    "linear": {"down": random(3, 20), "up": random(12, 3), "alpha": torch.tensor(-2.0)},
    "conv": {"down": random(3, 4, 3, 3), "up": random(12, 3, 1, 1)},
    "wide": {"down": random(30, 20), "up": random(12, 30)},
    "tucker": {"down": random(3, 4, 1, 1), "up": random(12, 3, 1, 1), "mid": random(3, 3, 3, 3)},
    "loha": loha(),
    "thin loha": {
        "hada_w1_a": random(12, 2),
        "hada_w1_b": random(2, 20),
        "hada_w2_a": random(12, 2, seed=3),
        "hada_w2_b": random(2, 20, seed=3),
    },
    "lokr": {"lokr_w1": random(3, 2), "lokr_w2": random(4, 5)},
    "conv lokr": {"lokr_w1": random(3, 2), "lokr_w2": random(4, 5, 3, 3)},
    "full": {"diff": random(7, 5)},
    "norm": {"diff": random(7)},
}


@pytest.mark.parametrize("parts", OPERATORS.values(), ids=OPERATORS)
def test_spectra_equal_the_dense_svd(parts):
    from lora_forensics.core.lora.operators import additive

    operator = build_operator("m", parts)
    dense = additive(operator).double()
    dense = dense.flatten(1) if dense.ndim > 1 else dense[None]
    expected = torch.linalg.svdvals(dense)
    ours = singular_values(operator)
    size = min(len(ours), len(expected))
    torch.testing.assert_close(ours[:size], expected[:size], rtol=1e-5, atol=1e-6)
    item = spectrum("unet", "down_blocks.0.x", operator)
    assert item.frobenius == pytest.approx(float(dense.norm()), rel=1e-5)
    assert 1 <= item.stable_rank <= len(ours) + 1e-9
    assert 1 <= item.effective_rank <= len(ours) + 1e-9


def test_energy_shares_by_block():
    one = build_operator("m", {"diff": torch.eye(3)})
    two = build_operator("m", {"diff": torch.eye(3) * 2})
    items = [
        spectrum("unet", "down_blocks.1.a", one),
        spectrum("unet", "mid_block_b", two),
        spectrum("text_encoder", "text_model_encoder_layers_0_x", one),
    ]
    shares = {(b.component, b.block): b.share for b in block_energy(items)}
    assert shares == pytest.approx(
        {
            ("unet", "down_blocks.1"): 1 / 6,
            ("unet", "mid_block"): 4 / 6,
            ("text_encoder", "layers_0"): 1 / 6,
        }
    )
