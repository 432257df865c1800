"""Settings as flags: one a field of a spec, with its bounds and help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import Field, fields, replace
from typing import Any

from ..specs import default_of


def model_flags(p: argparse.ArgumentParser) -> None:
    """Where and in which precision a model runs."""
    p.add_argument("--device", default="auto", help="auto, cpu, cuda")
    p.add_argument("--dtype", default="auto", help="auto, float32, float16, bfloat16")


def spec_flags(
    parser: argparse.ArgumentParser, spec: type, prefix: str, without: Sequence[str] = ()
) -> None:
    """One flag a setting; unset flags leave the preset's value."""
    for f in fields(spec):
        if f.name in without:
            continue
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


def override(spec: Any, args: argparse.Namespace, prefix: str) -> Any:
    """A spec with the flags that were given."""
    given = {
        f.name: tuple(v) if isinstance(v, list) else v
        for f in fields(spec)
        if (v := getattr(args, f"{prefix}{f.name}", None)) is not None
    }
    return replace(spec, **given) if given else spec
