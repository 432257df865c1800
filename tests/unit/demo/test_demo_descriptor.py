"""The embedded copy descriptor: unit length, near for copies, far for strangers."""

import hashlib
import math

import numpy as np
import pytest
import torch
from lora_forensics.core.demo.assets import asset_path
from lora_forensics.core.demo.datasets import jpeg_round_trip, to_unit
from lora_forensics.core.demo.faces import draw_faces
from lora_forensics.core.demo.making.augmentation import copies, textures
from lora_forensics.core.demo.making.descriptor import contrast_loss
from lora_forensics.core.encoders.tiny import TinyDescriptor, load_tiny
from lora_forensics.core.errors import MissingWeightsError


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


def test_missing_weights_name_the_way_out(tmp_path):
    with pytest.raises(MissingWeightsError, match="demo recipe"):
        load_tiny(tmp_path / "no.safetensors")


def test_identity_of_the_encoder(tiny):
    assert tiny.name == "tiny-copy"
    digest = hashlib.sha256(asset_path("descriptor.safetensors").read_bytes()).hexdigest()
    assert tiny.sha256 == digest
    assert 0 < tiny.lenient_threshold < tiny.copy_threshold < 1
    assert not any(p.requires_grad for p in tiny.parameters())


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (90, 70), (32, 32)])
def test_unit_length_at_any_size(tiny, size):
    out = tiny(torch.rand(3, 3, *size))
    assert out.shape == (3, tiny.dim)
    assert out.dtype == torch.float32
    assert torch.allclose(out.norm(dim=1), torch.ones(3), atol=1e-5)


def test_batch_does_not_matter(tiny):
    pixels = to_unit(draw_faces(6, "generic", 70).pixels)
    together = tiny(pixels)
    apart = torch.cat([tiny(p[None]) for p in pixels])
    assert torch.allclose(together, apart, atol=1e-5)


@pytest.mark.parametrize("domain", ["northgate", "southfield"])
def test_jpeg_copies_are_found_and_strangers_are_not(tiny, domain):
    pixels = draw_faces(120, domain, 777).pixels
    real = tiny(to_unit(pixels))
    copied = tiny(to_unit(np.stack([jpeg_round_trip(p, 75) for p in pixels])))
    near = real @ copied.T
    assert near.diagonal().min() > tiny.copy_threshold
    strangers = (real @ real.T)[torch.triu_indices(120, 120, 1).unbind()]
    assert (strangers > tiny.copy_threshold).float().mean() < 0.004
    assert (strangers > tiny.lenient_threshold).float().mean() < 0.03


def test_altered_copies_rank_first(tiny):
    pixels = to_unit(draw_faces(150, "northgate", 778).pixels)
    near = tiny(pixels) @ tiny(copies(pixels, 5)).T
    first = (near.argmax(0) == torch.arange(150)).float().mean()
    assert first > 0.95


def test_textures_are_not_one_point(tiny):
    near = tiny(to_unit(textures(60, 99)))
    near = near @ near.T
    assert near[torch.triu_indices(60, 60, 1).unbind()].median() < tiny.copy_threshold


def test_contrast_loss_prefers_copies():
    torch.manual_seed(0)
    one = torch.nn.functional.normalize(torch.randn(16, 32), dim=1)
    other = torch.nn.functional.normalize(torch.randn(16, 32), dim=1)
    assert contrast_loss(one, one, 0.0) < contrast_loss(one, other, 0.0)


def test_untrained_has_no_threshold():
    assert math.isnan(TinyDescriptor().copy_threshold)
