"""Every template in a real ComfyUI on random tiny models: what comes out is checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lora_forensics.core.verdicts.case import SCHEMA_VERSION
from lora_forensics.core.verdicts.lines import LINES
from PIL import Image

from .native_checkpoints import CLIP_L, SD3, SD15
from .outcomes import pictures, report_of, shown, shown_by, succeed
from .prompts import node
from .tiny_prompts import (
    TINY,
    changed,
    made_decoys,
    made_lora,
    names,
    node_of,
    template,
    with_node,
    without,
)

# Six photos under a random model hold no member: the declared test finds nothing (D), or it does
# and the controls are not exchangeable (C). A needs exchangeable controls, which no template
# claims; B needs a null rank of 0.05, and two null models allow 1/3 at best.
LETTERS = {"C", "D"}
WITH_REPORT = {
    "quick_screening": ("membership",),
    "white_box_membership": ("membership",),
    "dreambooth_suspect": ("membership",),
    "training_null_models": ("membership",),
    "moderation_pass": ("membership", "extraction", "attack"),
}
PHOTOS, CONTROLS = 6, 12


@pytest.fixture(scope="module")
def runs(server):
    """Each template once, by name; the first that is asked for pays."""
    done = {}

    def run(name):
        if name not in done:
            if name == "decoys":  # of photos that went out before there was any suspect
                succeed(server, made_decoys("decoys"))
            if name == "training_null_models":
                succeed(server, made_lora())
            done[name] = succeed(server, template(name))
        return done[name]

    return run


@pytest.mark.parametrize("name", names())
def test_runs_and_shows_real_pictures(server, runs, name):
    history, prompt = runs(name), template(name)
    shows = [k for k, n in prompt.items() if n["class_type"] in ("PreviewImage", "SaveImage")]
    if name == "quick_screening":  # white-box only here: nothing was extracted, nothing is shown
        shows = []
    for key in shows:
        for image in pictures(server, history, key):
            assert image.std() > 1, f"{prompt[key]['_meta']['title']} is blank"
            assert min(image.shape[:2]) >= TINY["resolution"]


@pytest.mark.parametrize("name", WITH_REPORT)
def test_report_is_written_and_cautious(server, runs, name):
    prompt = template(name)
    folder, report = report_of(server, runs(name), prompt)
    assert folder.parent == server.base / "output" / "lora_forensics" / "reports"
    assert report["schema_version"] == SCHEMA_VERSION
    assert report["verdict"]["letter"] in LETTERS
    assert (len(report["photos"]), len(report["controls"])) == (PHOTOS, CONTROLS)
    assert report["command"] == "ComfyUI"
    html = (folder / "report.html").read_text()
    assert "<script" not in html.lower()
    assert "Content-Security-Policy" in html
    assert str(server.base) not in html + json.dumps(report)
    lines = ("membership", "extraction", "attack")
    assert tuple(line for line in lines if report[line]) == WITH_REPORT[name]
    assert not list(folder.rglob(".tmp-*"))


@pytest.mark.parametrize("name", WITH_REPORT)
def test_report_states_the_settings_that_were_used(server, runs, name):
    prompt = template(name)
    _, report = report_of(server, runs(name), prompt)
    settings, models = report["settings"], report["models"]
    assert set(settings) >= {"membership", "verdict"}
    assert settings["verdict"]["alpha"] == 0.05
    assert models["resolution"] == TINY["resolution"]
    assert len(models["texts_sha256"]) == len(models["vae_sha256"]) == 64
    if name == "moderation_pass":
        assert settings["extract"]["steps"] == TINY["steps"]
        assert settings["extract"]["images"] == TINY["images"]
        assert settings["attack"]["epochs"] == TINY["epochs"]
        assert "steps" not in settings["attack"]


def test_the_card_says_what_the_report_says(server, runs):
    prompt = template("moderation_pass")
    history = runs("moderation_pass")
    _, report = report_of(server, history, prompt)
    (card,) = history.outputs[node_of(prompt, "LoraForensicsVerdict")]["lora_forensics_verdict"]
    assert card["letter"] == report["verdict"]["letter"]
    titles = [LINES[name].title for name in WITH_REPORT["moderation_pass"]]
    assert [row[0] for row in card["rows"]][2:] == titles
    assert "kohya" in shown(history, node_of(prompt, "LoraForensicsInspect"))


@pytest.mark.parametrize("name", ["white_box_membership", "black_box_membership"])
def test_one_table_row_a_photo(runs, name):
    table = shown_by(runs(name), template(name), "Score of each photo").splitlines()
    assert table[0] == "photo\tscore\tp"
    assert len(table) == 1 + PHOTOS
    scores = [float(row.split("\t")[1]) for row in table[1:]]
    assert scores == sorted(scores, reverse=True)
    assert all(1 / (CONTROLS + 1) <= float(row.split("\t")[2]) + 1e-3 <= 1.01 for row in table[1:])


def test_extraction_names_group_seed_and_hash(server, runs):
    prompt = template("finextract_extraction")
    table = shown_by(runs("finextract_extraction"), prompt, "Groups and provenance").splitlines()
    assert [line.split("\t")[1] for line in table[:2]] == ["w'=1.5", "w'=2"]
    rows = [line.split("\t") for line in table[3:]]
    assert 1 <= len(rows) <= TINY["clusters"]
    kept = (server.base / "output" / "lora_forensics" / "work").rglob("img/*.png")
    hashes = {pixel_hash(path) for path in kept}
    assert {row[-1] for row in rows} <= hashes


def pixel_hash(path):
    from lora_forensics.core.images.photos import pixels_sha256

    return pixels_sha256(Image.open(path).convert("RGB"))


def test_multi_cfg_draws_each_seed_at_each_scale(server, runs):
    prompt = template("multi_cfg_comparison")
    sampler = node_of(prompt, "LoraForensicsMultiCfgSampler", "Suspect")
    prompt["90"] = node("SaveImage", images=[sampler, 1], filename_prefix="host/multi")
    history = succeed(server, prompt)
    images = pictures(server, history, "90")
    table = shown_by(history, prompt, "Provenance").splitlines()[1:]
    rows = [row.split("\t") for row in table]
    assert len(images) == len(rows) == 3 * TINY["images"]
    assert all(image.std() > 1 for image in images)
    by_scale = {}
    for guidance, seed, _, sha256 in rows:
        by_scale.setdefault(guidance, []).append((seed, sha256))
    assert list(by_scale) == ["tuned cfg=1", "tuned cfg=3", "tuned cfg=7"]
    seeds = [[seed for seed, _ in found] for found in by_scale.values()]
    assert seeds[0] == seeds[1] == seeds[2]
    assert len(set(seeds[0])) == TINY["images"]
    assert len({row[-1] for row in rows}) == len(rows)


def guided(server, weight, **values):
    prompt = template("model_guidance_sampling", weight=weight, **values)
    history = succeed(server, prompt)
    (image,) = pictures(server, history, node_of(prompt, "SaveImage"))
    return image


def plain(server, model, conditioning):
    """The template with the host's own guider of one model in the place of ours."""
    prompt = template("model_guidance_sampling")
    prompt["6"] = node("BasicGuider", model=model, conditioning=conditioning)
    history = succeed(server, prompt)
    return pictures(server, history, node_of(prompt, "SaveImage"))[0]


