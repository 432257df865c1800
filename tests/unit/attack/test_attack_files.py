import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from lora_forensics.core.attack import files as attack_files
from lora_forensics.core.attack.classifier import TrainedClassifier, build_classifier, score_images
from lora_forensics.core.attack.files import (
    AttackFacts,
    AttackModel,
    SeedFacts,
    load_attack,
    save_attack,
)
from lora_forensics.core.attack.line import train_classifiers
from lora_forensics.core.errors import InputError, RunError
from lora_forensics.core.specs import ATTACK_PRESETS, AttackSpec
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SPEC = AttackSpec(images=8, cfgs=(1.0, 3.0), seeds=2, epochs=2, minibatch=8, side=32)
QUERIES = torch.rand(5, 3, 40, 40, generator=torch.Generator().manual_seed(9))


def facts_of(spec=SPEC):
    return AttackFacts(
        base_sha256="b" * 64,
        tuned_sha256="t" * 64,
        prompts=("a café", ""),
        negatives_from="base",
        pretrained=False,
        images=8,
        forwards=640,
        spec=spec,
    )


@pytest.fixture(scope="module")
def model():
    arms = torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return AttackModel(train_classifiers(arms[0], arms[1] * 0.8, SPEC), facts_of())


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("attack") / "attack.safetensors"
    save_attack(model, path)
    yield path
    path.unlink()


def untrained(**changes):
    torch.manual_seed(0)
    some = torch.tensor([1.0, -1.0], dtype=torch.float64)
    plain = TrainedClassifier(
        module=build_classifier().eval(),
        side=32,
        seed=0,
        losses=(0.7,),
        heldout_accuracy=0.5,
        heldout_logits=some,
        heldout_labels=(some > 0).long(),
    )
    return replace(plain, **changes)


def test_round_trip_gives_the_same_scores_and_facts(model, saved):
    before = torch.random.get_rng_state()
    loaded = load_attack(saved)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (loaded.facts, loaded.spec) == (model.facts, SPEC)
    for old, new in zip(model.classifiers, loaded.classifiers, strict=True):
        assert torch.equal(score_images(new, QUERIES), score_images(old, QUERIES))
        assert torch.equal(new.heldout_logits, old.heldout_logits)
        assert torch.equal(new.heldout_labels, old.heldout_labels)
        for name in ("side", "seed", "losses", "heldout_accuracy", "curve", "epoch"):
            assert getattr(new, name) == getattr(old, name)
        assert not new.module.training
        assert not any(p.requires_grad for p in new.module.parameters())


def test_the_papers_protocol_holds_nothing_out_and_is_kept_all_the_same(tmp_path):
    nothing = {"heldout_logits": torch.empty(0).double(), "heldout_labels": torch.empty(0).long()}
    given = untrained(heldout_accuracy=float("nan"), curve=((0.5, 1.0),), epoch=1, **nothing)
    spec = replace(ATTACK_PRESETS["paper"], side=32)
    save_attack(AttackModel((given,), facts_of(spec)), tmp_path / "x.safetensors")
    loaded = load_attack(tmp_path / "x.safetensors")
    (kept,) = loaded.classifiers
    assert math.isnan(kept.heldout_accuracy)
    assert (kept.curve, kept.epoch, kept.heldout_scores()) == (((0.5, 1.0),), 1, ([], []))
    assert loaded.spec == spec


def test_a_host_may_load_and_score_in_inference_mode(model, saved):
    with torch.inference_mode():
        loaded = load_attack(saved)
        scores = score_images(loaded.classifiers[1], QUERIES)
    assert torch.equal(scores, score_images(model.classifiers[1], QUERIES))
    assert torch.equal(scores, score_images(loaded.classifiers[1], QUERIES))


