"""Writes ``locales/en/nodeDefs.json`` from the nodes' schemas, so that it can be translated.

    COMFYUI_PATH=... python -m tests.host.write_locale

`test_host_locale` holds that the file is what the schemas say.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import ROOT
from .inprocess import imported

LOCALE = ROOT / "locales" / "en" / "nodeDefs.json"


def pack_schemas() -> list[Any]:
    """The schemas of all nodes, in the pack's order; ComfyUI is on the search path."""
    import lora_forensics

    async def listed() -> list[Any]:
        extension = await lora_forensics.comfy_entrypoint()
        return [node.GET_SCHEMA() for node in await extension.get_node_list()]

    return asyncio.run(listed())


def node_definitions(schemas: list[Any]) -> dict[str, Any]:
    """What ComfyUI's page looks words up in: by node id, input name and output number."""
    return {
        s.node_id: {
            "display_name": s.display_name or s.node_id,
            **({"description": s.description} if s.description else {}),
            "inputs": {slot.id: _words(slot) for slot in s.inputs},
            "outputs": {str(i): _words(slot) for i, slot in enumerate(s.outputs)},
        }
        for s in schemas
    }


def locale_text(schemas: list[Any]) -> str:
    return json.dumps(node_definitions(schemas), indent=2, ensure_ascii=False) + "\n"


def _words(slot: Any) -> dict[str, str]:
    found = {"name": slot.display_name or slot.id}
    return {**found, "tooltip": slot.tooltip} if slot.tooltip else found


@contextmanager
def outside_pytest() -> Iterator[list[Any]]:
    """The schemas, for a command started as ``python -m tests.host...`` in the checkout."""
    if "lora_forensics" not in sys.modules:
        importlib.import_module("tests.conftest")
    comfyui = Path(os.environ["COMFYUI_PATH"]).resolve()
    with tempfile.TemporaryDirectory() as base, imported(comfyui, Path(base)):
        yield pack_schemas()


def main() -> None:
    with outside_pytest() as schemas:
        LOCALE.parent.mkdir(parents=True, exist_ok=True)
        LOCALE.write_text(locale_text(schemas), encoding="utf-8")


if __name__ == "__main__":
    main()
