"""The page's side of the pack: one small script that shows text as text, a help page a node."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "web"
DOCS = WEB / "docs"
SCRIPT = WEB / "js" / "lora_forensics.js"
IDS = sorted(
    found
    for path in (ROOT / "nodes").glob("*.py")
    for found in re.findall(r'node_id="(\w+)"', path.read_text(encoding="utf-8"))
)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
# Ways to make markup or code of data, to reach out, or to touch what is not ours.
BANNED = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(",
    "Function(", "fetch(", "XMLHttpRequest", "WebSocket", "import(", "fetchApi", ".prototype",
    "localStorage", "http:", "https:", ".href", ".src",
)  # fmt: skip


def page(node: str) -> str:
    return (DOCS / f"{node}.md").read_text(encoding="utf-8")


def test_ids_are_found_and_prefixed():
    assert len(IDS) > 10
    assert all(name.startswith("LoraForensics") for name in IDS)


def test_every_node_has_a_page_and_every_page_a_node():
    assert sorted(path.stem for path in DOCS.glob("*.md")) == IDS


@pytest.mark.parametrize("node", IDS)
def test_page_has_its_parts_and_a_picture(node):
    text = page(node)
    assert text.startswith("# ")
    for part in ("## Outputs", "## Reading the result", "## Limits"):
        assert part in text
    assert PICTURE.findall(text)[0][1] == f"assets/{node}.svg"
    for words, path in PICTURE.findall(text):
        assert words, path
        assert (DOCS / path).is_file(), path


@pytest.mark.parametrize("node", IDS)
def test_page_loads_nothing_from_elsewhere(node):
    text = page(node)
    assert not re.search(r"<\w", text)
    assert not [path for _, path in PICTURE.findall(text) if not path.startswith("assets/")]
    assert "://" not in text


def test_every_picture_is_used_small_and_inert():
    used = {path for node in IDS for _, path in PICTURE.findall(page(node))}
    assets = list((DOCS / "assets").iterdir())
    assert {f"assets/{path.name}" for path in assets} == used
    for path in assets:
        assert path.stat().st_size < 40_000, path
        if path.suffix == ".svg":
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"<script|<image|<use|href|url\(|on\w+=|://", text), path


def test_there_is_one_small_script():
    assert list(WEB.rglob("*.js")) == [SCRIPT]
    assert SCRIPT.stat().st_size < 10_000


@pytest.mark.parametrize("word", BANNED)
def test_script_avoids(word):
    assert word not in SCRIPT.read_text(encoding="utf-8")


def test_script_imports_the_app_alone():
    text = SCRIPT.read_text(encoding="utf-8")
    assert re.findall(r"^import .*", text, re.MULTILINE) == [
        'import { app } from "../../../scripts/app.js";'
    ]


def test_letters_have_the_colours_of_the_report():
    style = (ROOT / "core" / "report" / "style.css").read_text(encoding="utf-8")
    dark = style[style.index("prefers-color-scheme: dark") :]
    tones = dict(re.findall(r"(\w+): \"(#\w{6})\"", SCRIPT.read_text(encoding="utf-8")))
    assert set(tones) == {"A", "B", "C", "D", "ERROR"}
    for letter, colour in tones.items():
        assert f".tone-{letter} {{ --tone: {colour};" in dark


def test_locale_speaks_of_the_same_nodes():
    words = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert sorted(words) == IDS
