"""Markdown tables of the studies and the figures in them; callers give rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

NOTHING = "-"
Facts = Mapping[str, Any]
Sections = Mapping[str, tuple[str, Callable[[Facts], str]]]
"""By name, a section's title and its text."""


def table(head: str, rows: Iterable[str]) -> str:
    """A Markdown table of lines whose cells are parted by `` | ``.

    Raises:
        ValueError: a row has another number of cells than the head.

    Example:
        >>> print(table("a | b", ["1 | 2"]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    lines, parts = list(rows), head.count(" | ")
    if odd := [line for line in lines if line.count(" | ") != parts]:
        raise ValueError(f"{odd[0]!r} must have {parts + 1} cells, as {head!r}")
    return "\n".join(f"| {line} |" for line in (head, "--- | " * parts + "---", *lines))


def figure(value: float | None, places: int = 2) -> str:
    """A figure as the papers print it, without a zero before the point; None is a dash.

    Example:
        >>> figure(0.864), figure(None), figure(-0.0132, 3)
        ('.86', '-', '-.013')
    """
    if value is None:
        return NOTHING
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{places}f}")


def percent(share: float | None) -> str:
    """A share in per cent, without the sign.

    Example:
        >>> percent(0.845), percent(None)
        ('84.5', '-')
    """
    return NOTHING if share is None else f"{100 * share:.1f}"


def span(
    value: float, low: float, high: float, show: Callable[[float], str] = "{:.3f}".format
) -> str:
    """A value with its interval.

    Example:
        >>> span(0.5, 0.4, 0.65, percent)
        '50.0 (40.0 to 65.0)'
    """
    return f"{show(value)} ({show(low)} to {show(high)})"


def signed(value: float, low: float, high: float) -> str:
    """A difference with its interval.

    Example:
        >>> signed(0.05, -0.01, 0.11)
        '+0.050 (-0.010 to +0.110)'
    """
    return span(value, low, high, "{:+.3f}".format)


def run_lines(facts: Facts, time: str, packages: Sequence[str], more: Sequence[str]) -> str:
    """A list of how a study was run.

    Args:
        facts: with ``command``, ``hardware`` and ``versions``.
        time: what it took.
        packages: whose versions are printed.
        more: further lines.
    """
    machine, versions = facts["hardware"], facts["versions"]
    place = f"{machine['threads']} thread(s), {machine['cores']} cores, {machine['machine']}"
    lines = [
        f"command: `{facts['command']}`",
        f"time: {time}; {place}, {versions['device']}",
        f"versions: {', '.join(f'{name} {versions[name]}' for name in packages)}",
        *more,
    ]
    return "\n".join(f"- {line}" for line in lines)


def document(title: str, sections: Sections, facts: Facts) -> str:
    """All sections under one title."""
    parts = [f"## {name}\n\n{text(facts)}\n" for name, text in sections.values()]
    return f"# {title}\n\n" + "\n".join(parts)
