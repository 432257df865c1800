"""Trained null models: the recipe of a file, the split of controls, adapters that are kept."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny_models
import torch
from lora_forensics.core.backends.loading import pair_of
from lora_forensics.core.casework.placebos import placebo_files, placebo_group
from lora_forensics.core.errors import InputError, NotEnoughDataError
from lora_forensics.core.lora.claims import read_claims
from lora_forensics.core.lora.formats import read_lora
from lora_forensics.core.lora.inspection import inspect_lora
from lora_forensics.core.specs import FinetuneSpec
from lora_forensics.core.storage import open_case
from lora_forensics.core.training import counterfactual as C
from lora_forensics.core.training import retraining
from lora_forensics.core.training.finetune import finetune
from lora_forensics.core.training.trained import save_lora

STATED = {
    "ss_steps": "40",
    "ss_unet_lr": "0.0003",
    "ss_network_alpha": "4",
    "ss_total_batch_size": "2",
    "ss_lr_scheduler": "cosine",
    "ss_flip_aug": "True",
    "ss_caption_dropout_rate": "0.1",
    "ss_dataset_dirs": '{"10_x": {"n_repeats": 10, "img_count": 3}}',
}


def inspection(metadata, ranks, modules=("down.attn1.to_q", "mid.conv1")):
    spectra = [SimpleNamespace(component="unet", module=m) for m in modules]
    return SimpleNamespace(claims=read_claims(metadata), ranks=ranks, spectra=spectra)


def test_recipe_is_what_the_file_states():
    recipe = C.recipe_of(inspection(STATED, {"8": 2}))
    wanted = FinetuneSpec(
        layers="all", steps=40, learning_rate=3e-4, rank=8, alpha=4.0, batch=2, decay="cosine",
        flip=0.5, caption_dropout=0.1,
    )  # fmt: skip
    assert recipe.spec == wanted
    assert recipe.images == 3
    assert recipe.assumed == ()


@pytest.mark.parametrize(
    "modules",
    [
        ["down.attn1.to_q", "mid.attn2.to_out.0"],
        ["down_blocks_0_attn1_to_q", "mid_block_attn2_to_out_0"],
        ["joint_blocks_0_x_block_attn_qkv", "double_blocks_0_img_attn_proj"],
    ],
)
def test_attention_adapters_are_repeated_on_attention(modules):
    assert C.recipe_of(inspection(STATED, {"8": 1}, modules)).spec.layers == "attention"
    mixed = inspection(STATED, {"8": 1}, [*modules, "down_blocks_0_resnets_0_conv1"])
    assert C.recipe_of(mixed).spec.layers == "all"


def test_a_written_file_states_its_layers(tmp_path):
    for layers in ("attention", "all"):
        spec = FinetuneSpec(steps=1, batch=1, rank=2, layers=layers)
        trained = finetune(tiny_models.networks("sd1"), [torch.rand(3, 16, 16)], ["a"], spec)
        read = read_lora(save_lora(trained, tmp_path / f"{layers}.safetensors"))
        assert C.recipe_of(inspect_lora(read)).spec.layers == layers


def test_what_a_file_does_not_state_is_named():
    metadata = {k: STATED[k] for k in ("ss_steps", "ss_unet_lr")}
    recipe = C.recipe_of(inspection(metadata, {"4": 1}))
    assert set(recipe.assumed) == {
        "alpha", "batch", "decay", "flip", "caption_dropout", "number of photos",
    }  # fmt: skip
    with pytest.raises(InputError, match="NO_RECIPE"):
        C.recipe_of(inspection({"ss_steps": "40"}, {"4": 1}))


def test_controls_that_train_never_compare():
    train, compare = C.split_controls(21, seed=3)
    assert not set(train) & set(compare)
    assert sorted((*train, *compare)) == list(range(21))
    assert C.split_controls(21, seed=4) != (train, compare)
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_CONTROLS"):
        C.split_controls(7, seed=0)


def test_sessions_are_never_halved():
    """A control that compares must not be the twin of one that trained."""
    sessions = [f"burst {i // 4}" for i in range(40)]
    for seed in range(20):
        train, compare = C.split_controls(40, seed, sessions)
        assert not {sessions[i] for i in train} & {sessions[i] for i in compare}
        assert sorted((*train, *compare)) == list(range(40))
        assert len(train) == 20
    with pytest.raises(NotEnoughDataError, match=r"TOO_FEW_CONTROLS.*1 session cannot"):
        C.split_controls(40, 0, ["one"] * 40)


@pytest.fixture(scope="module")
def suspect(tmp_path_factory):
    path = tiny_models.save_lora(tmp_path_factory.mktemp("lora") / "a.safetensors", "sd1")
    pair = pair_of(tiny_models.networks("sd1"), path)
    yield pair
    pair.close()


def group_of(suspect, case, count=2):
    recipe = C.Recipe(FinetuneSpec(steps=2, batch=2, rank=2, layers="attention"), 3, ())
    controls = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    train = retraining.training_on(suspect, "a photo", case)
    return C.counterfactual_group(train, controls, recipe, count, seed=5)


def test_adapters_are_trained_once_and_differ(suspect, tmp_path, monkeypatch):
    case = open_case(tmp_path / "case", {})
    group = group_of(suspect, case)
    files = sorted((case.root / "counterfactual").glob("*.safetensors"))
    assert len(files) == len(group.models) == 2
    assert files[0].read_bytes() != files[1].read_bytes()
    assert inspect_lora(read_lora(files[0])).ranks.keys() == {"2"}
    assert group.controls == C.split_controls(10, 5)[1]
    assert "3 of 5 training controls" in group.note
    first = group.models[0].open()
    assert first.output_change > 0
    first.close()
    before = [f.read_bytes() for f in files]
    monkeypatch.setattr(retraining, "save_lora", None)  # not called again
    group_of(suspect, case)
    assert [f.read_bytes() for f in files] == before
    case.close()


def test_each_training_gets_its_own_controls_and_seed():
    controls = torch.arange(20.0).view(20, 1, 1, 1).expand(20, 3, 2, 2)
    recipe, calls = C.Recipe(FinetuneSpec(), 4, ("alpha",)), []
    group = C.counterfactual_group(
        lambda images, spec, k: calls.append((images[:, 0, 0, 0].tolist(), spec.seed, k)) or k,
        controls, recipe, 3, seed=9,
    )  # fmt: skip
    training, comparing = C.split_controls(20, 9)
    assert group.models == (0, 1, 2)
    assert group.controls == comparing
    assert all(len(images) == 4 and set(images) <= set(training) for images, _, _ in calls)
    assert len({tuple(images) for images, _, _ in calls}) == 3
    assert len({seed for _, seed, _ in calls}) == 3
    assert "4 of 10 training controls each; not stated: alpha" in group.note


def test_placebos_must_be_other_adapters(suspect, tmp_path):
    own = tiny_models.save_lora(tmp_path / "own.safetensors", "sd1")
    with pytest.raises(InputError, match="SAME_ADAPTER"):
        placebo_group(suspect, [own])
    other = tmp_path / "other.safetensors"
    other.write_bytes(own.read_bytes())
    stranger = replace(suspect.hashes, tuned="0")
    twice = SimpleNamespace(hashes=stranger, networks=suspect.networks, lora=None)
    with pytest.raises(InputError, match="SAME_ADAPTER"):
        placebo_group(twice, [own, other])
    assert len(placebo_group(twice, [own]).models) == 1
    assert placebo_files(tmp_path) == sorted(tmp_path.glob("*.safetensors"))
    with pytest.raises(NotEnoughDataError, match="EMPTY_FOLDER"):
        placebo_files(tmp_path.parent)
    with pytest.raises(InputError, match="MISSING_FOLDER"):
        placebo_files(tmp_path / "none")
