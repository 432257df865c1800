"""``baselines``: other people's ways to ask the same question."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..specs import AttackSpec
from .bars import Bars, say
from .cases import request_of, suspect_flags
from .flags import spec_flags

if TYPE_CHECKING:
    from ..attack.baselines import BaselineEvidence

METHODS = (
    "centroid",
    "gan_leaks",
    "gan_leaks_cosine",
    "set_membership",
    "reconstruction",
    "zero_shot",
)
DRAWING = ("images", "cfgs", "steps", "sampler", "side", "batch", "seed")  # of the attack
UNASKED = {  # of a case; no baseline reads it
    "exchangeable": False,
    "resnet": None,
    "negatives": None,
    "shadow": None,
    "placebos": None,
    "rates": None,
    "decoys": None,
    "no_pictures": False,
}


def add(commands: Any) -> None:
    """The command that runs baselines on a suspect."""
    p = commands.add_parser(
        "baselines",
        help="other black-box methods, plain and calibrated on the base",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    suspect_flags(p)
    p.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS[:4]))
    p.add_argument("--captions", type=Path, help="metadata.jsonl, for reconstruction")
    p.add_argument("--member-text", default="", help="zero-shot: what a member would look like")
    p.add_argument("--other-text", default="", help="zero-shot: what others look like")
    spec_flags(p, AttackSpec, "", [f.name for f in fields(AttackSpec) if f.name not in DRAWING])
    p.set_defaults(run=_run, lines=("attack",), sections={"attack": AttackSpec}, **UNASKED)


def _run(args: argparse.Namespace) -> int:
    from ..casework.baselines import RESULT, BaselineRequest, run_baselines

    texts = tuple(t for t in (args.member_text, args.other_text) if t)
    request = BaselineRequest(request_of(args), tuple(args.methods), args.captions, texts)
    bars = Bars()
    try:
        found = run_baselines(request, progress=bars, announce=say)
    finally:
        bars.close()
    print(f"{'baseline':<18}{'':<14}{'AUC':>7}{'95 % interval':>18}{'p':>10}")
    for evidence in found:
        print(_line(evidence))
    print("Each asks what the model draws, not which photo it saw; see docs/reproduction.md.")
    print(f"Scores: {args.out / RESULT}")
    return 0


def _line(evidence: BaselineEvidence) -> str:
    c = evidence.comparison
    how = "minus base" if evidence.calibrated else "plain"
    interval = f"{c.auc.low:.3f} to {c.auc.high:.3f}"
    return f"{evidence.name:<18}{how:<14}{c.auc.auc:>7.3f}{interval:>18}{c.permutation.p:>10.2g}"
