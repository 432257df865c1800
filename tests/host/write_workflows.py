"""Writes ``workflows/`` and ``tests/node_contract.json`` from a running ComfyUI.

    COMFYUI_PATH=... python -m tests.host.write_workflows

`test_host_contract` holds that the committed files are what this writes. A change of the nodes
that breaks saved workflows is refused here, too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import PACK, ROOT
from .contract import CONTRACT, Contract, contract_of, contract_text, read_contract, refusals
from .graphs import json_text
from .server import ComfyServer
from .templates import CORE, TEMPLATES

WORKFLOWS = ROOT / "workflows"


def written(contract: Contract) -> dict[Path, str]:
    """Every text file by path, for these nodes."""
    found = {CONTRACT: contract_text(contract)}
    for graph in (template.graph(contract) for template in TEMPLATES):
        found[WORKFLOWS / f"{graph.name}.json"] = json_text(graph.ui())
        found[WORKFLOWS / "api" / f"{graph.name}.json"] = json_text(graph.api())
    return found


def write(object_info: Mapping[str, Any]) -> None:
    """All files, thumbnails too.

    Raises:
        ValueError: the nodes changed so that saved workflows would break.
    """
    from .thumbnails import thumbnail

    contract = contract_of(object_info, CORE)
    if CONTRACT.exists() and (wrong := refusals(read_contract(), contract)):
        raise ValueError("saved workflows would break: " + "; ".join(wrong))
    for path, text in written(contract).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for graph in (template.graph(contract) for template in TEMPLATES):
        (WORKFLOWS / f"{graph.name}.jpg").write_bytes(thumbnail(graph))


def main() -> None:
    comfyui = Path(os.environ["COMFYUI_PATH"]).resolve()
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base), comfyui, packs={PACK: ROOT}) as server,
    ):
        write(server.object_info())


if __name__ == "__main__":
    main()
