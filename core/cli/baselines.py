"""``baselines``: other people's ways to ask the same question."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..casework.request import BaselineRequest
from ..specs import AttackSpec
from .cases import case_flags, case_of
from .flags import add_command, add_flags, request_of
from .terminal import Bars, say

if TYPE_CHECKING:
    from ..attack.baselines import BaselineEvidence

DRAWING = ("images", "cfgs", "steps", "sampler", "side", "batch", "seed")  # of the attack
UNREAD = (
    "exchangeable", "resnet", "negatives", "shadow", "placebos", "rates", "decoys", "pictures",
)  # fmt: skip


def add(commands: Any) -> None:
    """The command that runs baselines on a suspect."""
    text = "other black-box methods, plain and calibrated on the base"
    p = add_command(commands, "baselines", text, _run)
    unread = {"attack": [f.name for f in fields(AttackSpec) if f.name not in DRAWING]}
    case_flags(p, {"attack": AttackSpec}, without=UNREAD, unread=unread)
    add_flags(p, BaselineRequest)
    p.set_defaults(lines=("attack",))


def _run(args: argparse.Namespace) -> None:
    from ..casework.baselines import RESULT, run_baselines

    request = request_of(BaselineRequest, args, case=case_of(args))
    with Bars() as bars:
        evidence = run_baselines(request, progress=bars, announce=say)
    print(f"{'baseline':<18}{'':<14}{'AUC':>7}{'95 % interval':>18}{'p':>10}")
    print(*(_row(e) for e in evidence), sep="\n")
    print("Each asks what the model draws, not which photo it saw; see docs/reproduction.md.")
    print(f"Scores: {request.case.out / RESULT}")


def _row(evidence: BaselineEvidence) -> str:
    c = evidence.comparison
    how = "minus base" if evidence.calibrated else "plain"
    interval = f"{c.auc.low:.3f} to {c.auc.high:.3f}"
    return f"{evidence.name:<18}{how:<14}{c.auc.auc:>7.3f}{interval:>18}{c.permutation.p:>10.2g}"
