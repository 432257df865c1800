"""CLIP from a local file, against open_clip called directly on a tiny random model."""

import json
import sys

import numpy as np
import open_clip
import pytest
import torch
from lora_forensics.core.attack.baselines.zero_shot import zero_shot_scores
from lora_forensics.core.encoders import load_encoder
from lora_forensics.core.encoders.clip import CONFIG, FILE, NO_THRESHOLD, prepare
from lora_forensics.core.errors import InputError, MissingDependencyError, MissingWeightsError
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import to_tensor

CFG = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CLIP(**CFG).eval()


@pytest.fixture(scope="module")
def models(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / FILE)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": CFG}))
    return folder


def pictures(height, width, n=3):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    return [Image.fromarray(s).resize((width, height), Image.Resampling.BICUBIC) for s in small]


def tensors(images):
    return torch.stack([to_tensor(image) for image in images])


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (45, 70), (20, 20)])
def test_features_are_open_clips(network, models, size):
    encoder, images = load_encoder("clip", models), pictures(*size)
    transform = open_clip.image_transform(32, is_train=False)
    x = torch.stack([transform(image) for image in images])
    ours = prepare(tensors(images), 32)
    exact = size == (32, 32)
    assert (ours - x).abs().max() < (1e-6 if exact else 2 / 255 / 0.26)
    with torch.no_grad():
        wanted = network.encode_image(x)
    found = encoder.features(tensors(images))
    assert torch.allclose(found, wanted, atol=1e-5 if exact else 0.02)
    assert torch.allclose(encoder(tensors(images)), torch.nn.functional.normalize(found, dim=1))


def test_true_zero_shot_equals_open_clip_called_directly(network, models):
    encoder, images = load_encoder("clip", models), pictures(32, 32, 6)
    texts = ["a dtu headshot of a man", "a photo of somebody else entirely"]
    tokens = open_clip.SimpleTokenizer(context_length=20)(texts)
    with torch.no_grad():
        x = torch.nn.functional.normalize(network.encode_image(prepare(tensors(images), 32)), dim=1)
        t = torch.nn.functional.normalize(network.encode_text(tokens), dim=1)
        wanted = (network.logit_scale.exp() * x @ t.T).softmax(1)[:, 0]
        assert encoder.scale == pytest.approx(float(network.logit_scale.exp()))
    found = zero_shot_scores(encoder.prompts(texts), encoder(tensors(images)), scale=encoder.scale)
    assert torch.allclose(found.float(), wanted, atol=1e-6)
    assert len(set(found.tolist())) == 6


def test_identity_says_that_it_is_unverified_and_calls_nothing_a_copy(models):
    facts = load_encoder("clip", models).id
    assert (facts.name, facts.dim, facts.copy_threshold) == ("clip", 24, NO_THRESHOLD)
    assert "unverified" in facts.note
    json.dumps([facts.copy_threshold, facts.lenient_threshold], allow_nan=False)


def test_a_missing_package_is_named(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingDependencyError, match="headless"):
        load_encoder("clip", models)
    with pytest.raises(InputError, match=r"BAD_SETTING.*clip"):
        load_encoder("clop", models)


def test_missing_weights_are_named(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(MissingWeightsError, match=r"clip\.safetensors.*ViT-L-14.*unverified"):
            load_encoder("clip", folder)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("No-Such-Model", "WRONG_CONFIG"),
        ({}, "WRONG_CONFIG"),
        ([], "WRONG_CONFIG"),
        ({"model_cfg": {**CFG, "text_cfg": {"hf_model_name": "x"}}}, "WRONG_CONFIG"),
        ({"model_cfg": {**CFG, "vision_cfg": {"timm_model_name": "x"}}}, "WRONG_CONFIG"),
        ({"model_cfg": {**CFG, "embed_dim": 25}}, "WRONG_WEIGHTS"),
        ({"model_cfg": {**CFG, "later": 1}}, "WRONG_WEIGHTS"),
        ("ViT-B-32", "WRONG_WEIGHTS"),
    ],
)
def test_other_configurations_are_refused(models, tmp_path, config, code):
    (tmp_path / FILE).symlink_to(models / FILE)
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match=code):
        load_encoder("clip", tmp_path)
