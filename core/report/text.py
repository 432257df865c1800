"""Words and numbers of the report: fixed sentences, cleaning, formats."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from ..errors import plural

MOST_CHARACTERS = 2000
MISSING = "n/a"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_GATES = {  # by the kinds of evidence.ReasonKind
    "decisive": ("lead", "▸", "Decisive"),
    "cause": ("lead", "▸", "Cause"),
    "met": ("pass", "✓", "Met"),
    "not_met": ("fail", "✗", "Not met"),
    "undecided": ("note", "•", "Undecided"),
    "found": ("pass", "✓", "Found"),
    "not_found": ("fail", "✗", "Not found"),
    "measured": ("note", "•", "Measured"),
    "not_run": ("none", "–", "Not run"),
    "noted": ("note", "•", "Noted"),
}


class Gate(NamedTuple):
    """One reason of a verdict: its state for the style, its sign and word for the reader."""

    state: str
    sign: str
    word: str
    text: str


def clean(value: str, most: int = MOST_CHARACTERS) -> str:
    """Text with every hidden character (control, bidi, zero width) shown as an escape, capped."""
    if len(value) <= most and value.isprintable():
        return value
    shown = value[: most + 1]
    out = "".join(c if c in "\n\t" else _escape(c) for c in shown)
    if len(value) > most or len(out) > most:
        return out[:most] + " [cut]"
    return out


def _escape(c: str) -> str:
    if unicodedata.category(c) not in _HIDDEN:
        return c
    code = ord(c)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def finalize(value: Any) -> Any:
    """The last step of every template expression: nothing reaches the page uncleaned."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return MISSING
    if isinstance(value, float):
        return number(value)
    return clean(str(value))


def number(value: Any, digits: int = 3) -> str:
    """A number with sensible digits; text passes through, None is n/a."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value != value or abs(value) == float("inf"):
        return MISSING
    if value and (abs(value) < 10**-digits or abs(value) >= 1e6):
        return f"{value:.2g}".replace("-", "−", 1) if value < 0 else f"{value:.2g}"
    return f"{value:,.{digits}f}".replace("-", "−")


def plain_number(value: Any) -> str:
    """A setting's number as it was set: no separators, no needless digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value is not None else MISSING


def percent(value: Any) -> str:
    """A share as a percentage."""
    if not isinstance(value, int | float):
        return MISSING if value is None else str(value)
    digits = 0 if abs(100 * value - round(100 * value)) < 1e-9 else 1
    return f"{100 * value:.{digits}f}%"


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Two ends in words."""
    if low is None or high is None:
        return "interval n/a"
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: Any, floor: Any = None) -> str:
    """A p-value, with the smallest one that the test could have given."""
    if p is None:
        return "p n/a"
    said = f"p = {small(p)}"
    return said if floor is None else f"{said} (smallest possible {small(floor)})"


def small(p: Any) -> str:
    """A probability at two significant digits, never in rounded-away form."""
    if not isinstance(p, int | float):
        return MISSING if p is None else str(p)
    if p >= 0.0995:
        return f"{p:.2f}"
    return f"{p:.1e}" if 0 < p < 1e-5 else f"{p:.2g}"


def duration(seconds: Any) -> str:
    """Seconds in words."""
    if not isinstance(seconds, int | float):
        return MISSING
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def counted(share: Mapping[str, Any], what: str = "") -> str:
    """Hits among trials with their interval.

    >>> counted({"k": 0, "n": 30, "low": 0.0, "high": 0.1157}, "cases")
    '0 of 30 cases (0% to 11.6%)'
    """
    hits = f"{number(share['k'])} of {number(share['n'])} {what}".rstrip()
    return f"{hits} ({percent(share['low'])} to {percent(share['high'])})"


def ratio(value: Any) -> str:
    """A likelihood ratio at two significant digits, without an exponent up to a million.

    >>> [ratio(v) for v in (0.042, 1.0, 87.3, 1234)]
    ['0.042', '1.0', '87', '1,200']
    """
    if not isinstance(value, int | float):
        return MISSING if value is None else str(value)
    if not value:
        return "0"
    if not 1e-6 < value < 1e6:
        return f"{value:.1e}"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{float(f'{value:.1e}'):,.{digits}f}"


def label(key: str) -> str:
    """A field's name as a reader would say it."""
    return key.replace("_", " ").strip() or key


def gate(reason: Any) -> Gate:
    """A reason of the twin with its state; one of no known kind is merely noted."""
    if not isinstance(reason, Mapping):
        reason = {"text": reason}
    state, sign, word = _GATES.get(str(reason.get("kind")), _GATES["noted"])
    return Gate(state, sign, word, str(reason.get("text") or ""))


def first_upper(text: str) -> str:
    """A sentence start."""
    return text[:1].upper() + text[1:]


FILTERS = {
    "number": number,
    "plain_number": plain_number,
    "percent": percent,
    "small": small,
    "ratio": ratio,
    "duration": duration,
    "label": label,
    "first_upper": first_upper,
}
GLOBALS = {"interval": interval, "p_value": p_value, "plural": plural, "counted": counted}
