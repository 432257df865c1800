"""Ranks a published variant among its decoys in a suspect, from files to a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict

from .. import __version__
from ..backends.loading import open_pair
from ..decoys import DecoyRank, rank_json, rank_variants, read_secret
from ..errors import plural
from ..lora.safeguard import stop_words
from ..protocols import QUIET, Progress
from ..storage import Work, open_case, write_atomic
from .decoy_files import base_ratio_score, ranked_photos, read_originals
from .intake import check_output, model_signs, names_in, read_given, stop_if_minor
from .questions import inspect_pair
from .request import RankRequest

RANK = "rank.json"


def rank_files(
    request: RankRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> DecoyRank:
    """Rank the published variant among its decoys by BaseRatio; the same request resumes.

    Raises:
        InputError: the secret is missing or was changed, or the photos are not those it names
            (PHOTOS_CHANGED).
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any photo is opened.
    """
    check_output(request.out)
    secret = read_secret(read_given(request.secret))
    texts = [request.prompt, *secret.names, *names_in(request.photos)]
    stop_if_minor(stop_words(texts), flagged=request.minor_suspected)
    pair = open_pair(request.base, request.tuned, device=request.device, dtype=request.dtype)
    with closing(pair):
        stop_if_minor(model_signs(request.tuned, inspect_pair(pair)), flagged=False)
        photos = read_originals(secret, request.photos)
        variants = plural(len(secret.seeds), "variant")
        announce(f"{variants} of {plural(len(photos), 'photo')}, kind {secret.kind}")
        facts = {
            "tool": __version__,
            "models": asdict(pair.hashes),
            "device": pair.device.type,
            "dtype": str(pair.dtype),
            "commitment": secret.commitment,
            "prompt": request.prompt,
            "settings": asdict(request.spec),
        }
        with closing(open_case(request.out, facts)) as case:
            score = base_ratio_score(pair, request.prompt, request.spec, Work(case))
            rank = rank_variants(secret, photos, score, progress=progress)
            about = ranked_photos(secret, photos)
            write_atomic(request.out / RANK, rank_json(rank, pair.hashes, about))
    return rank
