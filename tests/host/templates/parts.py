"""Columns and sentences that several templates share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..contract import Contract
from ..graphs import Graph, Link, Node

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
LORA = "suspect.safetensors"

FILES = """**Put in place first**
- the base checkpoint that the LoRA was made for, in `models/checkpoints`
- the suspect LoRA (.safetensors), in `models/loras`
"""
FOLDERS = """- the photos in question, in `input/photos`
- controls, in `input/controls`: photos of the same people, camera and time that were certainly \
not used. 2 are the least, 100 or more are good. Without such controls no figure means anything.
"""
PLACEBOS = """- placebos, in `models/loras/placebos`: LoRAs of the same base, trained alike on \
*other* photos. 19 allow p = 0.05, 99 allow p = 0.01. Without any, delete *Load Placebo LoRAs*: \
the rest runs as it is.
"""
RESUMES = "Finished work is kept in `output/lora_forensics/work`: an interrupted run resumes."
LETTERS = """**Reading the result**: A, use of these photos is supported. B, the model departs \
from its null models toward them. C, the same source is all that shows. D, no evidence, or too \
few photos to tell. D is not an acquittal, and a person decides."""


@dataclass(frozen=True)
class Template:
    """A workflow by file name; ``fill`` adds its nodes."""

    name: str
    title: str
    note: str
    fill: Callable[[Graph], None]

    def graph(self, contract: Contract) -> Graph:
        """The workflow of these forms."""
        graph = Graph(self.name, self.title, self.note, contract)
        self.fill(graph)
        return graph


def template(title: str, note: str) -> Callable[[Callable[[Graph], None]], Template]:
    """Makes a template of the function that fills it; ``note`` is Markdown for the user."""
    return lambda fill: Template(fill.__name__, title, note, fill)


def base_checkpoint(g: Graph, title: str = "Base checkpoint") -> Node:
    return g.add("CheckpointLoaderSimple", title, ckpt_name=CHECKPOINT)


def text_models(checkpoint: Node) -> dict[str, Link]:
    """MODEL, CLIP and VAE of a checkpoint, as inputs of a node."""
    return {name.lower(): checkpoint[name] for name in ("MODEL", "CLIP", "VAE")}


class Start:
    """Checkpoint and suspect, which most templates begin with; the checkpoint may be there."""

    def __init__(self, g: Graph, checkpoint: Node | None = None):
        self.checkpoint = checkpoint or base_checkpoint(g)
        model, clip = self.checkpoint["MODEL"], self.checkpoint["CLIP"]
        self.node = g.add("LoraForensicsLoadSuspect", model=model, clip=clip, lora_name=LORA)
        self.suspect = self.node["suspect"]
        self.both = {"suspect": self.suspect, "vae": self.checkpoint["VAE"]}


def photo_sets(g: Graph) -> dict[str, Link]:
    """Photos and controls, as inputs of a node."""
    mine = g.add("LoraForensicsPhotoFolder", "Photos in question", folder="photos")
    others = g.add("LoraForensicsPhotoFolder", "Controls: certainly not used", folder="controls")
    return {"photos": mine["photos"], "controls": others["photos"]}


def descriptor(g: Graph) -> dict[str, Link]:
    """What tells copies, as an input of a node."""
    return {"descriptor": g.add("LoraForensicsLoadDescriptor")["descriptor"]}


def placebos(g: Graph, start: Start) -> dict[str, Link]:
    """Null models from a folder, as an input of the white box."""
    node = g.add("LoraForensicsPlacebos", suspect=start.suspect, folder="placebos")
    return {"placebos": node["placebos"]}


def show_text(g: Graph, title: str, source: Link) -> None:
    g.add("PreviewAny", title, source=source)


def show_images(g: Graph, title: str, images: Link) -> None:
    g.add("PreviewImage", title, images=images)


def show_verdict(g: Graph, verdict: Node, name: str, texts: dict[str, Link]) -> None:
    """The column of a case's report, of further texts by title, and of the verdict in words."""
    with g.column("Result"):
        g.add("LoraForensicsReport", case=verdict["case"], name=name)
        for title, text in texts.items():
            show_text(g, title, text)
        show_text(g, "In words", verdict["summary"])


def verdict_of(g: Graph, suspect: Link, **inputs: Any) -> Node:
    """The verdict on the given evidence, in a column of its own."""
    with g.column("Verdict"):
        return g.add("LoraForensicsVerdict", suspect=suspect, **inputs)
