"""Wrong files, wrong links, wrong numbers: each ends in a named error, and nothing is written."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from .native_checkpoints import SD15
from .outcomes import code_of, refused
from .prompts import node
from .server import RequestRefusedError
from .tiny_prompts import LORA, node_of, template, with_node, without


@pytest.fixture(scope="module")
def bad_files(server, native_folder, input_photos):
    """Folders and LoRAs that cannot be used."""
    inputs, loras = server.base / "input", native_folder / "loras"
    (inputs / "empty").mkdir()
    (inputs / "notes").mkdir()
    (inputs / "notes" / "readme.txt").write_text("no picture")
    first = sorted(input_photos.photos.glob("*.png"))[0]
    for folder, sources in (("one", [first]), ("mixed", [first, *input_photos.controls.glob("*")])):
        (inputs / folder).mkdir()
        for source in sources:
            shutil.copyfile(source, inputs / folder / f"{source.parent.name}-{source.name}")
    lora = load_file(loras / "sd15_kohya.safetensors")
    (loras / "bad_pickle.safetensors").write_bytes(pickle.dumps({"a": 1}))
    torch.save({"a": torch.zeros(2)}, loras / "bad_torch.safetensors")
    whole = (loras / "sd15_kohya.safetensors").read_bytes()
    (loras / "bad_torn.safetensors").write_bytes(whole[: len(whole) // 2])
    shutil.copyfile(native_folder / "checkpoints" / SD15, loras / "bad_checkpoint.safetensors")
    zero = {k: torch.zeros_like(v) if k.endswith("alpha") else v for k, v in lora.items()}
    save_file(zero, loras / "bad_zero_alpha.safetensors")
    zero = {k: torch.zeros_like(v) if "lora_up" in k else v for k, v in lora.items()}
    save_file(zero, loras / "bad_zero_up.safetensors")
    broken = {k: v.clone() for k, v in lora.items()}
    next(v for k, v in broken.items() if "lora_up" in k)[0] = float("nan")
    save_file(broken, loras / "bad_nan.safetensors")
    return loras


def written(server):
    """Reports, attack models and kept work; a refused prompt adds nothing to them."""
    root = server.base / "output" / "lora_forensics"
    return {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


def refuse(server, prompt, *codes):
    before = written(server)
    text = refused(server, prompt, *codes)
    assert written(server) == before
    return text


def refuse_with_report(server, prompt, *codes):
    """A file that cannot be analyzed leaves its report, which the error names, and nothing else."""
    before = written(server)
    text = refused(server, prompt, *codes)
    new = written(server).keys() - before.keys()
    assert {p.name for p in new} <= {"report.html", "report.json"}
    assert f"reports/{text.split('reports/')[1].split('/')[0]}" in text
    return text


FOLDERS = {
    "nowhere": "MISSING_FOLDER",
    "empty": "EMPTY_FOLDER",
    "notes": "EMPTY_FOLDER",
    "../output": "OUTSIDE_FOLDER",
    "one": "ONE_PHOTO",
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder(server, bad_files, folder):
    prompt = with_node(template("white_box_membership"), "4", folder=folder)
    refuse(server, prompt, FOLDERS[folder])


def test_too_few_controls(server, bad_files):
    prompt = with_node(template("white_box_membership"), "5", folder="one")
    assert "control" in refuse(server, prompt, "TOO_FEW_CONTROLS")


def test_photo_among_the_controls(server, bad_files):
    prompt = with_node(template("white_box_membership"), "5", folder="mixed")
    assert "take it out" in refuse(server, prompt, "DUPLICATE_PHOTOS")


LORAS = {
    "bad_pickle": ("PICKLE",),
    "bad_torch": ("PICKLE",),
    "bad_torn": ("TRUNCATED", "BAD_OFFSETS", "MALFORMED_HEADER"),
    "bad_checkpoint": ("NOT_A_LORA",),
    "bad_zero_alpha": ("NOT_APPLIED",),
    "bad_zero_up": ("NOT_APPLIED",),
    "bad_nan": ("NON_FINITE",),
    "sd3_split": ("WRONG_BASE", "NOT_APPLIED"),
}


@pytest.mark.parametrize("name", LORAS)
def test_lora(server, bad_files, name):
    prompt = template("model_guidance_sampling", lora_name=f"{name}.safetensors")
    refuse_with_report(server, prompt, *LORAS[name])


def test_strength_zero_is_no_suspect(server):
    refuse_with_report(server, template("model_guidance_sampling", strength=0.0), "NOT_APPLIED")


def test_the_base_is_no_suspect(server):
    prompt = template("dreambooth_suspect")
    prompt = with_node(prompt, "3", tuned_model=["1", 0])
    refuse(server, prompt, "NOT_APPLIED")


def test_arms_in_the_wrong_place(server):
    prompt = template("black_box_membership")
    server.run(prompt)
    swapped = with_node(prompt, "7", positives=["4", 0], negatives=["3", 0])
    assert "'base cfg=3' in the tuned arm" in refuse(server, swapped, "BAD_ARMS")
    other = with_node(prompt, "4", scales="5")
    assert "is in one only" in refuse_after_work(server, other, "BAD_ARMS")


def refuse_after_work(server, prompt, *codes):
    """Images may be kept before such an error; no result may be."""
    text = refused(server, prompt, *codes)
    assert not [p for p in written(server) if p.name.startswith(".tmp-") or p.name == "lock"]
    return text


def test_evidence_of_another_question(server, bad_files):
    prompt = template("white_box_membership")
    server.run(prompt)
    prompt["90"] = node("LoraForensicsPhotoFolder", folder="mixed")
    verdict = node_of(prompt, "LoraForensicsVerdict")
    prompt = with_node(prompt, verdict, photos=["5", 0], controls=["4", 0])
    assert "same suspect" in refuse(server, prompt, "MIXED_EVIDENCE")


def test_evidence_of_another_line(server):
    prompt = template("moderation_pass")
    server.run(prompt)
    kinds = ("LoraForensicsVerdict", "LoraForensicsJudgeExtraction")
    verdict, judge = (node_of(prompt, kind) for kind in kinds)
    wrong = with_node(prompt, verdict, membership=[judge, 0])
    assert "membership" in refuse(server, wrong, "BAD_INPUT")


def test_an_attack_on_another_suspect(server):
    prompt = template("black_box_membership")
    server.run(prompt)
    prompt["90"] = node(
        "LoraForensicsLoadSuspect",
        model=["1", 0],
        clip=["1", 1],
        lora_name="sd15_locon.safetensors",
        strength=1.0,
    )
    refuse(server, with_node(prompt, "8", suspect=["90", 0]), "MIXED_EVIDENCE")


NUMBERS = {
    ("multi_cfg_comparison", "scales"): ("", "three", "1, x", "nan", "1e999"),
    ("finextract_extraction", "pilot"): ("", "0.5", "99", "nan"),
    ("white_box_membership", "timesteps"): ("", "1000", "-1", "5.5"),
}


@pytest.mark.parametrize(
    ("name", "setting", "value"), [(*k, v) for k, values in NUMBERS.items() for v in values]
)
def test_numbers_are_checked_before_anything_runs(server, name, setting, value):
    prompt = template(name, **{setting: value})
    with pytest.raises(RequestRefusedError):
        server.post(prompt)
    refuse(server, prompt, "BAD_SETTING")


@pytest.mark.parametrize("value", [-1, 100_001])
def test_bounds_are_the_host_s(server, value):
    with pytest.raises(RequestRefusedError) as caught:
        server.post(template("multi_cfg_comparison", images=value))
    assert "value_" in str(caught.value.body)


BAD_NAMES = ["", "../case", "a b", "a/b", "x" * 65]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_of_an_attack_model(server, name):
    prompt = with_node(template("black_box_membership"), "7", name=name)
    prompt = without(prompt, "LoraForensicsBaselines")  # which would run all the same
    with pytest.raises(RequestRefusedError):
        server.post(prompt)
    refuse(server, prompt, "BAD_NAME")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_of_a_report(server, name):
    """The page marks the node at once; ComfyUI still runs the outputs that are well."""
    prompt = template("white_box_membership")
    report = node_of(prompt, "LoraForensicsReport")
    prompt = with_node(prompt, report, name=name)
    server.run(prompt)
    before = written(server)
    answer = json.loads(server.call("/prompt", {"prompt": prompt, "client_id": server.client_id}))
    (error,) = answer["node_errors"][report]["errors"]
    assert code_of(error["details"]) == "BAD_NAME"
    history = server.wait(answer["prompt_id"])
    assert history.status == "success"
    assert report not in history.outputs
    assert written(server) == before


def test_no_prompt_of_a_minor_is_ever_sampled(server):
    prompt = template("multi_cfg_comparison", prompts="photo of a 12 year old girl")
    refuse(server, prompt, "MINOR_SUSPECTED")


@pytest.mark.parametrize("lora", [LORA, "sd15_kohya.safetensors"])
def test_without_clip(server, lora):
    """Whether the file changes the text encoder, or prompts are to be read without one."""
    prompt = template("multi_cfg_comparison", lora_name=lora)
    del prompt["2"]["inputs"]["clip"]
    refuse(server, prompt, "NO_CLIP")


def test_resolution_that_the_vae_cannot_hold(server):
    refuse(server, template("white_box_membership", resolution=68), "BAD_SETTING")


def test_the_server_still_works(server):
    assert server.run(template("model_guidance_sampling", lora_name=LORA)).status == "success"
