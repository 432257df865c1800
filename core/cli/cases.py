"""``screen`` and the commands that run one line of it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..specs import (
    ATTACK_PRESETS,
    PRESETS,
    AttackSpec,
    CanonicalSpec,
    ExtractSpec,
    MembershipSpec,
    ScreenSpec,
    SignalSpec,
)
from .bars import Bars, say
from .flags import model_flags, override, spec_flags

if TYPE_CHECKING:
    from ..casework.request import Request
    from ..verdicts.case import Case

WHITE_BOX = {"membership": MembershipSpec, "signals": SignalSpec}
SECTIONS = {
    **WHITE_BOX,
    "extract": ExtractSpec,
    "attack": AttackSpec,
    "canonical": CanonicalSpec,
}
SHARED = {"signals": ("timesteps", "noises", "batch", "seed")}  # the primary signal's grid
ONE_LINE = {"score": "membership", "extract": "extraction", "attack": "attack"}


def _with(*names: str) -> dict[str, type]:
    """Sections of a command that runs one line."""
    return {name: SECTIONS[name] for name in (*names, "canonical")}


def add(commands: Any) -> None:
    """The commands that make a case."""
    _case_command(commands, "screen", "four lines of evidence and a worded verdict", SECTIONS)
    _case_command(commands, "score", "white-box membership alone", _with(*WHITE_BOX))
    _case_command(commands, "extract", "extraction alone", _with("extract"))
    _case_command(commands, "attack", "black-box attack alone", _with("attack"))


def _case_command(commands: Any, name: str, text: str, sections: dict[str, type]) -> None:
    p = commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    case_flags(p)
    p.add_argument(
        "--captions", type=Path, dest="own_captions",
        help="metadata.jsonl naming every photo and control: prompt controls of the deep signals",
    )  # fmt: skip
    for section, spec in sections.items():
        prefix = _prefix(section, sections)
        spec_flags(p, spec, prefix, SHARED.get(section, ()))
    p.set_defaults(run=_run_case, lines=(ONE_LINE[name],) if name in ONE_LINE else None)
    p.set_defaults(sections=sections)


def suspect_flags(p: argparse.ArgumentParser) -> None:
    """What every command about photos and a suspect reads."""
    p.add_argument("--base", type=Path, required=True, help="diffusers folder or .safetensors")
    p.add_argument("--lora", type=Path, required=True, help="suspect LoRA or tuned checkpoint")
    p.add_argument("--photos", type=Path, required=True, help="folder of the photos in question")
    p.add_argument(
        "--controls", type=Path, required=True, help="folder of photos that were not used"
    )
    p.add_argument("--out", type=Path, required=True, help="case folder, new or to resume")
    p.add_argument("--prompt", action="append", default=[], help="else from the file's metadata")
    p.add_argument("--preset", choices=tuple(PRESETS), default="standard", help="budget")
    p.add_argument("--attack-preset", choices=tuple(ATTACK_PRESETS), help="protocol of the attack")
    p.add_argument("--encoder", default="auto", help="descriptor: auto, tiny, sscd, clip")
    p.add_argument("--models", type=Path, help="folder with weights that you bring")
    p.add_argument("--strength", type=float, default=1.0, help="adapter strength")
    p.add_argument("--minor-suspected", action="store_true", help="stop before any sampling")
    model_flags(p)


def case_flags(p: argparse.ArgumentParser) -> None:
    """What a command that makes a case is given beside its settings."""
    suspect_flags(p)
    p.add_argument(
        "--exchangeable",
        action="store_true",
        help="the controls are a hold-out of the photos' own source; without this no verdict A",
    )
    p.add_argument("--resnet", type=Path, help="ImageNet ResNet-18 as safetensors, for the attack")
    label_0 = p.add_mutually_exclusive_group()
    label_0.add_argument("--negatives", type=Path, help="folder of label-0 images for the attack")
    label_0.add_argument("--shadow", type=Path, help="shadow LoRA whose images are label 0")
    p.add_argument("--placebos", type=Path, help="folder of LoRAs that never saw the photos: nulls")
    p.add_argument("--rates", type=Path, help="rates.json of your own `calibrate` study")
    p.add_argument(
        "--decoys", type=Path, help="rank.json of `decoys rank`: this suspect, these photos"
    )
    p.add_argument("--no-pictures", action="store_true", help="keep no picture of the photos")


def _prefix(section: str, sections: dict[str, type]) -> str:
    """Of a section's flags; none for that which a command of one line is about."""
    alone = len(sections) < len(SECTIONS) and section == next(iter(sections))
    return "" if alone else f"{section}-"


def settings_of(args: argparse.Namespace) -> ScreenSpec:
    """The preset with the flags that were given."""
    spec = PRESETS[args.preset]
    if args.attack_preset:
        spec = replace(spec, attack=ATTACK_PRESETS[args.attack_preset])
    for section in args.sections:
        prefix = _prefix(section, args.sections)
        spec = replace(spec, **{section: override(getattr(spec, section), args, prefix)})
    return spec


def request_of(args: argparse.Namespace) -> Request:
    """What the flags ask for."""
    from ..casework.request import Request
    from ..casework.screening import LINES

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
        placebos=args.placebos,
        rates=args.rates,
        decoys=args.decoys,
        captions=getattr(args, "own_captions", None),
        resnet=args.resnet,
        pictures=not args.no_pictures,
        minor_suspected=args.minor_suspected,
        command=args.command_line,
    )


def _run_case(args: argparse.Namespace) -> int:
    from ..casework.case import run_case

    bars = Bars()
    try:
        case = run_case(request_of(args), progress=bars, announce=say)
    finally:
        bars.close()
    return print_verdict(case, args.out)


def print_verdict(case: Case, out: Path) -> int:
    """The verdict in sentences, and the figures of the lines that ran; returns the exit code."""
    from ..report.words import case_words

    print(f"\n{case_words(case)}")
    print(f"Report: {out / 'report.html'}  (machine-readable: {out / 'report.json'})")
    if case.verdict.letter != "ERROR":
        return 0
    print(case.verdict.reasons[0], file=sys.stderr)
    return 2
