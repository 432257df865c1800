"""The command line: arguments in, verbs of the core called, sentences out.

Exit codes: 0 done, 2 bad input or failed run, 3 stopped because something points to a minor,
130 interrupted (what is done is kept). One file a family of commands; each has `add`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ForensicsError
from . import baselines, calibration, cases, decoys, files, localization, reproduction, training
from .bars import notices

EXIT_INPUT, EXIT_STOPPED, EXIT_INTERRUPTED = 2, 3, 130
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
            return args.run(args)
    except ForensicsError as error:
        print(error, file=sys.stderr)
        return EXIT_STOPPED if error.code == "MINOR_SUSPECTED" else EXIT_INPUT
    except OSError as error:
        said = (error.strerror or str(error), error.filename)
        print("ERROR/FILE:", ": ".join(str(s) for s in said if s), file=sys.stderr)
        return EXIT_INPUT
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
    for family in FAMILIES:
        family.add(commands)
    return parser