def test_the_file_says_what_it_is(saved):
    with safe_open(saved, "pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert (metadata["format"], metadata["schema_version"]) == ("lora-forensics-attack", "1")
    assert [c["seed"] for c in json.loads(metadata["classifiers"])] == [0, 1]
    assert json.loads(metadata["facts"])["tuned_sha256"] == "t" * 64
    assert {"seed-0.conv1.weight", "seed-1.fc.bias", "seed-1.heldout_logits"} <= names


def facts_text(**changes):
    return json.dumps({**asdict(facts_of()), **changes})


def spec_text(**changes):
    return facts_text(spec={**asdict(SPEC), **changes})


def seed_text(**changes):
    return json.dumps([{**asdict(SeedFacts(0, 32, (0.7,), 0.5, (), 0)), **changes}])


def metadata_of(**changes):
    plain = {
        "format": "lora-forensics-attack",
        "schema_version": "1",
        "classifiers": seed_text(),
        "facts": facts_text(),
    }
    return {k: v for k, v in {**plain, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "WRONG_WEIGHTS"),  # sound facts, but the one tensor is no classifier's
        ({"format": None}, "WRONG_WEIGHTS"),
        ({"format": "pt"}, "WRONG_WEIGHTS"),
        ({"schema_version": "2"}, "WRONG_SCHEMA"),
        ({"schema_version": None}, "WRONG_SCHEMA"),
        ({"facts": None}, "WRONG_WEIGHTS"),
        ({"facts": "[]"}, "WRONG_WEIGHTS"),
        ({"facts": "{"}, "MALFORMED_HEADER"),
        ({"facts": '{"spec": 1, "spec": 2}'}, "DUPLICATE_KEY"),
        ({"facts": facts_text(pretrained=1)}, "WRONG_WEIGHTS"),
        ({"facts": facts_text(prompts=[1])}, "WRONG_WEIGHTS"),
        ({"facts": spec_text(epochs="many")}, "WRONG_WEIGHTS"),
        ({"facts": spec_text(cfgs=3.0)}, "WRONG_WEIGHTS"),
        ({"facts": spec_text(later=3)}, "WRONG_WEIGHTS"),
        ({"facts": spec_text(epochs=0)}, "BAD_SETTING"),
        ({"classifiers": None}, "WRONG_WEIGHTS"),
        ({"classifiers": "[]"}, "WRONG_WEIGHTS"),
        ({"classifiers": "[1]"}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(side=10**6)}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(seed="../x")}, "WRONG_WEIGHTS"),
        ({"classifiers": json.dumps([{"seed": 0, "side": 32}])}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(losses=[None])}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(curve=[[1.0]])}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(curve={})}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(curve=[["a", 1]])}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(epoch=2)}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(epoch=True)}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text(heldout_accuracy="x")}, "WRONG_WEIGHTS"),
        ({"classifiers": seed_text().replace("[0.7]", "[NaN]")}, "MALFORMED_HEADER"),
        ({"classifiers": seed_text().replace("[0.7]", "[1e999]")}, "NON_FINITE"),
        ({"classifiers": json.dumps(json.loads(seed_text()) * 2)}, "WRONG_WEIGHTS"),
    ],
)
def test_metadata_of_strangers_are_refused_before_tensors_are_read(
    tmp_path, monkeypatch, changes, code
):
    monkeypatch.setattr(attack_files, "load_tensors", lambda path: pytest.fail("tensors were read"))
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata_of(**changes))
    with pytest.raises(InputError, match=code):
        load_attack(tmp_path / "x.safetensors")


def test_files_of_other_formats_are_refused(tmp_path):
    lora = tmp_path / "lora.safetensors"
    save_file({"lora_up.weight": torch.zeros(4, 2)}, lora)
    with pytest.raises(InputError, match=r"WRONG_WEIGHTS.*lora-forensics-attack"):
        load_attack(lora)
    for name, data, code in (
        ("pickle", b"\x80\x04\x95" + b"." * 40, "PICKLE"),
        ("short", b"\x00\x01", "TRUNCATED"),
        ("cut", lora.read_bytes()[:-3], "TRUNCATED"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=code):
            load_attack(tmp_path / name)
    with pytest.raises(InputError, match="MISSING_FILE"):
        load_attack(tmp_path / "nothing")


def halved(tensors):
    return {**tensors, "seed-0.fc.weight": tensors["seed-0.fc.weight"][:1].clone()}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: {**t, "seed-0.fc.bias": torch.tensor([torch.nan, 0])}, "NON_FINITE"),
        (lambda t: {**t, "seed-0.heldout_logits": t["seed-0.heldout_logits"] / 0}, "NON_FINITE"),
        (lambda t: {**t, "seed-0.heldout_labels": t["seed-0.heldout_labels"] + 2}, "WRONG_WEIGHTS"),
        (lambda t: {**t, "seed-0.heldout_labels": torch.ones(9).long()}, "WRONG_WEIGHTS"),
        (lambda t: {**t, "seed-0.fc.bias": t["seed-0.fc.bias"].half()}, "WRONG_WEIGHTS"),
        (lambda t: {**t, "seed-7.fc.bias": torch.zeros(2)}, "WRONG_WEIGHTS"),
        (lambda t: {k: v for k, v in t.items() if k != "seed-1.conv1.weight"}, "WRONG_WEIGHTS"),
        (halved, "WRONG_WEIGHTS"),
    ],
)
def test_damaged_tensors_are_refused(saved, change, code):
    damaged = saved.with_name("damaged.safetensors")
    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(saved)), damaged, metadata)
    try:
        with pytest.raises(InputError, match=code):
            load_attack(damaged)
    finally:
        damaged.unlink()


@pytest.mark.parametrize(
    ("classifiers", "code"),
    [
        ([untrained(losses=(float("inf"),))], "NON_FINITE"),
        ([untrained(heldout_logits=torch.full((2,), torch.nan))], "NON_FINITE"),
        ([untrained(), untrained()], "WRONG_WEIGHTS"),
        ([], "WRONG_WEIGHTS"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(tmp_path, classifiers, code):
    with pytest.raises(InputError, match=code):
        save_attack(AttackModel(tuple(classifiers), facts_of()), tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="NOT_WRITABLE"):
        save_attack(AttackModel((untrained(),), facts_of()), tmp_path / "file" / "x.safetensors")
