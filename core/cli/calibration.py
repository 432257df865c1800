"""``calibrate``: error rates from many adapters of known truth."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..studies.calibration.settings import CalibrationSpec
from .bars import Bars, say
from .flags import model_flags, override, spec_flags

if TYPE_CHECKING:
    from ..rates.facts import KnownRates
    from ..studies.calibration.run import Study


def add(commands: Any) -> None:
    """The command of the calibration study."""
    p = commands.add_parser(
        "calibrate",
        help="known error rates: many LoRAs of known truth through the whole pipeline",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument(
        "--scale", choices=("tiny", "own"), default="tiny", help="embedded model, or your --base"
    )
    p.add_argument("--out", type=Path, required=True, help="folder of the study, new or to resume")
    p.add_argument("--base", type=Path, help="own: diffusers folder or .safetensors")
    p.add_argument("--photos", type=Path, help="own: folder of photos that the base never saw")
    p.add_argument("--prompt", default="a photo", help="own: caption of every training photo")
    p.add_argument("--encoder", default="auto", help="own: copy descriptor: auto, tiny, sscd, clip")
    p.add_argument("--models", type=Path, help="folder with weights that you bring")
    p.add_argument(
        "--shard", default="1/1", help="i/n: this process takes part i first; all share --out"
    )
    p.add_argument("--threads", type=int, default=0, help="threads of this process; 0 = torch's")
    p.add_argument("--plan-only", action="store_true", help="print the plan and its cost, stop")
    p.add_argument("--summarise", action="store_true", help="only write rates of what is finished")
    model_flags(p)
    spec_flags(p, CalibrationSpec, "")
    p.set_defaults(run=_calibrate)


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


def _calibrate(args: argparse.Namespace) -> int:
    from ..studies.calibration.summary import read_study, summarise

    if args.summarise:
        _report(summarise(read_study(args.out), command=args.command_line), args.out)
        return 0
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
        return 0
    bars = Bars()
    try:
        busy = run_study(study, args.out, shard=shard, shards=shards, progress=bars, announce=say)
    finally:
        bars.close()
    if busy:
        say(f"{len(busy)} cases are still in other processes; the last one writes the rates")
        return 0
    _report(summarise(read_study(args.out), command=_command(args)), args.out)
    return 0


def _study(args: argparse.Namespace) -> Study:
    from ..studies.calibration.run import own_study, tiny_study

    spec = override(CalibrationSpec(), args, "")
    if args.scale == "tiny":
        for name in ("base", "photos", "models"):
            if getattr(args, name) is not None:
                raise InputError(
                    "BAD_SETTING",
                    f"--{name} was given, and the scale tiny has its own; --{name} belongs to "
                    "--scale own; add it",
                )
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
        device=args.device,
        dtype=args.dtype,
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
