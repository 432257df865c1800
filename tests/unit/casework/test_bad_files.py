"""What cannot be used is named before a model is opened or anything is written; no traceback."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_files import flags, forbid
from lora_forensics.core import cli
from lora_forensics.core.backends.loading import open_pair
from lora_forensics.core.casework import opening, photo_sets
from lora_forensics.core.casework.placebos import placebo_group
from lora_forensics.core.cli import main
from lora_forensics.core.errors import InputError, LoraFormatError, RunError
from lora_forensics.core.lora.header import named
from safetensors.torch import load_file, save_file


@pytest.fixture
def case(given):
    """A command's flags, with photos and controls."""
    return flags(given)


def refused(capsys, command, *said):
    assert main([str(c) for c in command]) == 2
    shown = capsys.readouterr().err
    assert all(text in shown for text in said), shown


COMMANDS = {
    "screen": ((), []),
    "train": (("base", "photos", "out"), ["--caption", "a face"]),
    "sample": (("base", "lora", "out"), ["--prompt", "x", "--cfg", "1"]),
}


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_device_that_is_not_here_is_named(given, capsys, verb, device):
    names, more = COMMANDS[verb]
    code = "NO_DEVICE: cuda:99 was asked" if device == "cuda:99" else "BAD_SETTING: device"
    command = [verb, *flags(given, *names), *more, "--device", device]
    refused(capsys, command, f"ERROR/{code}")
    assert not given["out"].exists()


def no_weights(path):
    return path


def text_weights(path):
    path.write_text("weights of a model in plain words")
    return path


def other_weights(path):
    save_file({"conv1.weight": torch.zeros(2, 2)}, path)
    return path


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (no_weights, "MISSING_FILE"),
        (text_weights, "HEADER_TOO_LARGE"),
        (other_weights, "WRONG_WEIGHTS"),
    ],
)
def test_wrong_weights_of_the_attack_are_named_first(
    case, tmp_path, capsys, monkeypatch, make, code
):
    monkeypatch.setattr(opening, "load_base", forbid)
    weights = make(tmp_path / "resnet18.safetensors")
    for verb in ("screen", "attack"):
        command = [verb, *case, "--resnet", weights]
        refused(capsys, command, f"ERROR/{code}", "resnet18.safetensors")
    assert not (tmp_path / "case").exists()


def test_weights_of_the_attack_decide_nothing_where_it_does_not_run(case, tmp_path, capsys):
    command = ["score", *case, "--device", "cpu", "--resnet", str(tmp_path / "none")]
    budget = ["--timesteps", "500", "--noises", "1"]
    assert main([*command, *budget]) == 0


def test_a_missing_secret_is_named(given, tmp_path, capsys):
    names = ("base", "lora", "photos", "out")
    command = ["decoys", "rank", *flags(given, *names), "--secret", tmp_path / "nosecret.json"]
    refused(capsys, command, "ERROR/MISSING_FILE", "nosecret.json", "No such file")


def test_a_file_that_cannot_be_read_is_no_traceback(capsys, monkeypatch):
    def fails(args):
        Path("/nowhere/file").read_bytes()

    monkeypatch.setattr(cli.files, "_report", fails)
    refused(capsys, ["report", "x"], "ERROR/FILE: No such file or directory: /nowhere/file")

    def says(args):
        raise OSError("only words")

    monkeypatch.setattr(cli.files, "_report", says)
    refused(capsys, ["report", "x"], "ERROR/FILE: only words\n")


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_images_are_no_sample(given, capsys, count):
    names, more = COMMANDS["sample"]
    command = ["sample", *flags(given, *names), *more, "--images", count]
    refused(capsys, command, f"ERROR/BAD_SETTING: images is {count}; give 1 or more")


def truncated(path, tiny_folder):
    path.write_bytes((tiny_folder / "other.safetensors").read_bytes()[:-8])


def no_adapter(path, tiny_folder):
    save_file({"conv1.weight": torch.zeros(2, 2)}, path)


def of_sdxl(path, tiny_folder):
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora"
    parts = {f"{name}.down.weight": (2, 2048), f"{name}.up.weight": (640, 2)}
    save_file({k: torch.ones(s) for k, s in parts.items()}, path)


def for_sd1(inspection):
    return replace(inspection, family="SD1.x")


@pytest.mark.parametrize(
    ("make", "code"),
    [(truncated, "TRUNCATED"), (no_adapter, "NOT_A_LORA"), (of_sdxl, "WRONG_BASE")],
)
def test_a_wrong_placebo_is_named_before_any_photo_is_opened(
    case, tiny_folder, tmp_path, capsys, monkeypatch, make, code
):
    own = opening.inspect_pair
    monkeypatch.setattr(opening, "inspect_pair", lambda *given: for_sd1(own(*given)))
    monkeypatch.setattr(photo_sets, "load_photos", forbid)
    placebos = tmp_path / "placebos"
    placebos.mkdir()
    (placebos / "a.safetensors").write_bytes((tiny_folder / "other.safetensors").read_bytes())
    make(placebos / "wrong.safetensors", tiny_folder)
    command = ["score", *case, "--device", "cpu", "--placebos", placebos]
    refused(capsys, command, f"ERROR/{code}: wrong.safetensors")
    assert not (tmp_path / "case").exists()


def test_a_file_in_place_of_the_folder_of_placebos_is_called_a_file(case, tiny_folder, capsys):
    command = ["score", *case, "--device", "cpu", "--placebos", tiny_folder / "other.safetensors"]
    refused(capsys, command, "ERROR/MISSING_FOLDER", "other.safetensors is a file; give the folder")


def test_a_placebo_that_fails_late_is_named(tiny_folder, tmp_path):
    tensors = load_file(tiny_folder / "other.safetensors")
    zero = tmp_path / "zero.safetensors"
    save_file({k: torch.zeros_like(v) for k, v in tensors.items()}, zero)
    pair = open_pair(tiny_folder / "base", tiny_folder / "suspect.safetensors", device="cpu")
    try:
        null = placebo_group(pair, [zero]).models[0]
        with pytest.raises(LoraFormatError, match=r"ERROR/NOT_APPLIED: zero\.safetensors") as error:
            null.open()
    finally:
        pair.close()
    assert error.value.code == "NOT_APPLIED"


@pytest.mark.parametrize("kind", [InputError, LoraFormatError, RunError])
def test_errors_about_a_file_are_named_once(kind):
    with pytest.raises(kind) as error, named("dir/a.safetensors"), named("a.safetensors"):
        raise kind("CODE", "it is wrong")
    assert str(error.value) == "ERROR/CODE: a.safetensors: it is wrong"
    assert error.value.code == "CODE"
