"""The command line: arguments in, verbs of the core called, sentences out.

Exit codes: 0 done, 2 bad input or failed run, 3 stopped because something points to a minor,
130 interrupted (what is done is kept). One file a family of commands; each has `add`. Flags derive
from the requests of `casework.request` and from specs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ForensicsError
from . import baselines, calibration, cases, decoys, files, localization, reproduction, training
from .terminal import EXIT_DONE, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_STOPPED, notices, say

FAMILIES = (
    cases, baselines, files, training, calibration, reproduction, decoys, localization,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse_args(arguments)
    args.command_line = " ".join(["lora-forensics", *arguments])
    try:
        with notices():
            return args.run(args) or EXIT_DONE
    except ForensicsError as error:
        say(str(error))
        return EXIT_STOPPED if error.code == "MINOR_SUSPECTED" else EXIT_INPUT
    except OSError as error:
        said = (error.strerror or str(error), error.filename)
        say(f"ERROR/FILE: {': '.join(str(s) for s in said if s)}")
        return EXIT_INPUT
    except KeyboardInterrupt:
        say("\nStopped. What is done is kept; the same command resumes.")
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports nothing heavy, so that --help is instant."""
    parser = argparse.ArgumentParser(
        prog="lora-forensics",
        description="Was this LoRA (or DreamBooth checkpoint) trained on these photos?",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in FAMILIES:
        family.add(commands)
    return parser
