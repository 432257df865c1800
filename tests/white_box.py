"""Evidence of the white-box line of which a test states what it is about."""

from dataclasses import replace
from typing import Any

from lora_forensics.core.verdicts.evidence import Comparison, LossCurve, MembershipEvidence


def white_box(comparison: Comparison, **stated: Any) -> MembershipEvidence:
    """A finding of two noise draws that agree, without null models or other signals."""
    curve = LossCurve((1.0,), (1.0,))
    plain = MembershipEvidence(
        signal="s", prompt="", timesteps=(50,), draws=2, comparison=comparison,
        seed_effects=(1.0, 1.0), photo_curve=curve, control_curve=curve, base_only_auc=0.5,
        tuned_only_auc=0.5, noise_floor=0.1, control_shift=0.2, too_weak=False, null_ranks=(),
        forwards=1,
    )  # fmt: skip
    return replace(plain, **stated)
