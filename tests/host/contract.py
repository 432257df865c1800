"""The nodes' ids, inputs and outputs as saved workflows rely on them, and which changes are safe.

`tests/node_contract.json` is the committed one. Standard library only: unit tests read it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
CONTRACT = TESTS / "node_contract.json"
PREFIX = "LoraForensics"
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
CONTROLLED = ("seed", "noise_seed")
FILE_LISTS = (
    "ckpt_name", "lora_name", "clip_name", "folder", "LoraForensicsLoadAttack.name",
    "LoraForensicsLoadLocalizer.name", "LoraForensicsGradCam.file", "LoadImage.image",
)  # fmt: skip
"""Choices that are the user's own files: the names are no part of the contract."""
Form = Mapping[str, Any]
Contract = dict[str, dict[str, Any]]


def contract_of(object_info: Mapping[str, Form], core: Iterable[str] = ()) -> Contract:
    """Forms of the pack's nodes, and of those core nodes that templates use.

    Args:
        object_info: the server's ``/object_info``.
        core: ids of core nodes; of these, only what a workflow needs to know is kept.
    """
    own = sorted(name for name in object_info if name.startswith(PREFIX))
    return {
        "nodes": {name: _node(name, object_info[name]) for name in own},
        "core": {name: _node(name, object_info[name], own=False) for name in sorted(core)},
    }


def contract_text(contract: Contract) -> str:
    """Strict JSON, one input a line."""
    sections = []
    for section, nodes in contract.items():
        lines = [f"{json.dumps(name)}: {_node_text(node)}" for name, node in nodes.items()]
        sections.append(f"{json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _node_text(node: Mapping[str, Any]) -> str:
    parts = []
    for key, value in node.items():
        text = json.dumps(value, allow_nan=False)
        if key == "inputs":
            text = "[\n    " + ",\n    ".join(json.dumps(i, allow_nan=False) for i in value) + "]"
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "}"


def read_contract() -> Contract:
    return json.loads(CONTRACT.read_text(encoding="utf-8"))


def _node(name: str, form: Form, *, own: bool = True) -> dict[str, Any]:
    inputs = []
    for kind in ("required", "optional"):
        order = form["input_order"].get(kind, ())
        given = form["input"].get(kind, {})
        inputs += [_input(name, i, given[i], kind == "required", own=own) for i in order]
    outputs = zip(form["output_name"], form["output"], form["output_is_list"], strict=True)
    return {
        "display_name": form["display_name"],
        "output_node": form["output_node"],
        "inputs": inputs,
        "outputs": [{"name": n, "type": _type(t), "list": many} for n, t, many in outputs],
    }


def _type(declared: Any) -> str:
    return "COMBO" if isinstance(declared, list) else declared


def _input(node: str, name: str, declared: list[Any], required: bool, *, own: bool) -> Form:
    kind, more = _type(declared[0]), declared[1] if len(declared) > 1 else {}
    found: dict[str, Any] = {"name": name, "type": kind, "required": required}
    if kind not in WIDGETS or more.get("forceInput"):
        return found
    files = name in FILE_LISTS or f"{node}.{name}" in FILE_LISTS
    choices = declared[0] if isinstance(declared[0], list) else more.get("options", [])
    found |= {"widget": True, "default": more.get("default")}
    if kind == "COMBO" and files:
        found |= {"files": True, "default": None}
    elif kind == "COMBO":
        found["default"] = more.get("default", choices[0] if choices else None)
        found |= {"choices": list(choices)} if own else {}
    # As the page decides it: named so and nothing said means yes.
    if more.get("control_after_generate", kind == "INT" and name in CONTROLLED):
        found["control"] = True
    return found | {k: more[k] for k in ("min", "max", "multiline") if more.get(k) is not None}


def widgets(node: Mapping[str, Any]) -> list[Form]:
    """The inputs that have a widget, in the order of ``widgets_values``."""
    return [i for i in node["inputs"] if i.get("widget")]


def refusals(old: Contract, new: Contract) -> list[str]:
    """Changes that break saved workflows; empty when the new contract only adds to the old one.

    Allowed are new nodes, optional inputs at the end, outputs and choices at the end, wider
    bounds and other defaults.
    """
    found = []
    for name, before in old["nodes"].items():
        after = new["nodes"].get(name)
        if after is None:
            found.append(f"{name} is gone")
            continue
        found += [f"{name}: {text}" for text in _changed_inputs(before, after)]
        outputs = [
            [(o["name"], o["type"], o["list"]) for o in n["outputs"]] for n in (before, after)
        ]
        if outputs[1][: len(outputs[0])] != outputs[0]:
            found.append(f"{name}: outputs were {outputs[0]}, are {outputs[1]}")
        if before["output_node"] and not after["output_node"]:
            found.append(f"{name} is no output node any more")
    return found


def _changed_inputs(before: Form, after: Form) -> list[str]:
    old, new = before["inputs"], after["inputs"]
    names = [[i["name"] for i in inputs] for inputs in (old, new)]
    if names[1][: len(old)] != names[0]:
        return [f"inputs were {names[0]}, are {names[1]}; append only"]
    found = [f"{i['name']} is new and required" for i in new[len(old) :] if i["required"]]
    for was, now in zip(old, new, strict=False):
        found += [f"{was['name']}: {text}" for text in _changed_input(was, now)]
    return found


def _changed_input(was: Form, now: Form) -> list[str]:
    fixed = ("type", "required", "widget", "control", "files")
    found = [f"{k} was {was.get(k)}, is {now.get(k)}" for k in fixed if was.get(k) != now.get(k)]
    gone = [c for c in was.get("choices", ()) if c not in now.get("choices", ())]
    if gone and not now.get("files"):
        found.append(f"choices {gone} are gone")
    for side, worse in (("min", float.__gt__), ("max", float.__lt__)):
        bounds = was.get(side), now.get(side)
        if bounds[1] is not None and (
            bounds[0] is None or worse(float(bounds[1]), float(bounds[0]))
        ):
            found.append(f"{side} was {bounds[0]}, is {bounds[1]}")
    return found
