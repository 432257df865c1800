"""A spec's fields as a node's inputs, and back: a setting lives once, in the spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from comfy_api.latest import io

from ..core.errors import InputError
from ..core.specs import Spec, default_of

SpecType = TypeVar("SpecType", bound=Spec)
CATEGORY = "LoRA Forensics"
PROMPTS = "One prompt a line. Empty: those that the suspect file's metadata suggests."
RESOLUTION = "Image side in pixels; 0 is what the model family was trained at."


def inputs_of(spec: type[Spec], names: Iterable[str]) -> list[Any]:
    """Inputs for the named settings of a spec, in that order, with default, bounds and help."""
    by_name = {f.name: f for f in fields(spec)}
    return [_input(by_name[name]) for name in names]


def _input(f: Any) -> Any:
    default, more = default_of(f), f.metadata
    shared = {"default": default, "tooltip": more["help"]}
    bounds = {"min": more.get("low"), "max": more.get("high")}
    if isinstance(default, tuple):
        shared["default"] = ", ".join(f"{v:g}" for v in default)
        return io.String.Input(f.name, **shared)
    if more.get("choices"):
        return io.Combo.Input(f.name, options=list(more["choices"]), **shared)
    if isinstance(default, float):
        return io.Float.Input(f.name, **shared, **bounds, step=0.001, round=False)
    return io.Int.Input(f.name, **shared, **bounds)


def spec_of(spec: type[SpecType], values: Mapping[str, Any]) -> SpecType:
    """The spec that a form's values mean; settings that the form lacks keep their defaults.

    Raises:
        InputError: BAD_SETTING.
    """
    known = {f.name: default_of(f) for f in fields(spec)}
    chosen = {
        name: numbers(name, value, type(known[name][0]))
        if isinstance(known[name], tuple)
        else value
        for name, value in values.items()
        if name in known
    }
    return spec(**chosen)


def numbers(name: str, text: str, kind: type = float) -> tuple[Any, ...]:
    """A comma-separated list.

    Raises:
        InputError: BAD_SETTING for anything but numbers.
    """
    try:
        found = tuple(kind(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError:
        found = ()
    if not found:
        raise InputError(
            "BAD_SETTING", f"{name} is {text!r}; give numbers with commas between them"
        )
    return found
