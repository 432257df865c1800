"""The command line: arguments in, verbs of the core called, sentences out.

Exit codes: 0 done, 2 bad input or failed run, 3 stopped because something points to a minor,
130 interrupted (what is done is kept).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import Field, asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import ForensicsError, InputError
from .specs import (
    PRESETS,
    AttackSpec,
    ExtractSpec,
    MembershipSpec,
    SampleSpec,
    ScreenSpec,
    default_of,
)

if TYPE_CHECKING:
    from .casework import Request
    from .evidence import Case

EXIT_INPUT, EXIT_STOPPED, EXIT_INTERRUPTED = 2, 3, 130
SECTIONS = {"membership": MembershipSpec, "extract": ExtractSpec, "attack": AttackSpec}
ONE_LINE = {"score": "membership", "extract": "extraction", "attack": "attack"}


class Bars:
    """Progress bars with time left, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Open a bar for `task`."""
        from tqdm import tqdm

        self.close()
        self._bar = tqdm(total=total, initial=done, desc=task, unit="", file=sys.stderr)

    def step(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(n)

    def show(self, pixels: Any) -> None:
        """A terminal shows no pictures."""

    def close(self) -> None:
        """Close the open bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse_args(arguments)
    args.command_line = " ".join(["lora-forensics", *arguments])
    try:
        return args.run(args)
    except ForensicsError as error:
        print(error, file=sys.stderr)
        return EXIT_STOPPED if error.code == "MINOR_SUSPECTED" else EXIT_INPUT
    except KeyboardInterrupt:
        print("\nStopped. What is done is kept; the same command resumes.", file=sys.stderr)
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports nothing heavy, so that --help is instant."""
    parser = argparse.ArgumentParser(
        prog="lora-forensics",
        description="Was this LoRA (or DreamBooth checkpoint) trained on these photos?",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _case_command(commands, "screen", "four lines of evidence and a worded verdict", SECTIONS)
    _case_command(commands, "score", "white-box membership alone", {"membership": MembershipSpec})
    _case_command(commands, "extract", "extraction alone", {"extract": ExtractSpec})
    _case_command(commands, "attack", "black-box attack alone", {"attack": AttackSpec})
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
    return parser


def _case_command(commands: Any, name: str, text: str, sections: dict[str, type]) -> None:
    p = commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--base", type=Path, required=True, help="diffusers folder or .safetensors")
    p.add_argument("--lora", type=Path, required=True, help="suspect LoRA or tuned checkpoint")
    p.add_argument("--photos", type=Path, required=True, help="folder of the photos in question")
    p.add_argument(
        "--controls", type=Path, required=True, help="folder of photos that were not used"
    )
    p.add_argument("--out", type=Path, required=True, help="case folder, new or to resume")
    p.add_argument(
        "--exchangeable",
        action="store_true",
        help="the controls are a hold-out of the photos' own source; without this no verdict A",
    )
    p.add_argument("--prompt", action="append", default=[], help="else from the file's metadata")
    p.add_argument("--preset", choices=tuple(PRESETS), default="standard", help="budget")
    p.add_argument("--encoder", default="auto", help="copy descriptor: auto, tiny, sscd")
    p.add_argument("--models", type=Path, help="folder with weights that you bring")
    p.add_argument("--resnet", type=Path, help="ImageNet ResNet-18 as safetensors, for the attack")
    p.add_argument("--negatives", type=Path, help="folder of label-0 images for the attack")
    p.add_argument("--shadow", type=Path, help="shadow LoRA whose images are label 0")
    p.add_argument("--strength", type=float, default=1.0, help="adapter strength")
    p.add_argument("--no-pictures", action="store_true", help="keep no picture of the photos")
    p.add_argument("--minor-suspected", action="store_true", help="stop before any sampling")
    _model_flags(p)
    for section, spec in sections.items():
        _spec_flags(p, spec, f"{section}-" if len(sections) > 1 else "")
    p.set_defaults(run=_run_case, lines=(ONE_LINE[name],) if name in ONE_LINE else None)
    p.set_defaults(sections=sections)


def _model_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("--device", default="auto", help="auto, cpu, cuda")
    p.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")


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
    _model_flags(p)
    _spec_flags(p, SampleSpec, "")
    p.set_defaults(run=_sample)


def _spec_flags(parser: argparse.ArgumentParser, spec: type, prefix: str) -> None:
    """One flag a setting; unset flags leave the preset's value."""
    for f in fields(spec):
        default = default_of(f)
        many = isinstance(default, tuple)
        kind = type(default[0] if many else default)
        parser.add_argument(
            f"--{prefix}{f.name.replace('_', '-')}",
            dest=f"{prefix}{f.name}",
            type=kind,
            nargs="+" if many else None,
            choices=f.metadata.get("choices"),
            default=None,
            help=_flag_help(f),
        )


