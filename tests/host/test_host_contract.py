"""The committed contract and templates are what the running nodes make of them."""

import json
import urllib.parse

import pytest

from . import PACK, ROOT
from .contract import CONTRACT, contract_of, read_contract, refusals
from .templates import CORE, TEMPLATES
from .write_workflows import WORKFLOWS, written

SAY = "run: COMFYUI_PATH=... python -m tests.host.write_workflows"


@pytest.fixture(scope="module")
def info(server):
    return server.object_info()


def test_nodes_keep_their_contract(info):
    live = contract_of(info, CORE)
    assert refusals(read_contract(), live) == []
    assert read_contract()["nodes"] == live["nodes"], SAY


def test_committed_files_are_what_is_written(info):
    """Core nodes are the host's: a later one may add to them, and call them otherwise."""
    committed, live = read_contract(), contract_of(info, CORE)
    assert refusals({"nodes": committed["core"]}, {"nodes": live["core"]}) == []
    files = written(live | {"core": committed["core"]})
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: {SAY}"
    assert CONTRACT in files


def test_the_template_browser_lists_them(server):
    listed = json.loads(server.call("/api/workflow_templates"))[PACK]
    assert set(listed) == {template.name for template in TEMPLATES}
    for name in listed:
        place = f"/api/workflow_templates/{PACK}/{urllib.parse.quote(name)}"
        assert server.call(f"{place}.json") == (WORKFLOWS / f"{name}.json").read_bytes()
        assert server.call(f"{place}.jpg").startswith(b"\xff\xd8\xff")
