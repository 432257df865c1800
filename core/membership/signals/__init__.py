"""Per-image membership signals; higher always means member. One file a family.

`measure` scores photos and controls under any of `SIGNALS`; `paired` is the primary one alone.
"""

from .catalogue import DEEP, SIGNALS, STAGES, STANDARD, Signal, planned_rows
from .conditional import CaptionCheck, caption_dependent, gap_controls
from .fusion import FUSED, Residual, fusion, fusion_against, residual
from .measuring import Measured, measure, refusals
from .subjects import Subjects

__all__ = [
    "DEEP",
    "FUSED",
    "SIGNALS",
    "STAGES",
    "STANDARD",
    "CaptionCheck",
    "Measured",
    "Residual",
    "Signal",
    "Subjects",
    "caption_dependent",
    "fusion",
    "fusion_against",
    "gap_controls",
    "measure",
    "planned_rows",
    "refusals",
    "residual",
]
