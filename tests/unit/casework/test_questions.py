"""From a request to a question: captions by file name, sessions to whoever halves controls."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lora_forensics.core.casework import questions
from lora_forensics.core.casework.request import Request
from lora_forensics.core.errors import InputError
from lora_forensics.core.images.photos import image_files, load_photos
from lora_forensics.core.images.sets import Sets
from lora_forensics.core.membership.null_ranks import NullGroup
from lora_forensics.core.specs import PRESETS, MembershipSpec, ScreenSpec
from lora_forensics.core.training.counterfactual import Recipe, split_controls
from PIL import Image


@pytest.fixture
def sets(tmp_path):
    """Three photos, and ten controls in sessions of two."""
    rng, found = np.random.default_rng(0), []
    for kind, names in (
        ("photo", [f"p{i}.png" for i in range(3)]),
        ("control", [f"burst{i // 2}/c{i}.png" for i in range(10)]),
    ):
        for name in names:
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
        files = image_files(tmp_path / kind)
        found.append(load_photos(files, kind, 16, root=tmp_path / kind))
    return Sets(*found)


def request(tmp_path, **more):
    names = {"base": "base", "tuned": "lora.safetensors", "photos": "photo", "controls": "control"}
    where = {field: tmp_path / name for field, name in names.items()}
    return Request(**where, out=tmp_path / "out", lines=("membership",), **more)


def test_captions_are_matched_by_name(tmp_path, sets):
    names = [f.name for f in (*sets.photos.facts, *sets.controls.facts)]
    path = tmp_path / "metadata.jsonl"
    lines = [json.dumps({"file_name": n, "text": f"a {n}"}) for n in reversed(names)]
    path.write_text("\n".join(lines))
    pair = SimpleNamespace(device="cpu")
    captioned = request(tmp_path, captions=path)
    asked = questions.build_question(captioned, pair, None, sets)
    assert asked.captions == tuple(f"a {n}" for n in names)
    plain = questions.build_question(request(tmp_path), pair, None, sets)
    assert plain.captions == ()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="CAPTION_COUNT"):
        questions.build_question(captioned, pair, None, sets)


def test_counterfactuals_get_the_sessions_of_the_controls(tmp_path, sets, monkeypatch):
    spec = ScreenSpec(membership=MembershipSpec(counterfactuals=2, seed=3))
    wanted, seen = request(tmp_path, spec=spec), {}

    def group(train, images, recipe, count, *, seed, sessions):
        seen.update(seed=seed, sessions=sessions, count=count)
        return NullGroup("counterfactual", ())

    monkeypatch.setattr(questions, "counterfactual_group", group)
    monkeypatch.setattr(questions, "training_on", lambda *_: None)
    pair = SimpleNamespace(device="cpu")
    asked = questions.build_question(wanted, pair, None, sets)
    recipe = Recipe(PRESETS["quick"], 2, ())
    made = questions.with_counterfactuals(wanted, pair, asked, recipe, None, None)
    assert [g.kind for g in made.nulls] == ["counterfactual"]
    assert seen["count"] == 2
    assert len(set(seen["sessions"])) == 5
    train, compare = split_controls(10, seen["seed"], seen["sessions"])
    assert not {seen["sessions"][i] for i in train} & {seen["sessions"][i] for i in compare}


def test_controls_of_one_session_are_refused_before_any_work(tmp_path, sets, monkeypatch):
    controls = sets.controls
    one = replace(controls, facts=tuple(replace(f, session="one") for f in controls.facts))
    wanted = request(tmp_path, spec=ScreenSpec(membership=MembershipSpec(counterfactuals=2)))
    monkeypatch.setattr(questions, "recipe_of", lambda _: "recipe")
    assert questions.recipe_for(wanted, object(), controls) == "recipe"
    with pytest.raises(InputError, match=r"TOO_FEW_CONTROLS.*1 session cannot"):
        questions.recipe_for(wanted, object(), one)
