"""A spec's fields as a node's inputs, and back: a setting lives once, in the spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from comfy_api.latest import io

from ..core.errors import ForensicsError, InputError
from ..core.specs import Spec, default_of

SpecType = TypeVar("SpecType", bound=Spec)
CATEGORY = "LoRA Forensics"


def prompts_input() -> Any:
    """The prompts of every node that asks the models."""
    help_text = "One prompt per line. Empty: those that the suspect file's metadata suggests."
    return io.String.Input("prompts", default="", multiline=True, tooltip=help_text)


def resolution_input() -> Any:
    """The image side, which all nodes of one case share."""
    help_text = "Image side in pixels; 0 is what the model family was trained at."
    return io.Int.Input("resolution", default=0, min=0, max=4096, step=8, tooltip=help_text)


def inputs_of(spec: type[Spec], names: Iterable[str], *, optional: bool = False) -> list[Any]:
    """Inputs for the named settings of a spec, in that order, with default, bounds and help.

    Args:
        spec: whose settings.
        names: which settings.
        optional: for settings that a node got after its first release: saved workflows lack them.
    """
    by_name = {f.name: f for f in fields(spec)}
    return [_input(by_name[name], optional) for name in names]


def outputs_of(**kinds: Any) -> list[Any]:
    """Outputs by id and type, in that order; the page shows the id as the name."""
    return [kind.Output(name, display_name=name) for name, kind in kinds.items()]


def _input(f: Any, optional: bool) -> Any:
    default, more = default_of(f), f.metadata
    shared = {"default": default, "tooltip": more["help"], "optional": optional}
    bounds = {"min": more.get("low"), "max": more.get("high")}
    if isinstance(default, tuple):
        shared["default"] = ", ".join(f"{v:g}" for v in default)
        return io.String.Input(f.name, **shared)
    if more.get("choices"):
        return io.Combo.Input(f.name, options=list(more["choices"]), **shared)
    if isinstance(default, float):
        # The page shows as many digits as the step has: 1e-4 must not read 0.000.
        step = min(0.001, default / 10) if default else 0.001
        return io.Float.Input(f.name, **shared, **bounds, step=step, round=False)
    # Said outright, or the page puts "randomize after each run" behind whatever is called seed.
    return io.Int.Input(f.name, **shared, **bounds, control_after_generate=False)


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
        InputError: BAD_SETTING for anything but finite numbers.
    """
    try:
        found = tuple(kind(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError:
        found = ()
    if not found or not all(map(math.isfinite, found)):
        raise InputError(
            "BAD_SETTING", f"{name} is {text!r}; give numbers with commas between them"
        )
    return found


def accepted(check: Callable[..., object], *args: Any) -> bool | str:
    """What `validate_inputs` answers: True, or the error that a value would end in."""
    try:
        check(*args)
    except ForensicsError as error:
        return str(error)
    return True
