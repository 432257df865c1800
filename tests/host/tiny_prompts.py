"""The API templates as they are committed, made small enough for a random model on a CPU."""

from __future__ import annotations

import copy
import json
from typing import Any

from . import ROOT
from .native_checkpoints import SD15, SD15_DREAMBOOTH
from .prompts import Node, node

API = ROOT / "workflows" / "api"
LORA = "sd15_text.safetensors"
KNOWN = "known"  # trained by `made_lora`, with a recipe in its metadata
SIDE = 64
TINY: dict[str, Any] = {
    "ckpt_name": SD15, "lora_name": LORA, "resolution": SIDE, "width": SIDE, "height": SIDE,
    "steps": 2, "images": 4, "pilot": "1.5, 2", "pilot_images": 4, "clusters": 3,
    "timesteps": "100, 500", "noises": 2, "nulls": 2, "permutations": 199, "seeds": 2, "epochs": 1,
    "lines": "white-box only", "iterations": 3, "count": 2,
}  # fmt: skip
Prompt = dict[str, Node]


def names() -> list[str]:
    """All templates."""
    return sorted(path.stem for path in API.glob("*.json"))


def template(name: str, **values: Any) -> Prompt:
    """A template with the tests' files and settings, and `values` on top, by input name."""
    prompt = json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    if name == "dreambooth_suspect":
        # The bare tuned file has no text encoder: both models read prompts with the base's.
        prompt["3"]["inputs"]["tuned_clip"] = prompt["3"]["inputs"]["base_clip"]
    prompt = changed(prompt, **(TINY | values))
    if name == "training_null_models":
        prompt = changed(prompt, lora_name=f"{KNOWN}.safetensors")
    if name == "train_localizer":
        prompt = with_node(prompt, node_of(prompt, "LoraForensicsTrainLocalizer"), width=0.1)
    if name == "dreambooth_suspect":
        prompt["2"]["inputs"]["ckpt_name"] = SD15_DREAMBOOTH
    return prompt


def made_decoys(name: str, **values: Any) -> Prompt:
    """What draws decoys of the photos, before any suspect is there."""
    settings = {"kind": "mark", "decoys": 3, "amplitude": 3, "grid": 16} | values
    return {
        "1": node("LoraForensicsPhotoFolder", folder="photos"),
        "2": node("LoraForensicsMakeDecoys", photos=["1", 0], name=name, **settings),
    }


def made_lora() -> Prompt:
    """What trains a LoRA of known truth."""
    form = {"layers": "attention", "rank": 2, "alpha": 0.0, "steps": 2, "batch": 2,
            "learning_rate": 1e-2, "warmup": 0, "decay": "constant", "flip": 0.0,
            "caption_dropout": 0.0, "save_every": 10, "seed": 0, "resolution": SIDE}  # fmt: skip
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=SD15),
        "2": node("LoraForensicsPhotoFolder", folder="photos"),
        "3": node(
            "LoraForensicsTrainLora",
            model=["1", 0], clip=["1", 1], vae=["1", 2], photos=["2", 0], caption="a face",
            name=KNOWN, **form,
        ),
    }  # fmt: skip


def changed(prompt: Prompt, **values: Any) -> Prompt:
    """A copy in which every literal input of these names has the new value."""
    prompt = copy.deepcopy(prompt)
    for one in prompt.values():
        for name, value in one["inputs"].items():
            if name in values and not isinstance(value, list):
                one["inputs"][name] = values[name]
    return prompt


def with_node(prompt: Prompt, key: str, **values: Any) -> Prompt:
    """A copy in which one node has these inputs."""
    prompt = copy.deepcopy(prompt)
    prompt[key]["inputs"] |= values
    return prompt


def without(prompt: Prompt, kind: str) -> Prompt:
    """A copy without a kind of node and without the links from it."""
    gone = {key for key, one in prompt.items() if one["class_type"] == kind}
    kept = {key: one for key, one in copy.deepcopy(prompt).items() if key not in gone}
    for one in kept.values():
        one["inputs"] = {
            k: v for k, v in one["inputs"].items() if not (isinstance(v, list) and v[0] in gone)
        }
    return kept


def node_of(prompt: Prompt, kind: str, title: str = "") -> str:
    """Id of the one node of a kind, and of a title if several are of that kind."""
    found = [
        key
        for key, one in prompt.items()
        if one["class_type"] == kind and title in ("", one["_meta"]["title"])
    ]
    assert len(found) == 1, f"{len(found)} nodes {kind} {title}"
    return found[0]
