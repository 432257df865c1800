"""The stop for minors in the node layer: names, captions, metadata; needs no ComfyUI."""

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from command_files import forbid
from lora_forensics.core.casework import photo_sets
from lora_forensics.core.casework.photo_sets import PhotoSet
from lora_forensics.core.errors import ForensicsError
from lora_forensics.core.types import BASE, TUNED, ImageBatch, ModelHashes, Source
from lora_forensics.nodes import _host, _nulls, _retraining, _suspect
from lora_forensics.nodes._suspect import Suspect
from PIL import Image
from safetensors.torch import save_file

NODES = "lora_forensics.nodes"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(_host.HostProgress, "start", lambda *_: None)


@pytest.fixture
def nodes(monkeypatch):
    """Node modules on a stand-in for ComfyUI's API; nothing of them stays behind."""
    api, latest = ModuleType("comfy_api"), ModuleType("comfy_api.latest")
    latest.io = MagicMock(ComfyNode=object)
    monkeypatch.setitem(sys.modules, "comfy_api", api)
    monkeypatch.setitem(sys.modules, "comfy_api.latest", latest)
    package, before = importlib.import_module(NODES), set(sys.modules)
    yield lambda name: importlib.import_module(f"{NODES}.{name}")
    for name in set(sys.modules) - before:
        if name.startswith(f"{NODES}."):
            del sys.modules[name]
            delattr(package, name.rpartition(".")[2])


def stops():
    return pytest.raises(ForensicsError, match="MINOR_SUSPECTED")


def suspect(**facts):
    return Suspect("name", None, None, None, None, ModelHashes("b", "t"), **facts)


def images(prompt="a face", model=TUNED):
    label = f"{'base' if model == BASE else 'tuned'} cfg=1"
    source = Source(kind="generated", sha256="0", name="0", prompt=prompt, seed=1, guidance=label)
    return ImageBatch(torch.zeros(1, 3, 16, 16), (source,))


def photos(folder, *names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (40 * i, 90, 10)).save(path)
    return PhotoSet(tuple(folder / name for name in names), root=folder, origin=folder.parents[1])


@pytest.mark.parametrize(
    ("root", "name"),
    [("in/p", "kid.png"), ("in/p", "my son/1.png"), ("in/teens", "1.png"), ("teens/p", "1.png"),
     ("in/teens", "a/1.png")],
)  # fmt: skip
def test_no_photo_is_opened_while_a_name_points_to_a_minor(root, name, tmp_path, monkeypatch):
    bad = photos(tmp_path / root, name, "2.png")
    good = photos(tmp_path / "in" / "c", "1.png", "2.png")
    monkeypatch.setattr(photo_sets, "load_photos", forbid)
    with stops():
        bad.at(32, "photo")
    for sets in ((bad, good), (good, bad)):
        with stops():
            photo_sets.compared_sets(*sets, 32)


def test_ordinary_names_are_opened(tmp_path):
    good = photos(tmp_path / "in" / "p", "a/1.png", "2.png")
    assert good.names[1:] == ["p", "a", "1.png", "2.png"]
    assert len(good.at(32, "photo")) == 2
    assert PhotoSet(good.files).names == ["a", "1.png", "p", "2.png"]


def test_photos_without_files_keep_the_names_that_they_had(tmp_path):
    ready = photos(tmp_path / "in" / "p", "1.png").at(32, "photo")
    named = SimpleNamespace(facts=[SimpleNamespace(name="a child.png")], images=ready.images)
    with stops():
        PhotoSet(ready=named).at(32, "photo")


def test_training_reads_the_folder_above_sessions(tmp_path):
    with stops():
        _retraining.photo_captions("a face", photos(tmp_path / "kids", "a/1.png"), "lora")


def test_placebos_are_known_by_their_names(tmp_path):
    (tmp_path / "children").mkdir()
    for name in ("a.safetensors", "children/b.safetensors"):
        save_file({"a": torch.ones(2)}, tmp_path / name)
    _nulls.placebos_of(suspect(), [tmp_path / "a.safetensors"])
    with stops():
        _nulls.placebos_of(suspect(), [tmp_path / "children" / "b.safetensors"])


