"""What every line of evidence shows of its comparison: plots, legend, shares above a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from markupsafe import Markup

from ..errors import InputError
from ..specs import VerdictSpec
from . import plots, score_plot, text


def uri(made: str | None) -> Markup | None:
    """Marks our own data URI as printable whole; it is base64, so it needs no escape."""
    return None if made is None else Markup(made)


def shared(comparison: Mapping[str, Any], axis: str, marks: Sequence[Any]) -> dict[str, Any]:
    """Plots and rates of one comparison.

    Args:
        comparison: an `evidence.Comparison` as plain JSON.
        axis: name of the score.
        marks: (value, label) of vertical lines.
    """
    photos, controls = comparison["photo_scores"], comparison["control_scores"]
    return {
        "scores": uri(score_plot.scores(photos, controls, axis=axis, marks=marks)),
        "roc": uri(plots.roc(photos, controls, _legend(comparison).replace(", 95%", "\n95%"))),
        "roc_said": _legend(comparison),
        "tpr": [{**row, "rate": _rate_of(row)} for row in comparison["tpr"]],
    }


def control_marks(comparison: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Control thresholds as lines of a plot, lowest first."""
    return sorted(
        (row["threshold"], f"{text.percent(_rate_of(row))} of controls above")
        for row in comparison["tpr"]
        if row["estimable"] and row["threshold"] is not None
    )


def score_at(evidence: Mapping[str, Any] | None, index: int) -> float | None:
    """A line's score of one photo, None where it has none."""
    scores = evidence["comparison"]["photo_scores"] if evidence else ()
    return scores[index] if index < len(scores) else None


def _legend(comparison: Mapping[str, Any]) -> str:
    auc = comparison["auc"]
    ends = text.interval(auc["low"], auc["high"])
    return f"AUC {text.number(auc['auc'], 2)}, 95% interval {ends} ({_method(auc['method'])})"


def _method(name: str) -> str:
    return "DeLong" if str(name).startswith("DeLong") else "conservative"


def _rate_of(row: Mapping[str, Any]) -> float:
    """The false-alarm rate that a row was declared for."""
    return 1 / max(1, row.get("needed_controls") or 1)


def levels_of(settings: Any) -> VerdictSpec:
    """The levels that a case was judged at; the default ones where it does not say."""
    stated = settings.get("verdict") if isinstance(settings, Mapping) else None
    known = {f.name for f in fields(VerdictSpec)}
    try:
        return VerdictSpec(**{k: v for k, v in (stated or {}).items() if k in known})
    except (InputError, TypeError):
        return VerdictSpec()
