"""Words, pictures and help pages say what the schemas say."""

import re

import pytest

from .draw_docs import ASSETS, pictures
from .write_locale import LOCALE, locale_text, pack_schemas

DOCS = ASSETS.parent


@pytest.fixture(scope="module")
def schemas(comfy):
    del comfy
    return pack_schemas()


def named(text, part):
    """First cells of the table below a heading."""
    below = text.split(f"\n## {part}\n", 1)[-1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", below, re.MULTILINE) if part in text else []


def test_committed_locale_is_current(schemas):
    say = "run: COMFYUI_PATH=... python -m tests.host.write_locale"
    assert LOCALE.read_text(encoding="utf-8") == locale_text(schemas), say


def test_committed_pictures_are_current(schemas):
    drawn = pictures(schemas)
    kept = {p.name: p.read_text(encoding="utf-8") for p in ASSETS.glob("*.svg")}
    assert kept == drawn, "run: COMFYUI_PATH=... python -m tests.host.draw_docs"


def test_help_pages_name_every_input_and_output(schemas):
    wrong = []
    for s in schemas:
        text = (DOCS / f"{s.node_id}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {s.display_name}\n")
        wanted = [i.id for i in s.inputs], [o.display_name or o.id for o in s.outputs]
        told = named(text, "Inputs"), named(text, "Outputs")
        if told != wanted:
            wrong.append(f"{s.node_id}: the page has {told}, the schema {wanted}")
    assert not wrong, "\n".join(wrong)
