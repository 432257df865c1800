"""The full scale's wiring: the user's base, folders, captions and logo, on tiny random models."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny_models
from command_files import noise_pictures
from lora_forensics.core.errors import InputError, MissingWeightsError
from lora_forensics.core.specs import FINETUNE_PRESETS
from lora_forensics.core.studies.reproduction.experiments import Reproduction, reproduce, scale_of
from lora_forensics.core.studies.reproduction.folders import SETS, Folders, folder_material
from lora_forensics.core.studies.reproduction.scales import SD15

SMALL = replace(
    SD15,
    finetune=replace(SD15.finetune, steps=8, warmup=2, learning_rate=1e-3),
    attack=replace(SD15.attack, images=6, steps=2, seeds=2, epochs=1, minibatch=4, side=32),
    encoder="tiny",
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    root = tmp_path_factory.mktemp("sd15")
    for seed, (who, part) in enumerate(SETS.values()):
        folder = noise_pictures(root / who / part, 5, seed)
        if part == "seen":
            text = f"a {who} headshot of a man"
            lines = [json.dumps({"file_name": f"{i}.png", "text": text}) for i in range(5)]
            (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    base = tiny_models.save_base(root / "base")
    folders = {who: root / who for who in ("dtu", "aau", "lfw")}
    return Folders(base=base, **folders, device="cpu", dtype="float32")


def test_the_full_scale_runs_on_the_users_files(given, tmp_path):
    rows = ("2", "12")
    facts = reproduce(Reproduction(tmp_path / "out", SMALL, rows, given))
    found = {row["key"]: row for row in facts["rows"]}
    assert set(found) == set(rows)
    assert found["2"]["train"] == ["dtu-400_dtu_cfg7.5", "photos_aau"]
    assert found["12"]["counts"] == [5, 5]
    assert facts["manifest"]["resnet"] == "random start"
    trained = [s["name"] for s in facts["stages"] if s["kind"] == "target"]
    assert trained == ["aau", "dtu-400", "dtu-faint"]


def test_the_full_scale_has_the_papers_numbers():
    scale = scale_of("sd15")
    assert replace(scale.finetune, save_every=200) == FINETUNE_PRESETS["paper"]
    attack = scale.attack
    assert (attack.images, attack.steps, attack.cfgs, attack.side) == (2500, 100, (7.5,), 224)
    assert (attack.epochs, attack.minibatch, attack.learning_rate) == (20, 32, 1e-3)
    assert (attack.augment, attack.selection, attack.holdout) == ("none", "last", 0)
    assert scale.prompts["general"] == "a profile picture"
    assert scale_of("sd15", images=7, sampling=3, training=9).finetune.steps == 9


def test_every_needed_folder_is_asked_for(given):
    with pytest.raises(InputError, match="--base, --aau"):
        folder_material(SMALL, replace(given, base=None, aau=None))
    with pytest.raises(InputError, match="MISSING_FOLDER"):
        folder_material(SMALL, replace(given, dtu=given.dtu / "elsewhere"))
    with pytest.raises(MissingWeightsError, match="MISSING_FILE"):
        folder_material(SMALL, replace(given, resnet=given.dtu / "resnet18.safetensors"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "BAD_CAPTIONS"),
        (
            '{"file_name": "0.png", "text": "a"}\n',
            "CAPTION_COUNT: no caption for 4 of 5 photos: 1.png",
        ),
        ('{"file_name": "0.png"}\n', "BAD_CAPTIONS: line 1"),
        ("\n[1, 2]\n", "BAD_CAPTIONS: line 2"),
        (None, "MISSING_CAPTIONS"),
    ],
)
def test_bad_captions_are_named(text, code, given, tmp_path):
    shutil.copytree(given.dtu, tmp_path / "dtu")
    captions = tmp_path / "dtu" / "seen" / "metadata.jsonl"
    captions.unlink()
    if text is not None:
        captions.write_text(text)
    with pytest.raises(InputError, match=code):
        folder_material(SMALL, replace(given, dtu=tmp_path / "dtu"))