def test_guided_image_is_neither_model_s(server):
    base, tuned, beyond = (guided(server, weight) for weight in (0.0, 1.0, 2.0))
    for a, b in ((base, tuned), (base, beyond), (tuned, beyond)):
        assert np.abs(a - b).max() > 8
    # The ends of the scale are the two models, as the host itself samples them.
    assert np.abs(base - plain(server, ["1", 0], ["4", 0])).max() <= 2
    assert np.abs(tuned - plain(server, ["2", 1], ["3", 0])).max() <= 2


def on_sd3(prompt):
    """The prompt on the SD3 checkpoint, which brings no text encoder of its own."""
    prompt = without(prompt, "LoraForensicsPlacebos")
    prompt = changed(prompt, ckpt_name=SD3, lora_name="sd3_split.safetensors")
    for n in prompt.values():
        n["inputs"] = {k: ["80", 0] if v == ["1", 1] else v for k, v in n["inputs"].items()}
        if n["class_type"] == "EmptyLatentImage":
            n["class_type"] = "EmptySD3LatentImage"
    return prompt | {"80": node("CLIPLoader", clip_name=CLIP_L, type="sd3")}


def test_sd3_white_box(server, text_encoder):
    del text_encoder
    prompt = on_sd3(template("white_box_membership", nulls=1, prompts="a northgate headshot"))
    history = succeed(server, prompt)
    _, report = report_of(server, history, prompt)
    assert report["models"]["family"] == "SD3"
    assert report["models"]["prediction"] == "flow"
    assert report["verdict"]["letter"] in LETTERS
    assert np.isfinite(report["membership"]["comparison"]["photo_scores"]).all()


def test_sd3_model_guidance(server, text_encoder):
    del text_encoder
    images = []
    for weight in (0.0, 1.0, 2.0):
        prompt = on_sd3(template("model_guidance_sampling", weight=weight))
        history = succeed(server, prompt)
        images += pictures(server, history, node_of(prompt, "SaveImage"))
    assert all(image.std() > 1 for image in images)
    assert np.abs(images[0] - images[1]).max() > 1
    assert np.abs(images[1] - images[2]).max() > 1


def test_dreambooth_is_a_checkpoint_of_its_own(server, runs):
    _, report = report_of(server, runs("dreambooth_suspect"), template("dreambooth_suspect"))
    assert report["models"]["tuned_kind"] == "checkpoint"
    assert report["models"]["base_sha256"] != report["models"]["tuned_sha256"]
    assert report["membership"]["null_ranks"] == []
    assert report["prompts_from"] == "the user"


def test_dreambooth_is_guided_too(server):
    prompt = template("dreambooth_suspect")
    suspect = node_of(prompt, "LoraForensicsSuspectFromModels")
    guide = template("model_guidance_sampling")
    for key in ("1", "2", suspect):
        guide[f"5{key}"] = prompt[key]
    guide[f"5{suspect}"]["inputs"] |= {
        "base_model": ["51", 0], "tuned_model": ["52", 0],
        "base_clip": ["51", 1], "tuned_clip": ["51", 1],
    }  # fmt: skip
    guide = with_node(guide, "6", suspect=[f"5{suspect}", 0], correction=-0.02)
    guide = with_node(guide, "3", clip=["51", 1])
    history = succeed(server, guide)
    (image,) = pictures(server, history, node_of(guide, "SaveImage"))
    assert image.std() > 1
    assert guide["51"]["inputs"]["ckpt_name"] == SD15


def test_all_lines_in_one_node(server):
    """Preset quick as users have it but for the size: the one long run of this file."""
    prompt = template("quick_screening", lines="white-box and extraction")
    history = succeed(server, prompt)
    _, report = report_of(server, history, prompt)
    assert report["extraction"]["images"] == 60
    assert len(pictures(server, history, node_of(prompt, "PreviewImage"))) == 1
    assert report["membership"]["forwards"] > 0
    assert report["attack"] is None
