"""``inspect``, ``sample``, ``report`` and ``demo``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..specs import SampleSpec
from .bars import Bars, say
from .cases import print_verdict
from .flags import model_flags, override, spec_flags


def add(commands: Any) -> None:
    """The commands that read one file or one folder."""
    _inspect_command(commands)
    _sample_command(commands)
    report = commands.add_parser("report", help="draw a finished case's HTML report again")
    report.add_argument("case", type=Path, help="case folder")
    report.add_argument(
        "--redact",
        action="store_true",
        help="write report-redacted.html and .json instead: no pictures, names, prompts, paths "
        "or metadata text",
    )
    report.set_defaults(run=_report)
    demo = commands.add_parser("demo", help="screen the embedded guilty and innocent suspects")
    demo.add_argument("--out", type=Path, default=Path("demo-case"), help="folder for the cases")
    demo.set_defaults(run=_demo)


def _inspect_command(commands: Any) -> None:
    p = commands.add_parser("inspect", help="what a LoRA file says and holds; no sampling")
    p.add_argument("--lora", type=Path, required=True)
    p.add_argument("--base", type=Path, help="also check that it fits this base")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=_inspect)


def _sample_command(commands: Any) -> None:
    p = commands.add_parser("sample", help="multi-cfg sampling with provenance")
    p.add_argument("--base", type=Path, required=True)
    p.add_argument("--lora", type=Path, required=True)
    p.add_argument("--prompt", action="append", required=True)
    p.add_argument("--cfg", type=float, action="append", default=[], help="tuned model; repeat")
    p.add_argument("--base-cfg", type=float, action="append", default=[], help="base; repeat")
    p.add_argument("--guidance", type=float, action="append", default=[], help="model weight w'")
    p.add_argument("--images", type=int, default=8, help="noises; each under every rule")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minor-suspected", action="store_true", help="stop before any sampling")
    model_flags(p)
    spec_flags(p, SampleSpec, "")
    p.set_defaults(run=_sample)


def _inspect(args: argparse.Namespace) -> int:
    from ..casework.case import inspect_files
    from ..report.twin import render_json

    inspection = inspect_files(args.lora, args.base)
    if args.json:
        print(render_json(asdict(inspection)))
        return 0
    print(f"{inspection.path}\n  sha256 {inspection.sha256}")
    print(f"  {inspection.modules} modules, {inspection.format} names, family {inspection.family}")
    for c in inspection.coverage:
        print(f"  {c.component}: {c.matched} of {c.total} modules matched")
    for finding in inspection.findings:
        print(f"  [{finding.severity.name}] {finding.subject}: {finding.message}")
        if finding.evidence:
            print(f"      {finding.evidence}")
    return 0


def _sample(args: argparse.Namespace) -> int:
    if args.images < 1:
        raise InputError("BAD_SETTING", f"--images is {args.images}; give 1 or more")
    from ..casework.sampling import SampleRequest, sample_files
    from ..sampling.guidance import cfg, model_guidance
    from ..types import BASE

    rules = (
        *(cfg(scale) for scale in args.cfg),
        *(cfg(scale, BASE) for scale in args.base_cfg),
        *(model_guidance(w) for w in args.guidance),
    )
    if not rules:
        raise InputError("EMPTY_PLAN", "give at least one --cfg, --base-cfg or --guidance")
    request = SampleRequest(
        args.base,
        args.lora,
        args.out,
        tuple(args.prompt),
        rules,
        args.images,
        override(SampleSpec(), args, ""),
        args.device,
        args.dtype,
        args.minor_suspected,
    )
    bars = Bars()
    try:
        count = sample_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    print(f"{count} images in {args.out / 'img'}; provenance in {args.out / 'images.json'}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from ..casework.book import rewrite_report, write_redacted

    written = write_redacted(args.case) if args.redact else (rewrite_report(args.case),)
    print(*written, sep="\n")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from ..casework.case import run_case
    from ..demo.showcase import demo_requests

    for title, request in demo_requests(args.out):
        print(f"\n== {title} ==", file=sys.stderr)
        bars = Bars()
        try:
            case = run_case(request, progress=bars, announce=say)
        finally:
            bars.close()
        print_verdict(case, request.out)
    return 0
