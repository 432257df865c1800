"""Decoys, canonical photos, captions and watermarks in a real ComfyUI."""

from __future__ import annotations

import json
import re
import shutil
import stat

import numpy as np
import pytest
from PIL import Image
from tiny_blip import write_blip

from .outcomes import pictures, refused, report_of, shown, shown_by, succeed
from .prompts import node
from .tiny_prompts import TINY, made_decoys, node_of, template, with_node, without

LOADER = "LoraForensicsPhotoFolder"


@pytest.fixture(scope="module")
def made(server):
    """Nine decoys of half of the photos, made in the graph."""
    history = succeed(server, made_decoys("nine", kind="subset", decoys=9))
    folder = server.base / "output" / "lora_forensics" / "decoys" / "nine"
    return shown(history, "2"), folder


def ranking(**values):
    return template("decoys", folder="nine", **values) | {
        "1": node(LOADER, folder="photos"),
    }


def test_one_half_is_published_and_the_secret_kept(made):
    text, folder = made
    secret = json.loads((folder / "secret.json").read_text())
    assert secret["commitment"] in text
    assert "output/lora_forensics/decoys/nine/publish" in text
    assert len(list((folder / "publish").glob("*.png"))) == 3
    assert stat.S_IMODE((folder / "secret.json").stat().st_mode) == 0o600


def test_no_second_secret_in_one_place(server, made):
    before = (made[1] / "secret.json").read_bytes()
    refused(server, made_decoys("nine", kind="subset", decoys=8), "NOT_EMPTY")
    assert (made[1] / "secret.json").read_bytes() == before


def test_decoys_need_files(server):
    prompt = made_decoys("pixels")
    prompt |= {
        "3": node("EmptyImage", width=64, height=64, batch_size=2, color=0),
        "1": node("LoraForensicsPhotosFromImages", images=["3", 0]),
    }
    refused(server, prompt, "NO_FILES")


def test_the_rank_is_exact_and_resumes(server, made):
    prompt = ranking()
    text = shown_by(succeed(server, prompt), prompt, "In words")
    p = float(re.search(r"p = ([\d.]+) \(floor 0.1\)", text)[1])
    assert round(p * 10) in range(1, 11)
    other = ranking(seed=5)
    assert shown_by(succeed(server, other), other, "In words") != text
    again = succeed(server, prompt)
    assert shown_by(again, prompt, "In words") == text


def test_the_rank_goes_into_verdict_and_report(server, made):
    commitment = shown(succeed(server, made_decoys("words", kind="token", decoys=9)), "2")
    whole = without(template("white_box_membership", nulls=0), "LoraForensicsPlacebos")
    rank = ranking()[node_of(ranking(), "LoraForensicsRankDecoys")]
    suspect = node_of(whole, "LoraForensicsLoadSuspect")
    inputs = rank["inputs"] | {"suspect": [suspect, 0], "vae": ["1", 2], "photos": ["4", 0]}
    inputs["folder"] = "words"
    whole["90"] = node("LoraForensicsRankDecoys", **inputs)
    whole = with_node(whole, node_of(whole, "LoraForensicsVerdict"), decoys=["90", 0])
    _, report = report_of(server, succeed(server, whole), whole)
    assert report["decoys"]["k"] == 9
    assert report["decoys"]["commitment"] in commitment
    half = with_node(whole, "90", folder="nine")
    assert "0 of" not in refused(server, half, "OTHER_PHOTOS"), "half of the photos were published"
    other = whole | {"91": node("LoraForensicsLoadSuspect", **whole[suspect]["inputs"])}
    other["91"]["inputs"]["lora_name"] = "sd15_kohya.safetensors"
    other = with_node(other, "90", suspect=["91", 0])
    refused(server, other, "OTHER_SUSPECT")


def test_other_photos_and_a_changed_secret_are_refused(server, made):
    refused(server, ranking() | {"1": node(LOADER, folder="controls")}, "PHOTOS_CHANGED")
    rank = node_of(ranking(), "LoraForensicsRankDecoys")
    refused(server, with_node(ranking(), rank, folder="nowhere"), "MISSING_FOLDER")
    changed = made[1].with_name("changed")
    shutil.copytree(made[1], changed)
    secret = json.loads((changed / "secret.json").read_text())
    secret["index"] = (secret["index"] + 1) % 10
    (changed / "secret.json").write_text(json.dumps(secret))
    refused(server, with_node(ranking(), rank, folder="changed"), "SECRET_CHANGED")


