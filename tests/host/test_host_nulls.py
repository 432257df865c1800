"""Trained null models, further signals and heat maps, from the graph to the report."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from .outcomes import pictures, refused, report_of, shown_by, succeed
from .prompts import node
from .tiny_prompts import LORA, changed, node_of, template, with_node, without

KIND = "LoraForensicsWhiteBox"


@pytest.fixture(scope="module")
def run(server):
    """The white-box template, with its evidence and its report."""
    prompt = template("white_box_membership")
    return succeed(server, prompt), prompt


@pytest.fixture(scope="module")
def report(server, run):
    return report_of(server, *run)


def test_summary_ranks_noise_and_placebos_and_lists_signals(run):
    text = shown_by(*run, "Signals and null models")
    assert "2 null models of noise with the same norms" in text
    assert "2 null models trained on other photos" in text
    assert "(floor 0.33); 2 LoRAs of one folder" in text
    assert "further signals, for comparison: " in text
    assert " after Holm" in text


def test_report_has_both_ranks_the_signals_and_how_photos_were_read(report):
    _, told = report
    found = told["membership"]
    assert [r["kind"] for r in found["null_ranks"]] == ["noise", "placebo"]
    assert all(len(r["nulls"]) == 2 and np.isfinite(r["nulls"]).all() for r in found["null_ranks"])
    assert {s["name"] for s in found["signals"]} >= {"sima_delta", "pia_delta", "fusion"}
    assert len(told["canonical"]) == 2
    assert "64 x 64" in told["canonical"][1]


def test_each_photo_has_a_heat_map_in_report_and_graph(server, run, report):
    history, prompt = run
    folder, told = report
    maps = [folder / photo["heat"] for photo in told["photos"]]
    assert all(path.is_file() for path in maps)
    assert len({path.read_bytes() for path in maps}) == len(maps) == 6
    images = pictures(server, history, node_of(prompt, "PreviewImage", "Where the adapter helps"))
    assert len(images) == 6
    assert all(np.ptp(image - image.mean(2, keepdims=True)) > 8 for image in images)  # tinted


def test_grid_measures_fewer_signals_at_no_cost(server, run):
    prompt = changed(without(run[1], "LoraForensicsPlacebos"), signals="grid", nulls=0)
    text = shown_by(succeed(server, prompt), prompt, "Signals and null models")
    assert "null models" not in text
    assert "SimA" not in text


def test_deep_says_what_it_could_not_measure(server, run):
    """The text encoder is changed too: other strengths need a CLIP of their own."""
    prompt = changed(without(run[1], "LoraForensicsPlacebos"), signals="deep", nulls=0)
    text = shown_by(succeed(server, prompt), prompt, "Signals and null models")
    assert "no embedding was given" in text
    assert "Strength curve AUC" in text
    assert "by caption" not in text  # all photos had one caption: there is nothing to shuffle


def test_old_workflows_without_the_new_inputs_still_run(server, run):
    prompt = without(run[1], "LoraForensicsPlacebos")
    inputs = prompt[node_of(prompt, KIND)]["inputs"]
    for name in ("signals", "null_noises"):
        del inputs[name]
    text = shown_by(succeed(server, prompt), prompt, "Signals and null models")
    assert "further signals" in text


@pytest.fixture
def placebo_folder(native_folder):
    """A new folder of LoRAs with the tests' placebos in it."""
    folder = native_folder / "loras" / "mixed_placebos"
    shutil.copytree(native_folder / "loras" / "placebos", folder)
    yield folder
    shutil.rmtree(folder)


def with_folder(prompt, folder):
    return with_node(prompt, node_of(prompt, "LoraForensicsPlacebos"), folder=folder)


def test_the_suspect_is_no_placebo(server, run, placebo_folder):
    shutil.copyfile(placebo_folder.parent / LORA, placebo_folder / "other_name.safetensors")
    assert "other_name" in refused(server, with_folder(run[1], "mixed_placebos"), "SAME_ADAPTER")


def test_nor_is_a_copy_with_another_hash(server, run, placebo_folder):
    again = load_file(placebo_folder.parent / LORA)
    save_file(again, placebo_folder / "saved_again.safetensors", {"by": "another"})
    text = refused(server, with_folder(run[1], "mixed_placebos"), "SAME_ADAPTER")
    assert "saved_again.safetensors is the suspect" in text


def test_a_placebo_of_another_base_is_named(server, run, placebo_folder):
    source = placebo_folder.parent / "sd3_split.safetensors"
    shutil.copyfile(source, placebo_folder / "foreign.safetensors")
    refused(server, with_folder(run[1], "mixed_placebos"), "WRONG_BASE", "NOT_APPLIED")


def test_no_such_folder(server, run):
    for folder in ("nowhere", "..", ""):
        refused(server, with_folder(run[1], folder), "MISSING_FOLDER")


def test_placebos_of_another_suspect(server, run):
    prompt = dict(run[1])
    loader = prompt[node_of(prompt, "LoraForensicsLoadSuspect")]["inputs"]
    prompt["90"] = node(
        "LoraForensicsLoadSuspect", **loader | {"lora_name": "sd15_kohya.safetensors"}
    )
    prompt = with_node(prompt, node_of(prompt, "LoraForensicsPlacebos"), suspect=["90", 0])
    refused(server, prompt, "MIXED_EVIDENCE")
