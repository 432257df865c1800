"""``inspect``, ``sample``, ``report`` and ``demo``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..casework.request import SampleRequest
from ..errors import plural
from .cases import print_verdict
from .flags import add_command, add_flags, request_of
from .terminal import Bars, say


def add(commands: Any) -> None:
    """The commands that read one file or one folder."""
    p = add_command(commands, "inspect", "what a LoRA file says and holds; no sampling", _inspect)
    p.add_argument("--lora", type=Path, required=True, help="file, or PEFT folder")
    p.add_argument("--base", type=Path, help="also check that it fits this base")
    p.add_argument("--json", action="store_true", help="print JSON")
    p = add_command(commands, "sample", "multi-cfg sampling with provenance", _sample)
    add_flags(p, SampleRequest)
    p = add_command(commands, "report", "draw a finished case's HTML report again", _report)
    p.add_argument("case", type=Path, help="case folder")
    p.add_argument(
        "--redact",
        action="store_true",
        help="write report-redacted.html and .json instead: no pictures, names, prompts, paths "
        "or metadata text",
    )
    p = add_command(commands, "demo", "screen the embedded guilty and innocent suspects", _demo)
    p.add_argument(
        "--out",
        type=Path,
        default=Path("demo-case"),
        help="folder for the cases (default: demo-case)",
    )


def _inspect(args: argparse.Namespace) -> None:
    from ..casework.case import inspect_files
    from ..report.twin import render_json

    inspection = inspect_files(args.lora, args.base)
    if args.json:
        print(render_json(asdict(inspection)))
        return
    print(f"{inspection.path}\n  sha256 {inspection.sha256}")
    modules = plural(inspection.modules, "module")
    print(f"  {modules}, {inspection.format} names, family {inspection.family}")
    for c in inspection.coverage:
        print(f"  {c.component}: {c.matched} of {plural(c.total, 'module')} matched")
    for finding in inspection.findings:
        print(f"  [{finding.severity.name}] {finding.subject}: {finding.message}")
        if finding.evidence:
            print(f"      {finding.evidence}")


def _sample(args: argparse.Namespace) -> None:
    from ..casework.sampling import sample_files

    request = request_of(SampleRequest, args)
    with Bars() as bars:
        count = sample_files(request, progress=bars, announce=say)
    print(f"{plural(count, 'image')} in {request.out / 'img'}; provenance in "
          f"{request.out / 'images.json'}")  # fmt: skip


def _report(args: argparse.Namespace) -> None:
    from ..casework.book import rewrite_report, write_redacted

    written = write_redacted(args.case) if args.redact else (rewrite_report(args.case),)
    print(*written, sep="\n")


def _demo(args: argparse.Namespace) -> None:
    from ..casework.case import run_case
    from ..demo.showcase import demo_requests

    for title, request in demo_requests(args.out):
        say(f"\n== {title} ==")
        with Bars() as bars:
            case = run_case(request, progress=bars, announce=say)
        print_verdict(case, request.out)
