"""Counts, grids and receptive fields of the specification; features equal timm's."""

import pytest
import timm
import torch
from lora_forensics.core.localization.networks import (
    AttentionNetwork,
    ClassifierNetwork,
    FcnNetwork,
    PatchesNetwork,
    build,
    layout,
)
from lora_forensics.core.localization.xception import FIELD, OFFSET, STRIDE, WHOLE, Xception


def weights(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("depth", "channels", "at299", "at256", "count"),
    [
        (1, 128, 74, 63, 54_752),
        (2, 256, 37, 32, 190_816),
        (3, 728, 19, 16, 1_106_760),
        (7, 728, 19, 16, 7_562_664),
        (11, 728, 19, 16, 14_018_568),
        (12, 1024, 10, 8, 16_058_152),
    ],
)
def test_every_depth_has_the_published_grid_and_weights(depth, channels, at299, at256, count):
    body = Xception(depth).eval()
    assert weights(body) == count
    with torch.no_grad():
        for side, grid in ((299, at299), (256, at256)):
            assert body.body(torch.zeros(1, 3, side, side)).shape == (1, channels, grid, grid)


def test_the_networks_have_the_published_weights():
    assert weights(PatchesNetwork()) == 191_330
    assert weights(AttentionNetwork()) == 20_818_330
    assert weights(FcnNetwork().fcn) == 1_193_194
    assert weights(AttentionNetwork().map) == 7_280
    assert weights(ClassifierNetwork()) == weights(AttentionNetwork()) - 7_280


def test_answers_have_the_published_grids():
    x = torch.zeros(1, 3, 299, 299)
    with torch.no_grad():
        patches, attention = PatchesNetwork().eval()(x), AttentionNetwork(0.1).eval()(x)
        full, plain = FcnNetwork(0.1).eval()(x), ClassifierNetwork(0.1).eval()(x)
    assert patches.cells.shape == (1, 37, 37)
    assert patches.image is None
    assert attention.cells.shape == full.cells.shape == (1, 19, 19)
    assert attention.image.shape == plain.image.shape == (1, 2)
    assert plain.cells is None


def test_features_equal_timms_under_timms_own_names():
    torch.manual_seed(0)
    theirs = timm.create_model("legacy_xception", pretrained=False).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    ours = ClassifierNetwork().eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    missing = ours.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["fc.weight", "fc.bias"]
    assert not missing.unexpected_keys
    x = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        wanted = theirs.forward_features(x)
        assert torch.allclose(ours.body(x), wanted, rtol=1e-5, atol=1e-6 * wanted.abs().max())


def test_a_patch_cell_sees_43_pixels_around_its_centre():
    body = Xception(2).eval().double()
    x = torch.randn(1, 3, 299, 299, dtype=torch.double, requires_grad=True)
    cell = 18
    seen = torch.autograd.grad(body.body(x)[0, :, cell, cell].sum(), x)[0].abs().sum((0, 1)) > 0
    rows = seen.any(1).nonzero().flatten()
    centre = STRIDE * cell + OFFSET
    assert rows[-1] - rows[0] + 1 == FIELD
    assert (rows[0], rows[-1]) == (centre - FIELD // 2, centre + FIELD // 2)


def test_attention_multiplies_its_features():
    network = AttentionNetwork(0.1).eval()
    x = torch.randn(1, 3, 75, 75)
    with torch.no_grad():
        before = network(x).image
        network.map.pointwise.weight.zero_()
        halved = network(x).image
    assert not torch.allclose(before, halved)


def test_width_one_is_xception():
    assert weights(Xception(WHOLE, 1.0)) == 20_806_952
    assert weights(build("gradcam", "labels", 0.25)) < weights(build("gradcam", "labels")) / 12
    assert isinstance(build("gradcam", "masks"), FcnNetwork)


@pytest.mark.parametrize("width", [0.1, 0.2, 0.25, 0.5])
@pytest.mark.parametrize("method", ["patches", "attention"])
def test_gradients_do_not_depend_on_the_layout(method, width):
    torch.manual_seed(0)
    laid = build(method, "masks", width)
    plain = build(method, "masks", width).to(memory_format=torch.contiguous_format)
    plain.load_state_dict(laid.state_dict())
    x = torch.randn(2, 3, 147, 147)
    for network in (laid, plain):
        network(x.to(memory_format=layout(width))).cells.square().mean().backward()
    named = dict(plain.named_parameters())
    for name, weight in laid.named_parameters():
        if weight.grad is not None and named[name].grad.abs().max() > 1e-9:
            gap = (weight.grad - named[name].grad).abs().max() / named[name].grad.abs().max()
            assert gap < 2e-3, name
