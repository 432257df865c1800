"""Flags from records: one per field of a request or spec, with its choices, bounds and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ..errors import InputError
from ..specs import Spec

SpecType = TypeVar("SpecType", bound=Spec)
VALUES = {Path: "PATH", int: "N", float: "X", str: "TEXT"}


def add_command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int | None]
) -> argparse.ArgumentParser:
    """A command that calls `run`."""
    p = commands.add_parser(name, help=text, description=text)
    p.set_defaults(run=run)
    return p


def add_steps(commands: Any, name: str, text: str, metavar: str = "STEP") -> Any:
    """A command that only holds further ones."""
    p = commands.add_parser(name, help=text, description=text)
    return p.add_subparsers(required=True, metavar=metavar)


def add_flags(
    parser: argparse.ArgumentParser,
    record: type[Spec],
    prefix: str = "",
    *,
    without: Sequence[str] = (),
    defaults: bool = True,
) -> None:
    """One flag per field that says how it is asked; unset flags leave the record's own value.

    Args:
        parser: of a command.
        record: a request or a spec.
        prefix: of every flag.
        without: fields that are not asked here.
        defaults: name them in the help; not where a preset decides them.
    """
    groups: dict[str, Any] = {}
    hints = get_type_hints(record)
    asked = [f for f in fields(record) if f.metadata and f.name not in without]
    for f in sorted(asked, key=lambda f: f.default is not MISSING):  # required ones first
        if "presets" in f.metadata:
            _add_settings(parser, f)
            continue
        group = f.metadata.get("group", "")
        if group and group not in groups:
            groups[group] = parser.add_mutually_exclusive_group()
        _add_flag(groups.get(group, parser), f, hints[f.name], prefix, defaults)


def _add_settings(parser: argparse.ArgumentParser, f: Field[Any]) -> None:
    presets = f.metadata["presets"]
    if presets:
        own = next(name for name, spec in presets.items() if spec == f.default)
        text = f"settings to start from (default: {own})"
        parser.add_argument(
            "--preset", choices=tuple(presets), default=argparse.SUPPRESS, help=text
        )
    spec: Any = type(f.default)
    add_flags(parser, spec, without=f.metadata["without"], defaults=not presets)


def _add_flag(parser: Any, f: Field[Any], hint: Any, prefix: str, defaults: bool) -> None:
    name = f.metadata.get("flag") or f"--{prefix}{f.name.replace('_', '-')}"
    choices = f.metadata.get("choices")
    kind, many = _kind(hint)
    more: dict[str, Any] = {"help": _help(f, many, defaults)}
    if name.startswith("--"):
        names, missing = [name], f.default is MISSING
        more |= {"dest": prefix + f.name, "default": argparse.SUPPRESS, "required": missing}
    else:
        names = [f.name]
    if kind is bool:
        more["action"] = "store_false" if f.default else "store_true"
    else:
        more |= {"type": kind, "choices": choices}
        if not choices or many:
            more["metavar"] = VALUES[kind] if name.startswith("--") else name
    if f.metadata.get("repeat"):
        more["action"] = "append"
    elif many:
        more["nargs"] = "+"
    parser.add_argument(*names, **more)


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of one value, and whether several may be given."""
    inner = [a for a in get_args(hint) if a not in (type(None), ...)]
    return (inner[0] if inner else hint), get_origin(hint) is tuple


def _help(f: Field[Any], many: bool, defaults: bool) -> str:
    text, (low, high) = f.metadata["help"], (f.metadata.get(k) for k in ("low", "high"))
    if many and "choices" in f.metadata:
        text += f": {', '.join(f.metadata['choices'])}"
    said = [] if high is None else [f"{_shown(low)} to {_shown(high)}"]
    if defaults and f.default not in (MISSING, None, "", ()) and not isinstance(f.default, bool):
        said.append(f"default: {_shown(f.default)}")
    return (text + (f" ({'; '.join(said)})" if said else "")).replace("%", "%%")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_shown(v) for v in value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def given(record: type, args: argparse.Namespace, prefix: str = "") -> dict[str, Any]:
    """Values of the flags that were given, by field."""
    values = vars(args)
    return {
        f.name: tuple(v) if isinstance(v := values[prefix + f.name], list) else v
        for f in fields(record)
        if prefix + f.name in values
    }


def override(spec: SpecType, args: argparse.Namespace, prefix: str = "") -> SpecType:
    """A spec with the flags that were given."""
    return replace(spec, **given(type(spec), args, prefix))


def request_of(record: type[SpecType], args: argparse.Namespace, **more: Any) -> SpecType:
    """The request that the flags make.

    Args:
        record: which one.
        args: of a parser with its flags.
        more: fields that have no flag, or that the command decides.

    Raises:
        InputError: a value out of its bounds (BAD_SETTING).
    """
    specs = {
        f.name: override(
            (f.metadata["presets"] or {}).get(vars(args).get("preset"), f.default), args
        )
        for f in fields(record)
        if "presets" in f.metadata
    }
    return record(**{**specs, **given(record, args), **more})


def refuse_flags(args: argparse.Namespace, names: Sequence[str], scale: str) -> None:
    """A study's scale with a model and photos of its own reads none of the user's files.

    Args:
        args: of a command with ``--scale``.
        names: of flags that the chosen scale does not read.
        scale: which one reads them.

    Raises:
        InputError: one was given (BAD_SETTING).
    """
    for name in names:
        if getattr(args, name):
            raise InputError(
                "BAD_SETTING",
                f"--{name} was given, and the scale {args.scale} has its own; --{name} belongs to "
                f"--scale {scale}; add it",
            )
