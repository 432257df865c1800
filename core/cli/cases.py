"""``screen`` and the commands that run one line of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..casework.request import Request
from ..errors import plural
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
from .terminal import Bars, say

if TYPE_CHECKING:
    from ..verdicts.evidence import Case, Comparison

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


def _run(args: argparse.Namespace) -> None:
    from ..casework.case import run_case

    request = case_of(args)
    with Bars() as bars:
        case = run_case(request, progress=bars, announce=say)
    print_verdict(case, request.out)


def _print_list(heading: str, lines: Sequence[str]) -> None:
    """Lines below their heading; nothing where there is none."""
    if lines:
        print(f"{heading}:", *(f"  - {line}" for line in lines), sep="\n")


def _known(case: Case) -> list[str]:
    """What a calibration study says of verdicts A and B, and whether it covers the case."""
    if not case.known_rates:
        return []
    both = next((r for r in case.known_rates["letters"] if r["letter"] == "A or B"), None)
    told = []
    if both is not None:
        false, power = both["false_accusations"], both["power"]
        told.append(
            f"Calibration study: A or B for {false['k']} of {false['n']} innocent and "
            f"{power['k']} of {power['n']} guilty adapters."
        )
    return [*told, *(f"Outside that study: {text}" for text in case.known_rates["outside"])]


def _figures(case: Case) -> list[str]:
    """What each line that ran measured, and how the attack was run."""
    lines = {
        "White-box membership": case.membership,
        "Extraction": case.extraction,
        "Black-box attack": case.attack,
    }
    told = [_figure(name, e.comparison) for name, e in lines.items() if e is not None]
    return [*told, *(() if case.attack is None else case.attack.notes)]


def _figure(name: str, c: Comparison) -> str:
    return (
        f"{name}: AUC {c.auc.auc:.3f} ({c.auc.low:.3f} to {c.auc.high:.3f}), "
        f"effect {c.effect:+.2f} ({c.effect_low:+.2f} to {c.effect_high:+.2f}) control standard "
        f"deviations, permutation p = {c.permutation.p:.3g}; "
        f"{plural(len(c.photo_scores), 'photo')}, {plural(len(c.control_scores), 'control')}"
    )


def print_verdict(case: Case, out: Path) -> None:
    """The verdict in sentences, and the figures of the lines that ran."""
    verdict = case.verdict
    print(f"\nVerdict {verdict.letter}: {verdict.headline}")
    for reason in verdict.reasons:
        print(f"  - {reason.text}")
    _print_list("Figures", _figures(case))
    _print_list("Error rates", (*verdict.error_rates, *_known(case)))
    _print_list("Caveats", verdict.caveats)
    print(f"Report: {out / 'report.html'}  (machine-readable: {out / 'report.json'})")
