"""``decoys make`` and ``decoys rank``."""

from __future__ import annotations

import argparse
from typing import Any

from ..casework.request import DecoyRequest, RankRequest
from ..errors import plural
from .flags import add_command, add_flags, add_steps, request_of
from .terminal import Bars, say


def add(commands: Any) -> None:
    """The two steps of the decoy test."""
    steps = add_steps(
        commands, "decoys", "publish one of many secret variants of your photos; rank it later"
    )
    text = "draw the variants; write one to publish and the secret"
    add_flags(add_command(steps, "make", text, _make), DecoyRequest)
    text = "was a suspect trained on the published variant?"
    add_flags(add_command(steps, "rank", text, _rank), RankRequest)


def _make(args: argparse.Namespace) -> None:
    from ..casework.decoy_files import PUBLISH, SECRET, make_files

    request = request_of(DecoyRequest, args)
    secret = make_files(
        request.photos, request.out, request.spec, minor_suspected=request.minor_suspected
    )
    k = len(secret.seeds) - 1
    print(f"Publish only {request.out / PUBLISH}; never the originals or another variant.")
    print(f"Keep {request.out / SECRET} and the originals secret, with a copy in a safe place.")
    print(f"Commitment (deposit or publish it now): {secret.commitment}")
    print(f"{plural(k, 'decoy')}: the smallest p that a later rank can give is {1 / (k + 1):.3g}")


def _rank(args: argparse.Namespace) -> None:
    from ..casework.decoy_ranking import RANK, rank_files

    request = request_of(RankRequest, args)
    with Bars() as bars:
        rank = rank_files(request, progress=bars, announce=say)
    above = sum(d >= rank.statistic for d in rank.decoys)
    print(f"Published variant: {above} of {plural(rank.k, 'decoy')} scored as high "
          f"(kind {rank.kind})")  # fmt: skip
    print(f"p = {rank.p:.3g}; smallest attainable {rank.floor:.3g}; commitment {rank.commitment}")
    if rank.contrast_only:
        print("One decoy gives a contrast, not a test.")
    print("Valid if nobody but the owner knew the secret, and only this variant was published.")
    print(f"Scores: {request.out / RANK}, for --decoys of a case about these photos and no others.")
