"""Draws ``web/docs/assets/<node id>.svg`` from the schemas: a node, what feeds it, what it feeds.

    COMFYUI_PATH=... python -m tests.host.draw_docs

`test_host_locale` holds that the files are what the schemas say.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from . import ROOT
from .write_locale import outside_pytest

ASSETS = ROOT / "web" / "docs" / "assets"
WIDTH, LEFT, RIGHT, ROW, HEAD, EDGE = 340, 18, 322, 24, 32, 12
INK, SOFT, PAPER, CARD, BAR, LINE, FIELD = (
    "#1b1e23", "#515863", "#f4f4f1", "#ffffff", "#e9eff6", "#c9ccd1", "#f0f1ee",
)  # fmt: skip
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
COLOURS = {
    "MODEL": "#8d78c7", "CLIP": "#c9a400", "VAE": "#d9534f", "IMAGE": "#3f8fd6", "MASK": "#6aa84f",
    "CONDITIONING": "#d9822b", "GUIDER": "#3d9a8b", "CLIP_VISION": "#7c9a2d", "STRING": "#6f8f6f",
}  # fmt: skip
OWN = "#1d3f66"
CORE_SOURCES = {
    "MODEL": "Load Checkpoint", "CLIP": "Load Checkpoint", "VAE": "Load Checkpoint",
    "CONDITIONING": "CLIP Text Encode", "IMAGE": "Load Image", "MASK": "Load Image",
    "CLIP_VISION": "Load CLIP Vision",
}  # fmt: skip
CORE_TARGETS = {
    "MODEL": "KSampler", "CLIP": "CLIP Text Encode", "IMAGE": "Preview Image",
    "MASK": "Convert Mask to Image", "STRING": "Preview Any",
    "GUIDER": "SamplerCustomAdvanced", "FLOAT": "Preview Any",
}  # fmt: skip
# Where the type alone would name a wrong neighbour: (node, input or output) -> its label.
SAID = {
    ("LoraForensicsSuspectFromModels", "tuned_model"): "LoRA loader, or its own",
    ("LoraForensicsSuspectFromModels", "tuned_clip"): "LoRA loader, or its own",
    ("LoraForensicsMatch", "representatives"): "Group Near-copies",
    ("LoraForensicsMatch", "photos"): "Embed Images",
    ("LoraForensicsMatch", "controls"): "Embed Images",
    ("LoraForensicsCluster", "embeddings"): "Embed Images",
    ("LoraForensicsCluster", "representatives"): "Match Against Photos",
    ("LoraForensicsEmbed", "embeddings"): "Group Near-copies",
    ("LoraForensicsVerdict", "membership"): "White-box Membership",
    ("LoraForensicsVerdict", "extraction"): "Judge Extraction",
    ("LoraForensicsVerdict", "attack"): "Score Black-box",
    ("LoraForensicsWhiteBox", "counterfactuals"): "Train Counterfactuals",
    ("LoraForensicsScreen", "counterfactuals"): "Train Counterfactuals",
    ("LoraForensicsPlacebos", "placebos"): "White-box, Screen",
    ("LoraForensicsCounterfactuals", "nulls"): "White-box, Screen",
    ("LoraForensicsRankDecoys", "decoys"): "Verdict, Screen",
    ("LoraForensicsCaption", "prompts"): "captions of other nodes",
    ("LoraForensicsBaselines", "generated"): "Multi-CFG, arm tuned",
    ("LoraForensicsBaselines", "base_generated"): "Multi-CFG, arm base",
    ("LoraForensicsCanonical", "photos_out"): "Screen, White-box",
    ("LoraForensicsCanonical", "controls_out"): "Screen, White-box",
    ("LoraForensicsTrainAttack", "positives"): "Multi-CFG, arm tuned",
    ("LoraForensicsTrainAttack", "negatives"): "Multi-CFG, arm base",
    ("LoraForensicsLoadSuspect", "suspect"): "every other node",
    ("LoraForensicsSuspectFromModels", "suspect"): "every other node",
    ("LoraForensicsLoadSuspect", "tuned_clip"): "CLIP Text Encode",
    ("LoraForensicsLoadDescriptor", "descriptor"): "Screen, Extract, Embed",
    ("LoraForensicsPhotoFolder", "photos"): "Screen, White-box",
    ("LoraForensicsPhotosFromImages", "photos"): "Screen, White-box",
    ("LoraForensicsMultiCfgSampler", "generated"): "Train Attack Model",
    ("LoraForensicsExtract", "generated"): "Embed Images",
    ("LoraForensicsReport", "case"): "Screen, Verdict",
    ("LoraForensicsInspect", "prompts"): "inputs called prompts",
    ("LoraForensicsLoadSuspect", "prompts"): "inputs called prompts",
}
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def pictures(schemas: list[Any]) -> dict[str, str]:
    """File name -> SVG."""
    return {f"{s.node_id}.svg": _picture(s, schemas) for s in schemas}


def _picture(schema: Any, schemas: list[Any]) -> str:
    """Rows of inputs, outputs and widgets; the page's pane is narrow, so nothing stands beside."""
    links = [slot for slot in schema.inputs if slot.get_io_type() not in WIDGETS]
    forms = [slot for slot in schema.inputs if slot.get_io_type() in WIDGETS]
    top = EDGE + HEAD + 18
    outputs = top + ROW * len(links)
    widgets = outputs + ROW * len(schema.outputs) - 8
    bottom = widgets + ROW * len(forms) + (8 if forms else 2)
    title = escape(schema.display_name or schema.node_id)
    parts = [
        _box(0, 0, WIDTH, bottom + EDGE, PAPER, 8),
        _box(LEFT, EDGE, RIGHT - LEFT, bottom - EDGE, CARD, 7, LINE),
        f'<path d="M{LEFT} {EDGE + HEAD}V{EDGE + 7}q0 -7 7 -7H{RIGHT - 7}q7 0 7 7V{EDGE + HEAD}z" '
        f'fill="{BAR}" stroke="{LINE}"/>',
        _text((LEFT + RIGHT) // 2, EDGE + 21, title, "middle", OWN, 14, bold=True),
    ]
    for i, slot in enumerate(links):
        parts += _link(slot, top + ROW * i, _source(schema, slot, schemas), "in")
    for i, slot in enumerate(schema.outputs):
        parts += _link(slot, outputs + ROW * i, _target(schema, slot, schemas), "out")
    for i, slot in enumerate(forms):
        parts += _form(slot, widgets + ROW * i)
    size = f'width="{WIDTH}" height="{bottom + EDGE}" viewBox="0 0 {WIDTH} {bottom + EDGE}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}">'
    return "\n".join([head, *parts, "</svg>", ""])


def _link(slot: Any, y: int, neighbour: str, side: str) -> list[str]:
    """A socket with its name, and across the node the neighbour that it is for."""
    colour = COLOURS.get(slot.get_io_type(), OWN)
    x, sign, anchor = (LEFT, 1, "start") if side == "in" else (RIGHT, -1, "end")
    optional = side == "in" and slot.optional
    dash = ' stroke-dasharray="3 2"' if optional else ""
    found = [
        f'<path d="M{x - sign * LEFT} {y}H{x}" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<circle cx="{x}" cy="{y}" r="4.5" fill="{CARD if optional else colour}" '
        f'stroke="{colour}" stroke-width="1.5"/>',
        _text(x + sign * 12, y + 4.5, escape(slot.display_name or slot.id), anchor, INK),
    ]
    if not neighbour:
        return found[1:]
    words = f"from {neighbour}" if side == "in" else f"to {neighbour}"
    far, other = (RIGHT - 12, "end") if side == "in" else (LEFT + 12, "start")
    return [*found, _text(far, y + 4.5, escape(words), other, SOFT, 12)]


def _form(slot: Any, y: int) -> list[str]:
    """A widget: its name and its default."""
    x, width = LEFT + 10, RIGHT - LEFT - 20
    default = getattr(slot, "default", None)
    shown = "choose" if default is None else str(default) or "…"
    if slot.get_io_type() == "BOOLEAN":
        shown = "on" if default else "off"
    if len(shown) > 24:
        shown = shown[:23].rstrip(", ") + "…"
    return [
        _box(x, y, width, ROW - 4, FIELD, 10),
        _text(x + 10, y + 14.5, escape(slot.display_name or slot.id), "start", SOFT, 12.5),
        _text(x + width - 10, y + 14.5, escape(shown), "end", INK, 12.5),
    ]


def _source(schema: Any, slot: Any, schemas: list[Any]) -> str:
    if said := SAID.get((schema.node_id, slot.id)):
        return said
    kind = slot.get_io_type()
    own = [s.display_name for s in schemas if any(o.get_io_type() == kind for o in s.outputs)]
    return CORE_SOURCES.get(kind) or _short(next(iter(own), ""))


def _target(schema: Any, slot: Any, schemas: list[Any]) -> str:
    if said := SAID.get((schema.node_id, slot.id)):
        return said
    kind = slot.get_io_type()
    own = [s.display_name for s in schemas if any(i.get_io_type() == kind for i in s.inputs)]
    return CORE_TARGETS.get(kind) or (_short(own[-1]) if own and kind not in WIDGETS else "")


def _short(name: str) -> str:
    return name.split(" (")[0].removesuffix(" Membership") if len(name) > 22 else name


def _box(x: int, y: int, width: int, height: int, fill: str, r: int, line: str = "") -> str:
    stroke = f' stroke="{line}"' if line else ""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect {place} rx="{r}" fill="{fill}"{stroke}/>'


def _text(
    x: float, y: float, text: str, anchor: str, fill: str, size: float = 13, *, bold: bool = False
) -> str:
    weight = ' font-weight="650"' if bold else ""
    place = f'x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"'
    return f"<text {place}{weight}>{text}</text>"


def write(folder: Path, schemas: list[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures(schemas).items():
        (folder / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    with outside_pytest() as found:
        write(ASSETS, found)