def _flag_help(f: Field[Any]) -> str:
    low, high = f.metadata["low"], f.metadata["high"]
    return f.metadata["help"] + (f" ({low:g} to {high:g})" if low is not None else "")


def _override(spec: Any, args: argparse.Namespace, prefix: str) -> Any:
    given = {
        f.name: tuple(v) if isinstance(v, list) else v
        for f in fields(spec)
        if (v := getattr(args, f"{prefix}{f.name}", None)) is not None
    }
    return replace(spec, **given) if given else spec


def settings_of(args: argparse.Namespace) -> ScreenSpec:
    """The preset with the flags that were given."""
    spec = PRESETS[args.preset]
    for section in args.sections:
        prefix = f"{section}-" if len(args.sections) > 1 else ""
        spec = replace(spec, **{section: _override(getattr(spec, section), args, prefix)})
    return spec


def _request(args: argparse.Namespace) -> Request:
    from .casework import Request
    from .screening import LINES

    return Request(
        base=args.base,
        tuned=args.lora,
        photos=args.photos,
        controls=args.controls,
        out=args.out,
        prompts=tuple(args.prompt),
        exchangeable=args.exchangeable,
        spec=settings_of(args),
        lines=args.lines or LINES,
        encoder=args.encoder,
        models=args.models,
        device=args.device,
        dtype=args.dtype,
        strength=args.strength,
        negatives=args.negatives,
        shadow=args.shadow,
        resnet=args.resnet,
        pictures=not args.no_pictures,
        minor_suspected=args.minor_suspected,
        command=args.command_line,
    )


def _run_case(args: argparse.Namespace) -> int:
    from .casework import run_case

    bars = Bars()
    try:
        case = run_case(_request(args), progress=bars, announce=_say)
    finally:
        bars.close()
    _print_verdict(case, args.out)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print_verdict(case: Case, out: Path) -> None:
    verdict = case.verdict
    print(f"\nVerdict {verdict.letter}: {verdict.headline}")
    for reason in verdict.reasons:
        print(f"  - {reason.text}")
    print("Error rates:")
    for rate in verdict.error_rates:
        print(f"  - {rate}")
    print("Caveats:")
    for caveat in verdict.caveats:
        print(f"  - {caveat}")
    print(f"Report: {out / 'report.html'}  (machine-readable: {out / 'report.json'})")


def _inspect(args: argparse.Namespace) -> int:
    from .casework import inspect_files
    from .report.twin import render_json

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
    from .guidance import cfg, model_guidance
    from .samplework import SampleRequest, sample_files
    from .types import BASE

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
        _override(SampleSpec(), args, ""),
        args.device,
        args.dtype,
        args.minor_suspected,
    )
    bars = Bars()
    try:
        count = sample_files(request, progress=bars, announce=_say)
    finally:
        bars.close()
    print(f"{count} images in {args.out / 'img'}; provenance in {args.out / 'images.json'}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from .casebook import rewrite_report, write_redacted

    written = write_redacted(args.case) if args.redact else (rewrite_report(args.case),)
    print(*written, sep="\n")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from .casework import run_case
    from .demo.showcase import demo_requests

    for title, request in demo_requests(args.out):
        print(f"\n== {title} ==", file=sys.stderr)
        bars = Bars()
        try:
            case = run_case(request, progress=bars, announce=_say)
        finally:
            bars.close()
        _print_verdict(case, request.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
