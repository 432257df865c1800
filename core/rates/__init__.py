"""Known error rates: what a calibration study measured, and whether a case lies inside its range.

Light enough for reports and nodes: nothing but the standard library.

Source: specification membership_sota.md, section 6, point 8.
"""

from .facts import (
    SCHEMA_VERSION,
    CaseRow,
    Claim,
    Estimate,
    FactorRate,
    KnownRates,
    LetterRate,
    LikelihoodCheck,
    PhotoCalls,
    PValueCheck,
    Reference,
    Share,
    SignalRate,
    UsageCheck,
)
from .reading import load_rates, shipped_rates
from .scope import FACTS, CaseFacts, sentences, validated

__all__ = [
    "FACTS",
    "SCHEMA_VERSION",
    "CaseFacts",
    "CaseRow",
    "Claim",
    "Estimate",
    "FactorRate",
    "KnownRates",
    "LetterRate",
    "LikelihoodCheck",
    "PValueCheck",
    "PhotoCalls",
    "Reference",
    "Share",
    "SignalRate",
    "UsageCheck",
    "load_rates",
    "sentences",
    "shipped_rates",
    "validated",
]
