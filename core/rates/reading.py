"""Rates from JSON, strictly: another schema or a strange file is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..records import Reader
from .facts import SCHEMA_VERSION, KnownRates

SHIPPED = Path(__file__).parent
TINY = "tiny"


def shipped_rates(name: str = TINY) -> KnownRates | None:
    """The rates that come with the tool; None where there are none of that name."""
    path = SHIPPED / f"{name}.json"
    return load_rates(path) if path.exists() else None


def load_rates(path: Path) -> KnownRates:
    """Rates from the JSON of a calibration study.

    Raises:
        InputError: no such file (MISSING_RATES), written by another version (RATES_SCHEMA), or
            not the JSON of a calibration study (BAD_RATES, NON_FINITE).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); `calibrate` writes rates.json"
        raise InputError("MISSING_RATES", message) from error
    reader = Reader(str(path), "BAD_RATES", "give the rates.json that `calibrate` wrote")
    facts = reader.parse(raw)
    again = "run `calibrate --summarize` on the study's folder again"
    replace(reader, code="RATES_SCHEMA", fix=again).check_schema(facts, SCHEMA_VERSION)
    return reader.record(KnownRates, facts)