def canonical_prompt(**values):
    """The white-box template on canonical photos."""
    prompt = without(template("white_box_membership", nulls=0), "LoraForensicsPlacebos")
    suspect = node_of(prompt, "LoraForensicsLoadSuspect")
    # The tests' random codec would make one grey picture of all photos.
    given = {"codec": "off", "jpeg": 80, "resolution": TINY["resolution"]} | values
    sets = {"photos": ["4", 0], "controls": ["5", 0]}
    prompt["90"] = node(
        "LoraForensicsCanonical", suspect=[suspect, 0], vae=["1", 2], **sets, **given
    )
    for kind in ("LoraForensicsWhiteBox", "LoraForensicsVerdict"):
        prompt = with_node(prompt, node_of(prompt, kind), photos=["90", 0], controls=["90", 1])
    return prompt


def test_canonical_photos_go_through_the_whole_case(server):
    prompt = canonical_prompt()
    _, report = report_of(server, succeed(server, prompt), prompt)
    assert len(report["canonical"]) == 3
    assert "quality 80" in report["canonical"][2]
    assert (len(report["photos"]), len(report["controls"])) == (6, 12)


def test_sets_treated_differently_are_refused(server):
    prompt = canonical_prompt()
    white_box = node_of(prompt, "LoraForensicsWhiteBox")
    refused(server, with_node(prompt, white_box, controls=["5", 0]), "MIXED_EVIDENCE")
    refused(server, with_node(prompt, white_box, resolution=72), "OTHER_SIZE")


def test_captions_of_a_brought_blip(server):
    folder = server.base / "models" / "blip"
    write_blip(folder / "tiny")
    (folder / "bare").mkdir()
    prompt = {
        "1": node(LOADER, folder="photos"),
        "2": node("LoraForensicsCaption", photos=["1", 0], folder="tiny", prefix=""),
        "3": node("PreviewAny", source=["2", 1]),
    }
    rows = shown(succeed(server, prompt), "3").splitlines()
    assert rows[0] == "photo\tcaption"
    assert [row.split("\t")[0] for row in rows[1:]] == [f"{i:02}.png" for i in range(6)]
    assert "config.json" in refused(server, with_node(prompt, "2", folder="bare"), "NO_BLIP")
    refused(server, with_node(prompt, "2", folder="nowhere"), "MISSING_FOLDER")
    refused(server, with_node(prompt, "2", folder="../loras"), "OUTSIDE_FOLDER")


@pytest.fixture(scope="module")
def grey(server):
    """A grey picture and a logo with a hole, in ComfyUI's input folder."""
    Image.new("RGB", (128, 128), (100, 100, 100)).save(server.base / "input" / "grey.png")
    logo = np.zeros((20, 20, 4), np.uint8)
    logo[..., 0], logo[:10, :, 3] = 255, 255
    Image.fromarray(logo, "RGBA").save(server.base / "input" / "logo.png")


def marked(server, **inputs):
    prompt = {
        "1": node("LoadImage", image="grey.png"),
        "2": node("LoadImage", image="logo.png"),
        "3": node("LoraForensicsWatermark", images=["1", 0], **inputs),
        "4": node("PreviewImage", images=["3", 0]),
    }
    (image,) = pictures(server, succeed(server, prompt), "4")
    return image


def test_a_visible_mark_keeps_to_its_mask(server, grey):
    image = marked(server, kind="visible", logo=["2", 0], mask=["2", 1])
    assert (image[3, 10] == (255, 0, 0)).all()  # a corner of 25 pixels, one from the edges
    assert (image[20, 10] == 100).all()  # the transparent half
    assert (image[60:, 60:] == 100).all()
    whole = marked(server, kind="visible", logo=["2", 0])
    assert (whole[20, 10] != 100).any()


def test_a_faint_mark_is_two_levels_at_most(server, grey):
    image = marked(server, kind="faint")
    change = np.abs(image - 100)
    assert 0 < change.max() <= 2


def test_a_mask_without_its_logo_is_refused(server, grey):
    prompt = {
        "1": node("LoadImage", image="grey.png"),
        "3": node("LoraForensicsWatermark", images=["1", 0], kind="faint", mask=["1", 1]),
        "4": node("PreviewImage", images=["3", 0]),
    }
    refused(server, prompt, "BAD_SHAPE")
