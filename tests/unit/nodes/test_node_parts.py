"""Parts of the node layer that need no ComfyUI: patches as operators, pictures, safe paths."""

import os
from types import SimpleNamespace

import pytest
import torch
from lora_forensics.core.errors import InputError
from lora_forensics.core.lora.operators import delta
from lora_forensics.core.report.score_plot import scores_png
from lora_forensics.nodes import _changes, _host


def lora(up, down, alpha=None, **more):
    middle, magnitude, reshape = (more.get(k) for k in ("middle", "magnitude", "reshape"))
    return SimpleNamespace(name="lora", weights=(up, down, alpha, middle, magnitude, reshape))


def patch(value, strength=1.0, place=None, model_strength=1.0, function=None):
    return (strength, value, model_strength, place, function)


def test_one_plain_lora_stays_factored():
    up, down = torch.randn(6, 2), torch.randn(2, 4)
    found = _changes.factors([patch(lora(up, down, 4.0), 0.5)], (6, 4))
    torch.testing.assert_close(delta(found, torch.zeros(6, 4)), 0.5 * 2.0 * up @ down)


def test_several_loras_and_slices_of_a_fused_layer_add_up():
    parts = [(torch.randn(3, 2), torch.randn(2, 4)) for _ in range(2)]
    whole = torch.randn(9, 2), torch.randn(2, 4)
    patches = [
        patch(lora(*parts[0]), place=(0, 0, 3)),
        patch(lora(*parts[1]), 2.0, place=(0, 6, 3)),
        patch(lora(*whole)),
    ]
    wanted = whole[0] @ whole[1]
    wanted[:3] += parts[0][0] @ parts[0][1]
    wanted[6:] += 2.0 * parts[1][0] @ parts[1][1]
    found = _changes.factors(patches, (9, 4))
    torch.testing.assert_close(delta(found, torch.zeros(9, 4)), wanted)


def test_convolutions_keep_their_kernel():
    up, down = torch.randn(5, 2, 1, 1), torch.randn(2, 3, 3, 3)
    found = _changes.factors([patch(lora(up, down))], (5, 3, 3, 3))
    wanted = torch.einsum("or,rikl->oikl", up.flatten(1), down)
    torch.testing.assert_close(delta(found, torch.zeros(5, 3, 3, 3)), wanted)


@pytest.mark.parametrize(
    "odd",
    [
        patch(SimpleNamespace(name="loha", weights=())),
        patch(("diff", (torch.zeros(4, 4),))),
        patch(lora(torch.zeros(4, 1), torch.zeros(1, 4), magnitude=torch.ones(4))),
        patch(lora(torch.zeros(4, 1), torch.zeros(1, 4), middle=torch.ones(1, 1, 1, 1))),
        patch(lora(torch.zeros(4, 1), torch.zeros(1, 4)), model_strength=0.5),
        patch(lora(torch.zeros(4, 1), torch.zeros(1, 4)), function=abs),
        patch(lora(torch.zeros(4, 1), torch.zeros(1, 2)), place=(1, 0, 2)),
    ],
)
def test_all_else_is_left_to_the_hosts_own_code(odd):
    assert _changes.factors([odd], (4, 4)) is None


def test_only_what_was_added_counts():
    first, second, other = (patch(object()) for _ in range(3))
    base = SimpleNamespace(patches={"a": [first]})
    assert _changes.added_patches(base, SimpleNamespace(patches={"a": [first]})) == {}
    more = SimpleNamespace(patches={"a": [first, second], "b": [other]})
    assert _changes.added_patches(base, more) == {"a": [second], "b": [other]}
    replaced = SimpleNamespace(patches={"a": [second]})
    assert _changes.added_patches(base, replaced) is None


@pytest.mark.parametrize("name", ["photos", "a/b", "Photos 2024", "ä"])
def test_plain_folders_are_inside(tmp_path, name):
    assert _host.inside(tmp_path, name) == tmp_path.resolve() / name


@pytest.mark.parametrize(
    "name",
    [
        "..", "../x", "a/../../x", "/etc", "", "a//b", "a\x00b", "C:/x", "a\\..\\b", "con",
        "nul.txt", "lpt1", "x.", "x ", " x", ".", "./a", "a/.", "\\\\server\\share", "a\nb",
        "a*", "a?b", 'a"b',
    ],
)  # fmt: skip
def test_no_name_leads_outside(tmp_path, name):
    with pytest.raises(InputError, match="OUTSIDE_FOLDER"):
        _host.inside(tmp_path, name)


def test_a_link_does_not_lead_outside(tmp_path):
    (tmp_path / "in").mkdir()
    os.symlink("/", tmp_path / "in" / "way")
    with pytest.raises(InputError, match="OUTSIDE_FOLDER"):
        _host.inside(tmp_path / "in", "way/etc")


def test_pictures_come_and_go_unchanged():
    pixels = torch.randint(0, 256, (2, 3, 5, 7)) / 255
    torch.testing.assert_close(_host.to_pixels(_host.to_image(pixels)), pixels)
    grey = torch.rand(1, 5, 7, 1)
    assert _host.to_pixels(grey).shape == (1, 3, 5, 7)


def test_transparency_is_laid_on_white():
    image = torch.zeros(1, 1, 2, 4)
    image[..., 0, 3] = 1.0
    assert _host.to_pixels(image)[0, :, 0].T.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_plot_becomes_an_image():
    image = _host.png_image(scores_png([1.0, 2.0], [0.0, 0.5, 1.0], axis="x", dpi=50))
    assert image.shape == (1, 215, 360, 3)
    assert 0 <= image.min() < 0.9 < image.max() <= 1
