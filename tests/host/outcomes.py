"""How a prompt ended on the server, and what its nodes showed."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .server import ComfyServer, History, Prompt, RequestRefusedError
from .tiny_prompts import node_of

SENTENCE = re.compile(r"ERROR/([A-Z_0-9]+): .{20,}", re.DOTALL)


def succeed(server: ComfyServer, prompt: Prompt) -> History:
    history = server.run(prompt)
    assert history.status == "success", history.error
    return history


def complaint(server: ComfyServer, prompt: Prompt) -> str:
    """What the user reads: of the refused request, or of the node that failed."""
    try:
        history = server.run(prompt)
    except RequestRefusedError as refusal:
        errors = [e for n in refusal.body["node_errors"].values() for e in n["errors"]]
        return "\n".join(e["details"] for e in errors)
    assert history.status == "error"
    assert history.error is not None
    return history.error["exception_message"]


def code_of(text: str) -> str:
    """The code of a complaint, which must be a sentence."""
    match = SENTENCE.search(text)
    assert match, text
    return match[1]


def refused(server: ComfyServer, prompt: Prompt, *codes: str) -> str:
    """The complaint about a prompt, whose code is one of these."""
    text = complaint(server, prompt)
    assert code_of(text) in codes, text
    return text


def pictures(server: ComfyServer, history: History, node: str) -> list[np.ndarray]:
    """The images ``[height, width, 3]`` that a node showed, 0 to 255."""
    return [
        np.asarray(Image.open(io.BytesIO(server.view(entry))).convert("RGB"), dtype=float)
        for entry in history.files(node)
    ]


def shown(history: History, node: str) -> str:
    """The text that a node showed."""
    return history.outputs[node]["text"][0]


def shown_by(history: History, prompt: Prompt, title: str) -> str:
    return shown(history, node_of(prompt, "PreviewAny", title))


def report_of(server: ComfyServer, history: History, prompt: Prompt) -> tuple[Path, dict[str, Any]]:
    """Folder and JSON of the report that a run wrote."""
    place = server.base / shown(history, node_of(prompt, "LoraForensicsReport"))
    return place.parent, json.loads((place.parent / "report.json").read_text())
