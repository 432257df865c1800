"""Per-row hooks against layers whose weight was changed."""

import copy

import pytest
import torch
from lora_forensics.core.backends.rows import AdaptedNetwork, RowAdapter, TwoNetworks
from lora_forensics.core.errors import InputError, LoraFormatError, RunError
from lora_forensics.core.lora.operators import Full, Hadamard, Kronecker, LowRank, Magnitude, delta
from torch import nn

STRENGTH = torch.tensor([0.0, 1.0, -0.5, 0.0, 2.0])


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def conv(**more):
    return nn.Conv2d(6, 8, 3, **({"padding": 1} | more))


def case(name):
    """Layer, operator and input for each kind of change."""
    image, tokens = randn(5, 6, 9, 9), randn(5, 3, 6)
    low = LowRank(randn(2, 6), randn(8, 2), None, 0.5)
    conv_low = LowRank(randn(2, 6, 3, 3), randn(8, 2, 1, 1), None, 0.5)
    tucker = LowRank(randn(2, 6, 1, 1), randn(8, 2, 1, 1), randn(2, 2, 3, 3), 0.5)
    return {
        "linear": (nn.Linear(6, 8), low, tokens),
        "linear of one token": (nn.Linear(6, 8), low, randn(5, 6)),
        "conv": (conv(), conv_low, image),
        "strided conv": (conv(stride=2), conv_low, image),
        "dilated conv": (conv(dilation=2, padding=2), conv_low, image),
        "same padding": (conv(padding="same"), conv_low, image),
        "tucker conv": (conv(stride=2), tucker, image),
        "1x1 conv, flat factors": (nn.Conv2d(6, 8, 1), low, image),
        "grouped conv": (
            nn.Conv2d(6, 8, 3, groups=2),
            LowRank(randn(2, 3, 3, 3), randn(8, 2, 1, 1), None, 1.0),
            image,
        ),
        "loha": (
            nn.Linear(6, 8),
            Hadamard(
                w1_a=randn(8, 2),
                w1_b=randn(2, 6),
                w2_a=randn(8, 2, seed=1),
                w2_b=randn(2, 6, seed=1),
                t1=None,
                t2=None,
                scale=0.5,
            ),
            tokens,
        ),
        "lokr": (nn.Linear(6, 8), Kronecker(randn(2, 3), randn(4, 2), 0.5), tokens),
        "full": (nn.Linear(6, 8), Full(randn(8, 6), randn(8)), tokens),
        "full conv": (conv(stride=2), Full(randn(8, 6, 3, 3), randn(8)), image),
        "bias alone": (nn.Linear(6, 8), Full(None, randn(8)), tokens),
        "group norm": (nn.GroupNorm(2, 6), Full(randn(6), randn(6, seed=1)), image),
        "layer norm": (nn.LayerNorm(6), Full(randn(6), None), tokens),
    }[name]


NAMES = ["linear", "linear of one token", "conv", "strided conv", "dilated conv", "same padding",
         "tucker conv", "1x1 conv, flat factors", "grouped conv", "loha", "lokr", "full",
         "full conv", "bias alone", "group norm", "layer norm"]  # fmt: skip


def changed(layer, op, strength):
    """A copy of the layer whose weight was moved by ``strength * delta``."""
    other = copy.deepcopy(layer)
    if not isinstance(op, Full) or op.weight is not None:
        other.weight.data += strength * delta(op, layer.weight.data)
    if isinstance(op, Full) and op.bias is not None:
        other.bias.data += strength * op.bias
    return other


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_each_row_sees_its_own_weights(name):
    layer, op, x = case(name)
    with RowAdapter([(layer, op)]) as adapter, adapter.rows(STRENGTH):
        out = layer(x)
    for i, s in enumerate(STRENGTH.tolist()):
        wanted = changed(layer, op, s)(x[i : i + 1])[0]
        torch.testing.assert_close(out[i], wanted, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_rows_of_strength_zero_are_the_base_bit_for_bit():
    layer, op, x = case("conv")
    base = layer(x)
    with RowAdapter([(layer, op)]) as adapter, adapter.rows(STRENGTH):
        out = layer(x)
        assert torch.equal(out[[0, 3]], base[[0, 3]])
    assert torch.equal(layer(x), base)


@torch.no_grad()
def test_dora_is_exact_at_strength_one():
    layer, op, x = case("linear")
    dora = LowRank(op.down, op.up, None, op.scale, Magnitude(randn(8).abs(), True))
    with RowAdapter([(layer, dora)]) as adapter, adapter.rows(torch.ones(5)):
        out = layer(x)
    torch.testing.assert_close(out, changed(layer, dora, 1.0)(x), atol=1e-5, rtol=1e-5)


def test_closing_restores_the_layer():
    layer, op, x = case("linear")
    adapter = RowAdapter([(layer, op)])
    assert len(layer._forward_hooks) == len(adapter) == 1
    with adapter.rows(torch.ones(5)):
        adapter.close()
        assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert not layer._forward_hooks


@torch.no_grad()
def test_two_adapters_share_a_layer_without_meeting():
    layer, op, x = case("linear")
    one, two = RowAdapter([(layer, op)]), RowAdapter([(layer, Full(randn(8, 6, seed=5), None))])
    with one.rows(torch.ones(5)):
        out = layer(x)
    torch.testing.assert_close(out, changed(layer, op, 1.0)(x), atol=1e-5, rtol=1e-5)
    one.close()
    two.close()


def test_gradients_reach_the_input_through_changed_rows():
    layer, op, x = case("conv")
    x.requires_grad_(True)
    with RowAdapter([(layer, op)]) as adapter, adapter.rows(STRENGTH):
        layer(x).square().sum().backward()
    y = x.detach().clone().requires_grad_(True)
    changed(layer, op, 2.0)(y[4:]).square().sum().backward()
    torch.testing.assert_close(x.grad[4], y.grad[4], atol=1e-3, rtol=1e-4)


def test_a_batch_that_is_not_the_rows_is_refused():
    layer, op, x = case("linear")
    adapter = RowAdapter([(layer, op)])
    with adapter.rows(torch.ones(3)), pytest.raises(RunError, match="BAD_ROWS"):
        layer(x)


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        (nn.Linear(7, 8), "BAD_SHAPE"),
        (nn.Embedding(8, 6), "UNSUPPORTED_LAYER"),
        (nn.Conv2d(6, 8, 1, padding_mode="reflect"), "UNSUPPORTED_LAYER"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer, code):
    with pytest.raises(LoraFormatError, match=code):
        RowAdapter([(layer, case("linear")[1])])


@torch.no_grad()
def test_two_networks_answer_their_rows_in_order():
    pair = TwoNetworks(nn.Linear(6, 8), nn.Linear(6, 8))
    x = randn(4, 6)

    def call(network, rows):
        return (network(rows),)

    for strength in ([0.0, 1.0, 0.0, 1.0], [0.0] * 4, [1.0] * 4):
        out = pair.run(torch.tensor(strength), call, x)[0]
        for i, s in enumerate(strength):
            torch.testing.assert_close(out[i], (pair.tuned if s else pair.base)(x[i]))
    with pytest.raises(InputError, match="BAD_STRENGTH"):
        pair.run(torch.tensor([0.5, 0, 0, 0]), call, x)


@torch.no_grad()
def test_a_network_without_adapter_answers_all_rows_alike():
    network = AdaptedNetwork(nn.Linear(6, 8))
    x = randn(2, 6)
    assert torch.equal(network.run(STRENGTH, lambda n, r: (n(r),), x)[0], network.base(x))
