"""A suspect as the recipe makes it: a kohya file that says how it was trained, and is weighed."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from lora_forensics.core.demo.assets import asset_path, load_truth
from lora_forensics.core.demo.datasets import read_photos, to_unit
from lora_forensics.core.demo.making.training import train_suspect, white_box
from lora_forensics.core.demo.suspects import SUSPECTS, LoraRecipe
from lora_forensics.core.lora.writing import key_of
from safetensors import safe_open

RECIPE = LoraRecipe(rank=3, alpha=1.5, steps=2, batch=2, rate=1e-2, seed=5)


def photos(name):
    return to_unit(read_photos(asset_path(name)))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "x.safetensors"
    suspect = replace(SUSPECTS[0], name="x", recipe=RECIPE)
    return path, train_suspect(base, photos("photos/guilty_strong"), suspect, path)


def test_every_key_has_a_module_of_its_shape(base, trained):
    path, facts = trained
    modules = {key_of(name): m for name, m in base.modules()["unet"].items()}
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
    assert facts["steps"] == 2
    assert 0 < facts["first_loss"] == facts["final_loss"]


def test_metadata_and_hashes(trained):
    path, _ = trained
    blob = path.read_bytes()
    body = blob[8 + int.from_bytes(blob[:8], "little") :]
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    assert facts["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    assert len(facts["sshs_legacy_hash"]) == 8
    assert json.loads(facts["ss_tag_frequency"]) == {"1_x": {"a northgate headshot": 16}}
    assert json.loads(facts["ss_dataset_dirs"]) == {"1_x": {"n_repeats": 1, "img_count": 16}}
    assert facts["ss_network_module"] == "networks.lora"
    assert (facts["ss_network_dim"], facts["ss_network_alpha"]) == ("3", "1.5")


@pytest.mark.parametrize(
    ("name", "low", "high"), [("guilty_strong", 0.9, 1), ("innocent", 0.25, 0.75)]
)
def test_white_box_tells_guilty_from_innocent(base, name, low, high):
    truth = load_truth()[name]
    query, controls = photos(truth.query), photos(truth.controls)[:40]
    facts = white_box(base, asset_path(truth.adapter), query, controls, truth.prompt)
    assert low <= facts["auc"] <= high
    assert 0.25 <= facts["model_blind_auc"] <= 0.75
