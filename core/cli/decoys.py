"""``decoys make`` and ``decoys rank``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..specs import DecoySpec, MembershipSpec
from .bars import Bars, say
from .flags import model_flags, override, spec_flags

UNREAD = ("signals", "nulls", "counterfactuals", "null_noises", "permutations")


def add(commands: Any) -> None:
    """The two steps of the decoy test."""
    p = commands.add_parser(
        "decoys", help="publish one of many secret variants of your photos; rank it later"
    )
    steps = p.add_subparsers(required=True, metavar="STEP")
    make = steps.add_parser("make", help="draw the variants; write one to publish and the secret")
    make.add_argument("--photos", type=Path, required=True, help="folder of your photos")
    make.add_argument("--out", type=Path, required=True, help="new folder")
    make.add_argument("--minor-suspected", action="store_true", help="stop before any picture")
    spec_flags(make, DecoySpec, "")
    make.set_defaults(run=_make)
    rank = steps.add_parser("rank", help="was a suspect trained on the published variant?")
    rank.add_argument("--secret", type=Path, required=True, help="secret.json of `decoys make`")
    rank.add_argument("--photos", type=Path, required=True, help="the same photos as then")
    rank.add_argument("--base", type=Path, required=True, help="diffusers folder or .safetensors")
    rank.add_argument("--lora", type=Path, required=True, help="suspect LoRA or tuned checkpoint")
    rank.add_argument("--out", type=Path, required=True, help="case folder, new or to resume")
    rank.add_argument("--prompt", default="", help="caption of all photos; tokens bring their own")
    rank.add_argument("--minor-suspected", action="store_true", help="stop before any work")
    model_flags(rank)
    spec_flags(rank, MembershipSpec, "", without=UNREAD)
    rank.set_defaults(run=_rank)


def _make(args: argparse.Namespace) -> int:
    from ..casework.decoy_files import PUBLISH, SECRET, make_files

    spec = override(DecoySpec(), args, "")
    secret = make_files(args.photos, args.out, spec, minor_suspected=args.minor_suspected)
    k = len(secret.seeds) - 1
    print(f"Publish only {args.out / PUBLISH}; never the originals or another variant.")
    print(f"Keep {args.out / SECRET} and the originals secret, with a copy in a safe place.")
    print(f"Commitment (deposit or publish it now): {secret.commitment}")
    print(f"{k} decoys: the smallest p that a later rank can give is {1 / (k + 1):.3g}")
    return 0


def _rank(args: argparse.Namespace) -> int:
    from ..casework.decoy_ranking import RANK, RankRequest, rank_files

    request = RankRequest(
        args.secret,
        args.photos,
        args.base,
        args.lora,
        args.out,
        args.prompt,
        override(MembershipSpec(), args, ""),
        args.device,
        args.dtype,
        args.minor_suspected,
    )
    bars = Bars()
    try:
        rank = rank_files(request, progress=bars, announce=say)
    finally:
        bars.close()
    above = sum(d >= rank.statistic for d in rank.decoys)
    print(f"Published variant: {above} of {rank.k} decoys score as high (kind {rank.kind})")
    print(f"p = {rank.p:.3g}; smallest attainable {rank.floor:.3g}; commitment {rank.commitment}")
    if rank.contrast_only:
        print("One decoy gives a contrast, not a test.")
    print("Valid if nobody but the owner knew the secret, and only this variant was published.")
    print(f"Scores: {args.out / RANK}, for --decoys of a case about these photos and no others.")
    return 0
