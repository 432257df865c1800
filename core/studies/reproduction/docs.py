"""Writes the figures of a documentation page from the facts of a run, so that nobody types them.

``python -m lora_forensics.core.studies.reproduction.docs --data reproduction.json --page page.md``

A page marks what is filled in: ``<!-- table -->`` up to ``<!-- / -->`` holds a section of
`tables.SECTIONS`; ``<!-- 4/400 sound.auc .2 -->`` up to ``<!-- / -->`` one figure of a row, given
by key, path and decimal places. Marks that begin with ``localization`` are of that run's facts:
each kind of facts fills its own marks and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...storage import write_atomic
from ..tables import figure
from .localization.tables import SECTIONS as LOCALIZATION
from .tables import SECTIONS

KIND = "localization"
_FIELD = re.compile(r"<!-- (?P<what>[^/\s][^\n]*?) -->(?P<old>.*?)<!-- / -->", re.DOTALL)


def refresh(page: str, facts: Mapping[str, Any]) -> str:
    """The page with every marked place filled from the facts.

    Raises:
        InputError: BAD_FIELD, a mark names nothing of the facts.
    """
    return _FIELD.sub(lambda mark: _filled(mark["what"], mark["old"], facts), page)


def _filled(what: str, old: str, facts: Mapping[str, Any]) -> str:
    kind, _, rest = what.partition(" ")
    if (kind == KIND) != (facts.get("kind") == KIND):
        return f"<!-- {what} -->{old}<!-- / -->"
    if kind == KIND and rest not in LOCALIZATION:
        raise InputError("BAD_FIELD", f"the page asks for {what!r}, which the facts do not have")
    sections, name = (LOCALIZATION, rest) if kind == KIND else (SECTIONS, what)
    if name in sections:
        return f"<!-- {what} -->\n{sections[name][1](facts)}\n<!-- / -->"
    return f"<!-- {what} -->{figure_of(what, facts)}<!-- / -->"


def figure_of(what: str, facts: Mapping[str, Any]) -> str:
    """One figure, such as ``8 sound.auc .3``.

    Raises:
        InputError: BAD_FIELD.
    """
    try:
        key, path, places = what.split()
        value: Any = next(row for row in facts["rows"] if row["key"] == key)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return figure(float(value), int(places.removeprefix(".")))
    except (ValueError, KeyError, IndexError, TypeError, StopIteration) as error:
        raise InputError(
            "BAD_FIELD", f"the page asks for {what!r}, which the facts do not have"
        ) from error


def main() -> None:
    """Refresh a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="reproduction.json")
    parser.add_argument("--page", type=Path, required=True, help="Markdown page with marks")
    args = parser.parse_args()
    facts = json.loads(args.data.read_text(encoding="utf-8"))
    text = refresh(args.page.read_text(encoding="utf-8"), facts)
    write_atomic(args.page, text.encode())


if __name__ == "__main__":
    main()
