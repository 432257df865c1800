"""Baselines of the attack in a real ComfyUI, and the attack's own settings."""

from __future__ import annotations

import pytest

from .outcomes import refused, shown, shown_by, succeed
from .prompts import node
from .tiny_prompts import TINY, node_of, template, with_node

PHOTOS, CONTROLS = 6, 12


@pytest.fixture(scope="module")
def run(server):
    prompt = template("black_box_membership")
    return succeed(server, prompt), prompt


def test_template_says_what_each_baseline_measures(run):
    for method in ("centroid", "gan_leaks_cosine"):
        text = shown_by(*run, f"In words: {method}")
        assert text.startswith(f"{method}: ")
        assert "minus the same under the base's images" in text
        assert "permutation p = " in text


def test_attack_words_give_notes_and_both_intervals(run):
    text = shown_by(*run, "In words")
    assert "Over 2 seeds the AUC is" in text
    assert "the paper's too narrow interval" in text
    assert "The network started at random" in text


def test_attack_takes_the_paper_s_settings(server, run):
    prompt = with_node(
        run[1],
        node_of(run[1], "LoraForensicsTrainAttack"),
        augment="none", selection="last", scores="softmax", holdout=0.0, name="paper",
    )  # fmt: skip
    assert "The last epoch was kept" in shown_by(succeed(server, prompt), prompt, "In words")
    train = node_of(prompt, "LoraForensicsTrainAttack")
    refused(server, with_node(prompt, train, selection="best", name="refused"), "BAD_SETTING")


def test_all_methods_with_and_without_the_base(server, run):
    prompt = dict(run[1])
    inputs = prompt[node_of(prompt, "LoraForensicsBaselines", "Baseline centroid")]["inputs"]
    alone = {k: v for k, v in inputs.items() if k != "base_generated"}
    methods = ("centroid", "gan_leaks", "gan_leaks_cosine", "set_membership")
    jobs = [(m, given) for m in methods for given in (inputs, alone)]
    for i, (method, given) in enumerate(jobs):
        prompt[f"9{i}"] = node("LoraForensicsBaselines", **given | {"method": method})
        prompt[f"8{i}"] = node("PreviewAny", source=[f"9{i}", 3])
    history = succeed(server, prompt)
    texts = [shown(history, f"8{i}") for i in range(len(jobs))]
    assert len(set(texts)) == len(texts)
    assert [("minus the same" in t) for t in texts] == [given is inputs for _, given in jobs]


def test_arms_that_do_not_match_are_refused(server, run):
    base = node_of(run[1], "LoraForensicsMultiCfgSampler", "Base's images")
    refused(server, with_node(run[1], base, seed=7), "BAD_ARMS")


def reconstruction(prompt, **values):
    baseline = prompt[node_of(prompt, "LoraForensicsBaselines", "Baseline centroid")]["inputs"]
    train = prompt[node_of(prompt, "LoraForensicsMultiCfgSampler", "Suspect's images")]["inputs"]
    shared = {k: baseline[k] for k in ("suspect", "descriptor", "photos", "controls", "resolution")}
    given = {
        "vae": train["vae"], "photo_captions": "a northgate headshot", "control_captions": "",
        "images": 1, "scale": 3.0, "calibrate": "none", "sampler": "ddim", "steps": TINY["steps"],
        "batch": 32, "seed": 0,
    }  # fmt: skip
    kept = {k: v for k, v in prompt.items() if not v["class_type"].startswith("Preview")}
    kept["90"] = node("LoraForensicsReconstruction", **shared | given | values)
    kept["91"] = node("PreviewAny", source=["90", 3])
    kept["92"] = node("PreviewAny", source=["90", 2])
    return kept


def drawings(server):
    work = server.base / "output" / "lora_forensics" / "work"
    return {p: p.stat().st_mtime_ns for p in work.rglob("img/*.png")}


def test_reconstruction_draws_each_caption_and_keeps_the_drawings(server, run):
    before = drawings(server)
    plain = succeed(server, reconstruction(run[1]))
    drawn = drawings(server)
    assert len(drawn) - len(before) == PHOTOS + CONTROLS
    assert len(shown(plain, "92").splitlines()) == 1 + PHOTOS
    calibrated = succeed(server, reconstruction(run[1], calibrate="base"))
    assert "minus the same under the base's images" in shown(calibrated, "91")
    after = drawings(server)
    assert len(after) - len(drawn) == PHOTOS + CONTROLS  # the base's only
    assert {p: after[p] for p in drawn} == drawn


def test_reconstruction_wants_a_caption_for_each(server, run):
    text = refused(server, reconstruction(run[1], control_captions="a\nb"), "CAPTION_COUNT")
    assert "2 captions for 12 controls" in text
