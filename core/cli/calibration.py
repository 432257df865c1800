"""``calibrate``: error rates from many adapters of known truth."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..casework.request import ModelRequest
from ..errors import InputError, plural
from ..studies.calibration.settings import CalibrationSpec
from .flags import add_command, add_flags, given, override, refuse_flags
from .terminal import Bars, say

if TYPE_CHECKING:
    from ..rates.facts import KnownRates
    from ..studies.calibration.run import Study


def add(commands: Any) -> None:
    """The command of the calibration study."""
    text = "known error rates: many LoRAs of known truth through the whole pipeline"
    p = add_command(commands, "calibrate", text, _calibrate)
    p.add_argument("--out", type=Path, required=True, help="folder of the study, new or to resume")
    p.add_argument(
        "--scale",
        choices=("tiny", "own"),
        default="tiny",
        help="embedded model, or your --base (default: tiny)",
    )
    p.add_argument("--base", type=Path, help="own: diffusers folder or .safetensors")
    p.add_argument("--photos", type=Path, help="own: folder of photos that the base never saw")
    p.add_argument(
        "--prompt",
        default="a photo",
        help="own: caption of every training photo (default: a photo)",
    )
    p.add_argument("--encoder", default="auto", help="own: copy descriptor: auto, tiny, sscd, clip")
    p.add_argument("--models", type=Path, help="own: folder with weights that you bring")
    p.add_argument(
        "--shard",
        default="1/1",
        help="i/n: this process takes part i first; all share --out (default: 1/1)",
    )
    p.add_argument("--threads", type=int, default=0, help="threads of this process; 0 = torch's")
    p.add_argument("--plan-only", action="store_true", help="print the plan and its cost, stop")
    p.add_argument("--summarize", action="store_true", help="only write rates of what is finished")
    add_flags(p, ModelRequest, without=("minor_suspected",))
    add_flags(p, CalibrationSpec)


def parse_shard(text: str) -> tuple[int, int]:
    """``i/n`` with 1 <= i <= n.

    Raises:
        InputError: it is not (BAD_SETTING).

    Example:
        >>> parse_shard("1/2")
        (1, 2)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard, shards = (int(g) for g in match.groups()) if match else (0, 0)
    if not 1 <= shard <= shards:
        raise InputError("BAD_SETTING", f"--shard is {text!r}; give i/n such as 1/2, i from 1 to n")
    return shard, shards


def _calibrate(args: argparse.Namespace) -> None:
    from ..studies.calibration.summary import read_study, summarise

    if args.summarize:
        _report(summarise(read_study(args.out), command=args.command_line), args.out)
        return
    if args.threads < 0:
        raise InputError(
            "BAD_SETTING", f"--threads is {args.threads}; give 1 or more, or 0 for torch's own"
        )
    import torch

    from ..studies.calibration.run import plan_text, run_study

    shard, shards = parse_shard(args.shard)
    if args.threads:
        torch.set_num_threads(args.threads)
    study = _study(args)
    say(plan_text(study))
    if args.plan_only:
        return
    with Bars() as bars:
        busy = run_study(study, args.out, shard=shard, shards=shards, progress=bars, announce=say)
    if busy:
        cases = plural(len(busy), "case")
        say(f"other processes still have {cases}; the last one writes the rates")
        return
    _report(summarise(read_study(args.out), command=_command(args)), args.out)


def _study(args: argparse.Namespace) -> Study:
    from ..studies.calibration.run import own_study, tiny_study

    spec = override(CalibrationSpec(), args)
    if args.scale == "tiny":
        refuse_flags(args, ("base", "photos", "models"), "own")
        return tiny_study(spec)
    if args.base is None or args.photos is None:
        raise InputError("BAD_SETTING", "--scale own needs --base and --photos")
    return own_study(
        spec,
        args.base,
        args.photos,
        args.prompt,
        encoder=args.encoder,
        models=args.models,
        **given(ModelRequest, args),
    )


def _command(args: argparse.Namespace) -> str:
    """The command line without what changes no result."""
    words = re.sub(r" --(shard|threads|models|out)[ =]\S+", "", args.command_line)
    return f"{words} --out FOLDER"


def _report(rates: KnownRates, out: Path) -> None:
    for claim in rates.claims:
        print(f"{'held    ' if claim.held else 'NOT HELD'}  {claim.text}: {claim.figure}")
    for letter in rates.letters:
        print(f"verdict {letter.letter}: innocent {letter.innocent}, guilty {letter.guilty}")
    print(f"Rates: {out / 'rates.json'}  Page: {out / 'calibration.md'}")
