"""Inpainting and localizing in a real ComfyUI: variants, training, bad input, Grad-CAM."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from .native_checkpoints import SD15
from .outcomes import pictures, refused, shown, shown_by, succeed
from .prompts import node
from .tiny_prompts import node_of, template

SIDE = 64


def repainting(**values):
    """Six photos through RePaint; every output is shown."""
    settings = {"prompt": "", "steps": 2, "jump_length": 5, "resamples": 3, "eta": 1.0, "cfg": 1.0,
                "mask_cells": "any", "seed": 0, "name": "repaint"}  # fmt: skip
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=SD15),
        "2": node("LoraForensicsPhotoFolder", folder="photos"),
        "3": node("LoraForensicsPhotosToImages", photos=["2", 0], resolution=SIDE),
        "4": node("LoraForensicsRandomMasks", images=["3", 0], kind="rectangle", seed=1),
        "5": node(
            "LoraForensicsRepaint",
            model=["1", 0], clip=["1", 1], vae=["1", 2], images=["3", 0], mask=["4", 0],
            **settings | values,
        ),
        "6": node("MaskToImage", mask=["4", 0]),
        "7": node("PreviewImage", images=["3", 0]),
        "8": node("PreviewImage", images=["5", 0]),
        "9": node("PreviewImage", images=["5", 1]),
        "10": node("PreviewImage", images=["5", 2]),
        "11": node("PreviewImage", images=["6", 0]),
    }  # fmt: skip


def test_variants_are_what_they_say(server):
    history = succeed(server, repainting())
    photos, spliced, whole, back, masks = (
        pictures(server, history, k) for k in ("7", "8", "9", "10", "11")
    )
    assert len(photos) == len(spliced) == len(whole) == len(back) == len(masks) == 6
    for photo, cut, drawn, mask in zip(photos, spliced, whole, masks, strict=True):
        hole = mask[..., 0] > 127
        assert 0.02 < hole.mean() < 0.5
        assert np.array_equal(cut[~hole], photo[~hole])
        assert np.array_equal(cut[hole], drawn[hole])
        assert np.abs(drawn[hole] - photo[hole]).mean() > 1
    assert any(np.abs(a - b).mean() > 0.5 for a, b in zip(back, photos, strict=True))


def test_sides_that_the_vae_cannot_take_are_padded(server):
    prompt = repainting()
    prompt["3"]["inputs"]["resolution"] = 70
    shown = pictures(server, succeed(server, prompt), "9")
    assert {image.shape for image in shown} == {(70, 70, 3)}


def test_a_prompt_about_a_minor_stops(server):
    refused(server, repainting(prompt="a photo of a little girl"), "MINOR_SUSPECTED")


def test_a_mask_of_another_size_is_named(server):
    prompt = repainting()
    prompt["12"] = node("SolidMask", value=1.0, width=32, height=64)
    prompt["5"]["inputs"]["mask"] = ["12", 0]
    refused(server, prompt, "MASK_SIZE")
    prompt["12"] = node("SolidMask", value=0.0, width=SIDE, height=SIDE)
    refused(server, prompt, "EMPTY_MASK")


def test_template_measures_its_maps(server):
    prompt = template("inpaint_localize")
    history = succeed(server, prompt)
    table = shown_by(history, prompt, "Maps against masks").splitlines()
    assert table[0] == "map\tIoU\tF1\tPBCA\tpixel AP"
    assert len(table) == 1 + 6 + 3
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in table}
    alone = [float(rows[str(i)][0]) for i in range(1, 7)]
    assert float(rows["mean"][0]) == pytest.approx(np.mean(alone), abs=1e-3)
    assert 0 < float(rows["marking all"][0]) < 0.5
    words = shown_by(history, prompt, "In words")
    assert words.count("image ") >= 6
    assert "never seen in training" in words
    assert "lead, not proof" in words


def test_training_makes_a_file_that_can_be_picked(server):
    prompt = template("train_localizer")
    card = shown_by(succeed(server, prompt), prompt, "What it can do")
    assert "my_localizer.safetensors" in card
    assert "repaint, spliced (seen in training)" in card
    assert "SHA-256" in card
    prompt = {
        "1": node("LoadImage", image="example.png"),
        "2": node("LoraForensicsLoadLocalizer", name="my_localizer.safetensors"),
        "3": node(
            "LoraForensicsLocalize", localizer=["2", 0], images=["1", 0], views=2, overlap=0.25,
            batch=4, gate="off", threshold=0.5,
        ),
        "4": node("PreviewAny", source=["3", 5]),
        "5": node("PreviewImage", images=["3", 1]),
    }  # fmt: skip
    assert "% marked" in shown(succeed(server, prompt), "4")


def test_examples_of_another_tool_and_a_set_to_measure_on(server):
    prompt = template("train_localizer")
    train = node_of(prompt, "LoraForensicsTrainLocalizer")
    repaint = node_of(prompt, "LoraForensicsRepaint")
    inputs = prompt[repaint]["inputs"]
    prompt["50"] = node("ImageInvert", image=inputs["images"])
    prompt["51"] = node(
        "LoraForensicsExamplesFromImages", images=inputs["images"], mask=inputs["mask"],
        repainted=["50", 0], name="inverted",
    )  # fmt: skip
    prompt[train]["inputs"] |= {"outside": ["51", 0], "name": "two", "method": "attention"}
    card = shown_by(succeed(server, prompt), prompt, "What it can do")
    assert "outside: inverted, spliced (never seen in training)" in card
    assert "localizer: attention" in card


def test_too_few_photos_to_train_on_are_named(server):
    prompt = repainting() | {"3": node("LoadImage", image="example.png")}
    whole = template("train_localizer")
    form = whole[node_of(whole, "LoraForensicsTrainLocalizer")]["inputs"]
    prompt["12"] = node("LoraForensicsTrainLocalizer", **form | {"examples": ["5", 3]})
    refused(server, prompt, "TOO_FEW_EXAMPLES")


def test_other_files_and_small_pictures_are_named(server):
    folder = server.base / "models" / "localizers"
    folder.mkdir(exist_ok=True)
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(4, 2)}, folder / "lora.safetensors")
    prompt = template("inpaint_localize")
    key = node_of(prompt, "LoraForensicsLoadLocalizer")
    prompt[key]["inputs"]["name"] = "lora.safetensors"
    refused(server, prompt, "NOT_A_LOCALIZER")
    prompt = template("inpaint_localize")
    look = node_of(prompt, "LoraForensicsLocalize")
    prompt["60"] = node("EmptyImage", width=20, height=20, batch_size=1, color=0)
    prompt[look]["inputs"]["images"] = ["60", 0]
    refused(server, prompt, "IMAGE_TOO_SMALL")


def test_grad_cam_of_a_classifier_of_one_s_own(server):
    folder = server.base / "models" / "classifiers"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    network = models.resnet18(num_classes=2)
    save_file(network.state_dict(), folder / "net.safetensors")
    prompt = {
        "1": node("LoadImage", image="example.png"),
        "2": node(
            "LoraForensicsGradCam", images=["1", 0], file="net.safetensors",
            architecture="resnet18", layer="layer4", target=1, side=64, normalisation="imagenet",
        ),
        "3": node("PreviewAny", source=["2", 2]),
        "4": node("PreviewImage", images=["2", 1]),
    }  # fmt: skip
    rows = shown(succeed(server, prompt), "3").splitlines()
    assert rows[0] == "image\tlogit\tprobability"
    assert 0 < float(rows[1].split("\t")[2]) < 1
    refused(server, json.loads(json.dumps(prompt).replace("layer4", "layer9")), "BAD_LAYER")
    refused(server, json.loads(json.dumps(prompt).replace("resnet18", "resnet50")), "WRONG_WEIGHTS")
