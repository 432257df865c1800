"""``screen`` and the commands that run one line of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..casework.request import Request
from ..specs import (
    ATTACK_PRESETS,
    LINES,
    PRESETS,
    AttackSpec,
    CanonicalSpec,
    ExtractSpec,
    MembershipSpec,
    ScreenSpec,
    SignalSpec,
    Spec,
)
from .flags import add_command, add_flags, override, request_of
from .terminal import EXIT_DONE, EXIT_INPUT, Bars, say

if TYPE_CHECKING:
    from ..verdicts.case import Case

Sections = Mapping[str, type[Spec]]
SECTIONS: Sections = {
    "membership": MembershipSpec,
    "signals": SignalSpec,
    "extract": ExtractSpec,
    "attack": AttackSpec,
    "canonical": CanonicalSpec,
}
SHARED = {"signals": ("timesteps", "noises", "batch", "seed")}  # the primary signal's grid
COMMANDS = {  # help, lines, and the sections whose settings are flags
    "screen": ("four lines of evidence and a worded verdict", LINES, tuple(SECTIONS)),
    "score": (
        "white-box membership alone", LINES[:1], ("membership", "signals", "canonical"),
    ),
    "extract": ("extraction alone", LINES[1:2], ("extract", "canonical")),
    "attack": ("black-box attack alone", LINES[2:], ("attack", "canonical")),
}  # fmt: skip


def add(commands: Any) -> None:
    """The commands that make a case."""
    for name, (text, lines, sections) in COMMANDS.items():
        p = add_command(commands, name, text, _run)
        case_flags(p, {section: SECTIONS[section] for section in sections})
        p.set_defaults(lines=lines)


def case_flags(
    p: argparse.ArgumentParser,
    sections: Sections,
    *,
    without: Sequence[str] = (),
    unread: Mapping[str, Sequence[str]] = SHARED,
) -> None:
    """Flags of a `Request`, its presets and the settings of some sections.

    Args:
        p: the command's parser.
        sections: of a `ScreenSpec`; the first one's flags have no prefix where some are left out.
        without: fields of the request that the command does not read.
        unread: settings of a section that the command does not read.
    """
    add_flags(p, Request, without=without)
    p.add_argument(
        "--preset", choices=tuple(PRESETS), default="standard", help="budget (default: standard)"
    )
    p.add_argument("--attack-preset", choices=tuple(ATTACK_PRESETS), help="protocol of the attack")
    for section, spec in sections.items():
        prefix = _prefix(section, sections)
        add_flags(p, spec, prefix, without=unread.get(section, ()), defaults=False)
    p.set_defaults(sections=sections)


def _prefix(section: str, sections: Sections) -> str:
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


def case_of(args: argparse.Namespace) -> Request:
    """The case that the flags ask for."""
    return request_of(Request, args, spec=settings_of(args), command=args.command_line)


def _run(args: argparse.Namespace) -> int:
    from ..casework.case import run_case

    request = case_of(args)
    with Bars() as bars:
        case = run_case(request, progress=bars, announce=say)
    return print_verdict(case, request.out)


def print_verdict(case: Case, out: Path) -> int:
    """The verdict in sentences, and the figures of the lines that ran; returns the exit code."""
    from ..report.words import case_words

    print(f"\n{case_words(case)}")
    print(f"Report: {out / 'report.html'}  (machine-readable: {out / 'report.json'})")
    if case.verdict.letter != "ERROR":
        return EXIT_DONE
    say(str(case.verdict.reasons[0]))
    return EXIT_INPUT
