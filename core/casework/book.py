"""Writes a finished case: what it lists, its report and its twin; needs no model library."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import InputError
from ..report.redaction import redact
from ..report.twin import REDACTED_NAME, render_json
from ..storage import write_atomic
from ..verdicts.case import SCHEMA_VERSION, Case

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "scipy", "scikit-learn")


def tool_facts() -> dict[str, str]:
    """Versions of the tool and of what it stands on, and the machine's kind."""
    facts = {"lora-forensics": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "missing"
    facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return facts


def write_report(root: Path, case: Case) -> None:
    """Write report.json and report.html."""
    twin = render_json(asdict(case))
    write_atomic(root / "report.json", twin.encode())
    write_atomic(root / "report.html", _html(_reread(root), root).encode())


def rewrite_report(root: Path) -> Path:
    """Draw report.html again from report.json.

    Raises:
        InputError: the folder holds no report.json (NOT_A_CASE), or it cannot be read.
    """
    html = _html(_reread(root), root)
    write_atomic(root / "report.html", html.encode())
    return root / "report.html"


def write_redacted(root: Path) -> tuple[Path, Path]:
    """Write report-redacted.html and report-redacted.json from report.json; see `redact`.

    Raises:
        InputError: the folder holds no report.json (NOT_A_CASE), or it cannot be read.
    """
    case = redact(_reread(root))
    html, twin = root / "report-redacted.html", root / REDACTED_NAME
    write_atomic(twin, render_json(case).encode())
    write_atomic(html, _html(case, root).encode())
    return html, twin


def _html(case: dict[str, Any], root: Path) -> str:
    from ..report.html import render_html  # matplotlib: half of the pack's import time

    return render_html(case, root)


def _reread(root: Path) -> dict[str, Any]:
    import json

    path = root / "report.json"
    if not path.is_file():
        raise InputError(
            "NOT_A_CASE", f"there is no report.json in {root}; give a finished case folder"
        )
    try:
        case = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError("CORRUPT_REPORT", f"{path} is not JSON: {error}") from error
    if not isinstance(case, dict) or "schema_version" not in case:
        raise InputError("CORRUPT_REPORT", f"{path} has no schema_version")
    if case["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            "CASE_SCHEMA",
            f"{path} has schema {case['schema_version']}, this version reads {SCHEMA_VERSION}; "
            "draw the report with the version that made the case, or run the case again",
        )
    return case