def test_a_suspects_recovered_prompts_and_unread_metadata_stop():
    suspect().stop_if_minor(["a face"])
    with stops():
        suspect(signs=("child",)).stop_if_minor()
    claims = SimpleNamespace(text={"trigger_phrase": "my daughter"}, prompts=(), images=None)
    with stops():
        suspect(inspection=SimpleNamespace(stop_words=(), claims=claims)).stop_if_minor()


def test_a_file_that_only_the_host_reads_is_read_for_signs(tmp_path, monkeypatch):
    """Its names are none that the core knows, so no inspection says what its metadata holds."""
    path = tmp_path / "odd.safetensors"
    save_file({"odd.weight": torch.ones(2)}, path, {"note": "a toddler"})
    applied = (SimpleNamespace(), None, "")
    monkeypatch.setattr(_suspect, "_apply", lambda *_: applied)
    monkeypatch.setattr(_suspect, "changes_of", lambda *_: ("change",))
    made = _suspect.suspect_from_file(path, None, None, 1.0, base_sha256="b")
    assert made.inspection is None
    assert made.signs == ("toddler",)
    with stops():
        made.stop_if_minor()


def test_both_arms_prompts_are_read(nodes, monkeypatch):
    attack, baselines = nodes("attack"), nodes("baselines")
    monkeypatch.setattr(attack, "train_classifiers", forbid)
    monkeypatch.setattr(baselines, "compared_sets", forbid)
    bad = images("a toddler", BASE)
    with stops():
        attack.TrainAttack.execute(suspect(), images(), bad, "name")
    with stops():
        baselines.Baselines.execute(
            suspect(), images(), None, None, None, "centroid", 16, base_generated=bad
        )


def test_captions_are_read_before_photos_are_opened(nodes, monkeypatch):
    baselines = nodes("baselines")
    monkeypatch.setattr(baselines, "compared_sets", forbid)
    for captions in (("my son", ""), ("a face", "a face\na 9 year old")):
        with stops():
            baselines.Reconstruction.execute(
                suspect(), None, None, None, None, *captions, 1, 1.0, "base", 16
            )


def test_an_extraction_is_not_judged_while_its_suspect_is_stopped(nodes, monkeypatch):
    extraction = nodes("extraction")
    monkeypatch.setattr(extraction, "compared_sets", forbid)
    for given, prompt in ((suspect(), "a toddler"), (suspect(signs=("child",)), "a face")):
        drawn = SimpleNamespace(extraction=SimpleNamespace(images=images(prompt)), settings={})
        with stops():
            extraction.JudgeExtraction.execute(given, drawn, None, None, None, 16)


@pytest.mark.parametrize("node", ["score", "clip", "judge", "baselines", "reconstruction"])
def test_every_node_that_compares_stops_for_photo_names(node, nodes, tmp_path, monkeypatch):
    bad = photos(tmp_path / "in" / "p", "kid.png", "2.png")
    good = photos(tmp_path / "in" / "c", "1.png", "2.png")
    monkeypatch.setattr(photo_sets, "load_photos", forbid)

    @contextmanager
    def pair(self, *_):
        yield SimpleNamespace(resolution=32)

    monkeypatch.setattr(Suspect, "pair", pair)
    attack, baselines, extraction = map(nodes, ("attack", "baselines", "extraction"))
    model = SimpleNamespace(facts=SimpleNamespace(tuned_sha256="t"))
    drawn = SimpleNamespace(extraction=SimpleNamespace(images=images()), settings={})
    s, sets, made = suspect(), (bad, good), images()
    calls = {
        "score": lambda: attack.ScoreAttack.execute(s, None, model, *sets, 32),
        "clip": lambda: attack.ClipScore.execute(s, None, made, *sets, 32),
        "judge": lambda: extraction.JudgeExtraction.execute(s, drawn, None, *sets, 32),
        "baselines": lambda: baselines.Baselines.execute(s, made, None, *sets, "centroid", 32),
        "reconstruction": lambda: baselines.Reconstruction.execute(
            s, None, None, *sets, "a face", "a face", 1, 1.0, "base", 32
        ),
    }
    with stops():
        calls[node]()
