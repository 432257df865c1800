"""A workflow told once, written twice: ComfyUI's UI format and its API format."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .contract import Contract, widgets

CONTROL = "fixed"  # a template's seed stays what it is
MUTED = 2  # the page's "never"
MARGIN, GAP, TITLE, HEAD = 40, 30, 30, 70
ROW, WIDGET, TEXT = 20, 24, 110
WIDTHS = {"MarkdownNote": 400, "PreviewImage": 340, "SaveImage": 340, "PreviewAny": 340}
EXTRA = {  # space below the widgets for what a node shows
    "PreviewImage": 260, "SaveImage": 260, "PreviewAny": 150, "LoraForensicsVerdict": 380,
    "LoraForensicsScreen": 380, "LoraForensicsReport": 120, "LoraForensicsInspect": 180,
    "LoraForensicsTrainAttack": 90, "LoraForensicsMakeDecoys": 150,
}  # fmt: skip
WIDTH, PANEL = 315, 400
COLOURS = ("#3f789e", "#b58b2a", "#8888aa", "#a1309b", "#88aa88", "#b06634")


class Link(NamedTuple):
    """Output number `slot` of node `node`."""

    node: int
    slot: int


@dataclass
class Node:
    """One node: literal values of widgets, and links. A muted one runs when it is switched on."""

    id: int
    kind: str
    form: Mapping[str, Any]
    title: str
    values: dict[str, Any]
    links: dict[str, Link]
    pos: tuple[int, int] = (0, 0)
    muted: bool = False

    def __getitem__(self, output: str) -> Link:
        names = [o["name"] for o in self.form["outputs"]]
        return Link(self.id, names.index(output))

    @property
    def size(self) -> tuple[int, int]:
        """Room for sockets, widgets and what the node shows."""
        own = widgets(self.form)
        sockets = len(self.form["inputs"]) - len(own)
        rows = max(sockets, len(self.form["outputs"]))
        tall = sum(TEXT if w.get("multiline") else WIDGET for w in own)
        tall += WIDGET * sum(bool(w.get("control")) for w in own)
        width = WIDTHS.get(self.kind, PANEL if self.kind in EXTRA else WIDTH)
        return width, rows * ROW + tall + EXTRA.get(self.kind, 0) + 16


@dataclass
class Group:
    """A titled column of nodes."""

    title: str
    nodes: list[Node] = field(default_factory=list)


class Graph:
    """A workflow: columns of nodes from left to right, a note in front of them.

    Args:
        name: file name.
        title: for the note and the thumbnail.
        note: Markdown for the user.
        contract: forms of all nodes.
    """

    def __init__(self, name: str, title: str, note: str, contract: Contract):
        self.name, self.title = name, title
        self.note = f"## {title}\n\n{note.strip()}\n"
        self.forms = contract["core"] | contract["nodes"]
        self.groups: list[Group] = []
        self.nodes: list[Node] = []

    @contextmanager
    def column(self, title: str) -> Iterator[None]:
        """Nodes added inside stand below each other."""
        self.groups.append(Group(title))
        yield

    def add(self, kind: str, title: str = "", *, muted: bool = False, **inputs: Any) -> Node:
        """A node; what is not given keeps its default."""
        form = self.forms[kind]
        known = {i["name"]: i for i in form["inputs"]}
        if unknown := inputs.keys() - known.keys():
            raise KeyError(f"{kind} has no input {sorted(unknown)}")
        links = {n: v for n, v in inputs.items() if isinstance(v, Link)}
        values = {w["name"]: inputs.get(w["name"], w["default"]) for w in widgets(form)}
        values |= {n: known[n]["default"] for n in values.keys() & links.keys()}
        missing = [n for n, i in known.items() if i["required"] and n not in {**values, **links}]
        if missing or any(v is None for v in values.values()):
            raise ValueError(f"{kind} lacks {missing or values}")
        node = Node(len(self.nodes) + 1, kind, form, title, values, links, muted=muted)
        self.nodes.append(node)
        self.groups[-1].nodes.append(node)
        return node

    def api(self) -> dict[str, Any]:
        """What ``POST /prompt`` takes."""
        found = {}
        for node in (n for n in self.nodes if not n.muted):
            inputs: dict[str, Any] = dict(node.values)
            inputs |= {name: [str(link.node), link.slot] for name, link in node.links.items()}
            order = [i["name"] for i in node.form["inputs"] if i["name"] in inputs]
            found[str(node.id)] = {
                "class_type": node.kind,
                "inputs": {name: inputs[name] for name in order},
                "_meta": {"title": node.title or node.form["display_name"]},
            }
        return found

    def ui(self) -> dict[str, Any]:
        """What the page opens."""
        self.place()
        links = self._links()
        note = len(self.nodes) + 1
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"lora-forensics/{self.name}")),
            "revision": 0,
            "last_node_id": note,
            "last_link_id": len(links),
            "nodes": [*(self._node(n, links) for n in self.nodes), self._note(note)],
            "links": links,
            "groups": [self._group(i, g) for i, g in enumerate(self.groups)],
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [0, 0]}},
            "version": 0.4,
        }

    def place(self) -> None:
        """Columns side by side, to the right of the note."""
        x = WIDTHS["MarkdownNote"] + 2 * MARGIN
        for group in self.groups:
            y = HEAD
            for node in group.nodes:
                node.pos = (x, y)
                y += node.size[1] + TITLE + GAP
            x += max(n.size[0] for n in group.nodes) + 2 * MARGIN

    def _links(self) -> list[list[Any]]:
        found = []
        for node in self.nodes:
            for name in (i["name"] for i in node.form["inputs"]):
                if link := node.links.get(name):
                    slot = [s["name"] for s in _sockets(node)].index(name)
                    kind = self.nodes[link.node - 1].form["outputs"][link.slot]["type"]
                    found.append([len(found) + 1, link.node, link.slot, node.id, slot, kind])
        return found

    def _node(self, node: Node, links: list[list[Any]]) -> dict[str, Any]:
        made = {
            "id": node.id,
            "type": node.kind,
            "pos": list(node.pos),
            "size": list(node.size),
            "flags": {},
            "order": node.id - 1,
            "mode": MUTED if node.muted else 0,
            "inputs": [
                {
                    "name": s["name"],
                    "type": s["type"],
                    **({"widget": {"name": s["name"]}} if s.get("widget") else {}),
                    "link": next((k[0] for k in links if k[3:5] == [node.id, slot]), None),
                }
                for slot, s in enumerate(_sockets(node))
            ],
            "outputs": [
                {
                    "name": o["name"],
                    "type": o["type"],
                    "links": [k[0] for k in links if k[1:3] == [node.id, slot]],
                }
                for slot, o in enumerate(node.form["outputs"])
            ],
            "properties": {"Node name for S&R": node.kind},
            "widgets_values": widget_values(node.form, node.values),
        }
        return {**made, "title": node.title} if node.title else made

    def _note(self, number: int) -> dict[str, Any]:
        lines = sum(1 + len(line) // 62 for line in self.note.splitlines())
        return {
            "id": number,
            "type": "MarkdownNote",
            "pos": [0, HEAD],
            "size": [WIDTHS["MarkdownNote"], 60 + 17 * lines],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "title": "Read me first",
            "properties": {},
            "widgets_values": [self.note],
            "color": "#432",
            "bgcolor": "#653",
        }

    def _group(self, index: int, group: Group) -> dict[str, Any]:
        x, y = group.nodes[0].pos
        last = group.nodes[-1]
        wide = max(n.size[0] for n in group.nodes) + MARGIN
        tall = last.pos[1] + last.size[1] - y + HEAD + MARGIN // 2
        return {
            "id": index + 1,
            "title": group.title,
            "bounding": [x - MARGIN // 2, y - HEAD, wide, tall],
            "color": COLOURS[index % len(COLOURS)],
            "font_size": 22,
            "flags": {},
        }


def _sockets(node: Node) -> list[Mapping[str, Any]]:
    """Inputs drawn with a dot: those without a widget, and widgets that a link feeds."""
    return [i for i in node.form["inputs"] if not i.get("widget") or i["name"] in node.links]


def widget_values(form: Mapping[str, Any], values: Mapping[str, Any]) -> list[Any]:
    """``widgets_values``: by position, each seed with a control followed by the control's."""
    found = []
    for widget in widgets(form):
        found.append(values[widget["name"]])
        found += [CONTROL] if widget.get("control") else []
    return found


def json_text(value: Any) -> str:
    """Strict JSON with an end of line."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
