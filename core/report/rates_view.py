"""Known error rates of a calibration study, as the report prints them.

``case["known_rates"]`` is a plain dict, or missing where no study covers the case:

    study: str                        what the study was
    cases: {guilty, innocent}         adapters of known truth
    outside: [str]                    ways in which this case lies outside its range
    letters: [{letter, false_accusations, power}], each share {k, n, share, low, high}
    signals: [{name, title, auc, low, high}]
    p_uniform: [{name, p, verdict}]
    likelihood: {lr, log10, low, high, cap, capped, verbal, cllr} or null; may hold floor
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rates.scope import sentences
from . import plots
from .comparisons import uri


def rates_view(case: Mapping[str, Any]) -> dict[str, Any] | None:
    """The study's rates and the case's likelihood ratio, or None without a study."""
    known = case.get("known_rates")
    if not known:
        return None
    signals = known.get("signals") or []
    rows = [(plots.plain_words(s["title"]), s["auc"], s["low"], s["high"]) for s in signals]
    return {
        "study": known.get("study") or "",
        "cases": known.get("cases") or {},
        "outside": known.get("outside") or [],
        "letters": known.get("letters") or [],
        "signals": signals,
        "forest": uri(plots.forest(rows)) if rows else None,
        "p_uniform": known.get("p_uniform") or [],
        "likelihood": _likelihood(known.get("likelihood")),
        "card": sentences(known, (case.get("verdict") or {}).get("letter") or ""),
    }


def _likelihood(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A likelihood ratio with its direction in words; never a probability of use."""
    if not found or found.get("lr") is None:
        return None
    lr = found["lr"]
    return {
        **found,
        "floor": found.get("floor"),
        "supports": "Hp" if lr > 1 else "Hd" if lr < 1 else "neither",
        "times": None if lr == 1 or lr <= 0 else max(lr, 1 / lr),
    }
