"""Training in a graph from end to end: interrupts, counterfactuals, bad input, a server."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest
import torch
from lora_forensics.core.errors import ForensicsError, InputError, NotEnoughDataError
from lora_forensics.core.sampling.plans import noise_of
from safetensors.torch import load_file, save_file

from .native_checkpoints import SD15
from .outcomes import shown, succeed
from .prompts import node, text_to_image
from .training_models import (
    SPEC,
    Clip,
    check_unchanged,
    drawn,
    narrow_sdxl,
    state_of,
    train,
)


def test_an_interrupt_leaves_the_base_and_resumes(sd15, tmp_path, monkeypatch):
    import comfy.model_management as memory
    from lora_forensics.nodes._host import output_folder
    from lora_forensics.nodes._pair import HostPair

    model, _, vae = sd15
    before, spec = state_of(model), replace(SPEC, seed=11)
    whole, _ = train(model, Clip(), vae, tmp_path / "a.safetensors", spec)
    shutil.rmtree(output_folder("work"))
    forwards, real = [], HostPair.__call__

    def interrupted(*args):
        forwards.append(1)
        memory.interrupt_current_processing(len(forwards) == 5)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(HostPair, "__call__", interrupted)
        with pytest.raises(memory.InterruptProcessingException):
            train(model, Clip(), vae, tmp_path / "b.safetensors", spec)
    assert not (tmp_path / "b.safetensors").exists()
    check_unchanged(model, before)
    bars = _bars(monkeypatch)
    again, _ = train(model, Clip(), vae, tmp_path / "b.safetensors", spec)
    assert bars == [("fine-tuning", 5, 4)]
    assert again.losses == whole.losses
    assert all(torch.equal(again.weights[k], v) for k, v in whole.weights.items())
    bars.clear()
    train(model, Clip(), vae, tmp_path / "c.safetensors", spec)
    assert bars == []
    first, *others = (load_file(tmp_path / f"{n}.safetensors") for n in "abc")
    assert all(torch.equal(other[k], v) for k, v in first.items() for other in others)


def _bars(monkeypatch):
    from lora_forensics.nodes._host import HostProgress

    started, real = [], HostProgress.start

    def start(self, task, total, done=0):
        started.append((task, total, done))
        real(self, task, total, done)

    monkeypatch.setattr(HostProgress, "start", start)
    return started


CLAIMS = {
    "ss_steps": "3", "ss_unet_lr": "0.01", "ss_network_alpha": "4", "ss_total_batch_size": "2",
    "ss_dataset_dirs": '{"1_x": {"n_repeats": 1, "img_count": 3}}',
}  # fmt: skip


@pytest.fixture
def controls():
    return drawn(10, first=50)


@pytest.fixture
def suspect(sd15, native_folder, tmp_path):
    from lora_forensics.nodes._suspect import suspect_from_file

    path = tmp_path / "suspect.safetensors"
    save_file(load_file(native_folder / "loras" / "sd15_kohya.safetensors"), path, CLAIMS)
    return suspect_from_file(path, sd15[0], Clip(), 0.8, base_sha256="b" * 64)


def counterfactuals(suspect, vae, controls, **changed):
    from lora_forensics.nodes._retraining import counterfactuals_of

    given = {"caption": "a face", "count": 2, "seed": 4, "resolution": 64, **changed}
    with torch.inference_mode():
        return counterfactuals_of(
            suspect, vae, controls, given.pop("caption"), given.pop("count"), **given
        )


def test_counterfactuals_repeat_the_recipe(sd15, suspect, controls, monkeypatch):
    from lora_forensics.core.training.counterfactual import split_controls

    model, _, vae = sd15
    before = state_of(model)
    made = counterfactuals(suspect, vae, controls)
    check_unchanged(model, before)
    ours = controls.at(64, "control")
    group = made.group(suspect, vae, 64, ours)
    assert group.kind == "counterfactual"
    assert group.controls == split_controls(10, 4)[1]
    assert "rank 4" in group.note
    assert "3 steps of 2" in group.note
    assert "3 of 5 training controls" in group.note
    assert len({m.name for m in group.models}) == 2
    _check_opened(group, suspect, vae)
    for other in (
        (replace(suspect, strength=1.0), vae, 64, ours),
        (suspect, vae, 128, ours),
        (suspect, vae, 64, ours.select(range(9))),
    ):
        with pytest.raises(InputError, match="MIXED_EVIDENCE"):
            made.group(*other)
    bars = _bars(monkeypatch)
    again = counterfactuals(suspect, vae, controls)
    assert bars == []
    assert [m.name for m in again.trained.models] == [m.name for m in group.models]
    other = counterfactuals(suspect, vae, controls, seed=5)
    assert {m.name for m in other.trained.models}.isdisjoint(m.name for m in group.models)
    with pytest.raises(NotEnoughDataError, match="TOO_FEW_CONTROLS"):
        counterfactuals(suspect, vae, drawn(7, first=50))


def _check_opened(group, suspect, vae):
    """A null answers as the base with its own change: near the base, and each its own."""
    from lora_forensics.nodes._pair import HostRows

    x, outs = noise_of(1, (2, 4, 8, 8)), []
    for null in group.models:
        with torch.inference_mode(), null.open() as pair:
            entry = pair.condition(["a face"], [0.0]).entries[0]
            rows = HostRows((entry,) * 2, torch.tensor([0.0, 1.0]), torch.device("cpu"))
            outs.append(pair(x[[0, 0]], pair.sigmas[[500, 500]].float(), rows))
            assert pair.hashes.base == suspect.hashes.base
    assert torch.equal(outs[0][0], outs[1][0])
    assert not torch.equal(outs[0][0], outs[0][1])
    assert not torch.equal(outs[0][1], outs[1][1])


def test_bad_input_is_named(sd15, controls, suspect, tmp_path):
    from lora_forensics.nodes import _retraining, _training

    (model, _, vae), photos = sd15, drawn(3)
    path = tmp_path / "a.safetensors"
    cases = {
        "BAD_NAME": lambda: _retraining.lora_file("../a"),
        "CAPTION_COUNT": lambda: _retraining.photo_captions("one\ntwo", photos, "a"),
        "MINOR_SUSPECTED": lambda: _retraining.photo_captions("a 12 year old", photos, "a"),
        "NO_CLIP": lambda: train(model, None, vae, path),
        "NOT_A_LORA": lambda: train(model, Clip(), vae, path, replace(SPEC, method="full")),
        "NO_RECIPE": lambda: counterfactuals(replace(suspect, inspection=None), vae, controls),
    }
    for code, call in cases.items():
        with pytest.raises(ForensicsError) as error:
            call()
        assert error.value.code == code
    assert not path.exists()
    assert _retraining.photo_captions("", photos, "a") == ["", "", ""]
    assert _retraining.photo_captions("one\n", photos, "a") == ["one"] * 3
    assert _retraining.photo_captions("x\ny\nz", photos, "a") == ["x", "y", "z"]
    with pytest.raises(InputError, match="UNSUPPORTED_MODEL"):
        _training._check_readable(model, {}, {})
    edm = {"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)}
    with pytest.raises(InputError, match="EDM"):
        train(narrow_sdxl(**edm)[0], Clip(), vae, path)


FORM = {
    "layers": "attention", "rank": 2, "alpha": 0.0, "steps": 3, "batch": 2, "learning_rate": 1e-2,
    "warmup": 0, "decay": "constant", "flip": 0.5, "caption_dropout": 0.0,
    "save_every": 200, "seed": 0,
}  # fmt: skip


def test_from_training_to_white_box_with_a_real_text_encoder(comfy, light_checkpoint, controls):
    from lora_forensics.nodes.extension import register_folders
    from lora_forensics.nodes.loaders import LoadSuspect
    from lora_forensics.nodes.membership import WhiteBox
    from lora_forensics.nodes.training import TrainCounterfactuals, TrainLora

    register_folders()
    with torch.inference_mode():
        (model, clip, vae), photos = comfy.checkpoint(light_checkpoint), drawn(3)
        name, plot, summary = TrainLora.execute(
            model, clip, vae, photos, "a face", 64, "set/one", **FORM
        ).args
        assert name in comfy.folder_paths.get_filename_list("loras")
        assert plot.shape == (1, 360, 760, 3)
        assert "3 photos, 1 caption, 3 steps of 2, 8 layers of rank 2" in summary
        suspect = LoadSuspect.execute(model, name, 1.0, clip).args[0]
        nulls, words = TrainCounterfactuals.execute(suspect, vae, controls, "", 2, 0, 64).args
        assert "rank 2, attention layers, 3 steps of 2, rate 0.01" in words
        assert "'a face'" in words
        measured = WhiteBox.execute(
            suspect, vae, photos, controls, "", 64, counterfactuals=nulls, timesteps="300, 600",
            noises=1, nulls=0, permutations=100, batch=8, seed=0, signals="grid", null_noises=1,
        ).args[0].evidence  # fmt: skip
    ranks = {rank.kind: rank for rank in measured.null_ranks}
    assert len(ranks["counterfactual"].nulls) == 2
    assert all(map(bool, ranks["counterfactual"].nulls))


@pytest.mark.parametrize("name", ["", "../a", "a/b/c", "a/", "/a", "a/..", "a b"])
def test_names_stay_in_their_folder(comfy, name):
    from lora_forensics.nodes.training import TrainLora

    assert "BAD_NAME" in TrainLora.validate_inputs(name)
    assert TrainLora.validate_inputs("set/one") is True


def training_prompt(name):
    """Sixty steps on a folder of photos: long enough to be interrupted."""
    values = {**FORM, "steps": 60, "save_every": 5, "rank": 1}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=SD15),
        "2": node("LoraForensicsPhotoFolder", folder="photos"),
        "3": node(
            "LoraForensicsTrainLora", model=["1", 0], clip=["1", 1], vae=["1", 2],
            photos=["2", 0], caption="a face", resolution=64, name=name, **values,
        ),
    }  # fmt: skip


def test_a_server_trains_is_interrupted_resumes_and_draws_as_before(server):
    plain = text_to_image(SD15, seed=5)
    before = server.view(succeed(server, plain).files("8")[0])
    output = server.base / "output" / "lora_forensics"
    prompt = training_prompt("server")
    prompt_id = server.post(prompt)
    deadline = time.monotonic() + 240
    while not list((output / "work").rglob("state-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    server.interrupt(prompt_id)
    assert server.wait(prompt_id).status == "interrupted"
    assert not (output / "loras" / "server.safetensors").exists()
    history = succeed(server, prompt)
    done = [v for n, v, total in history.progress if n == "3" and total == 60]
    assert done[0] >= 5
    assert done[-1] == 60
    assert "60 steps" in shown(history, "3")
    (loaders,) = server.object_info("LoraLoader").values()
    assert "server.safetensors" in loaders["input"]["required"]["lora_name"][0]
    back = server.run(plain)
    assert "6" in back.executed
    assert server.view(back.files("8")[0]) == before
