"""Adapters in kohya form: names, shapes, hashes, and the same function after a round trip."""

import hashlib
import json

import pytest
import torch
from lora_forensics.core.demo.making.diffusion import build_unet
from lora_forensics.core.demo.making.kohya import (
    TrainingClaims,
    adaptable_modules,
    key_of,
    merge_adapter,
    save_adapter,
)
from lora_forensics.core.demo.making.training import add_adapter, fit_adapter
from lora_forensics.core.demo.suspects import LoraRecipe
from safetensors import safe_open

RECIPE = LoraRecipe(rank=3, alpha=1.5, steps=2, batch=2, rate=1e-2, seed=5)
CLAIMS = TrainingClaims(
    output_name="x",
    prompt="a northgate headshot",
    concept="northgate headshot",
    n_images=16,
    repeats=20,
    steps=2,
    batch=2,
    rate=1e-2,
    seed=5,
    rank=3,
    alpha=1.5,
    started_at=1.0,
    finished_at=2.0,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    plain = build_unet().eval()
    unet = build_unet().eval()
    unet.load_state_dict(plain.state_dict())
    add_adapter(unet, RECIPE)
    losses = fit_adapter(unet, torch.randn(4, 16, 8, 8), torch.randn(1, 20, 64), RECIPE)
    path = tmp_path_factory.mktemp("adapter") / "x.safetensors"
    save_adapter(unet, CLAIMS, path)
    return plain, unet, path, losses


def test_names_follow_sd_scripts():
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
    expected = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    assert key_of(name) == expected


def test_every_key_has_a_module_of_its_shape(trained):
    plain, _, path, losses = trained
    assert len(losses) == 2
    modules = adaptable_modules(plain)
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        names = {k.split(".")[0] for k in keys}
        assert len(keys) == 3 * len(names)
        assert names <= set(modules)
        assert any("time_emb_proj" in n for n in names)
        for name in names:
            down, up = (file.get_tensor(f"{name}.lora_{s}.weight") for s in ("down", "up"))
            weight = modules[name].weight
            assert down.dtype == torch.float16
            assert down.shape == (3, *weight.shape[1:])
            assert up.shape == (weight.shape[0], 3, *[1] * (weight.dim() - 2))
            assert float(file.get_tensor(f"{name}.alpha")) == 1.5


def test_merged_file_is_the_trained_model(trained):
    plain, unet, path, _ = trained
    x, text = torch.randn(2, 16, 8, 8), torch.randn(2, 20, 64)
    t = torch.tensor([10, 500])
    with torch.no_grad():
        before, wanted = plain(x, t, text).sample, unet(x, t, text).sample
        merge_adapter(plain, path)
        after = plain(x, t, text).sample
    assert (wanted - before).abs().max() > 1e-2
    assert (after - wanted).abs().max() < 2e-3


def test_metadata_and_hashes(trained):
    path = trained[2]
    blob = path.read_bytes()
    body = blob[8 + int.from_bytes(blob[:8], "little") :]
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    assert facts["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    assert len(facts["sshs_legacy_hash"]) == 8
    assert json.loads(facts["ss_tag_frequency"]) == {
        "20_northgate headshot": {"a northgate headshot": 16}
    }
    assert json.loads(facts["ss_dataset_dirs"]) == {
        "20_northgate headshot": {"n_repeats": 20, "img_count": 16}
    }
    assert facts["ss_network_module"] == "networks.lora"
    assert (facts["ss_network_dim"], facts["ss_network_alpha"]) == ("3", "1.5")
