"""Decoys from files to files: make and publish a variant, rank it in a suspect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import __version__
from .backends.loading import open_pair
from .decoys import (
    DecoyRank,
    Pixels,
    Secret,
    Variant,
    draw_secret,
    make_variant,
    rank_json,
    rank_variants,
    read_secret,
    secret_json,
)
from .errors import InputError, RunError
from .images import (
    decode_file,
    fit_square,
    image_files,
    pixels_sha256,
    png_bytes,
    to_picture,
    to_tensor,
)
from .intake import check_output, stop_if_minor
from .lora.safeguard import stop_words
from .protocols import ModelPair, Progress
from .questions import inspect_pair
from .signals.paired import base_ratio, paired_losses
from .specs import DecoySpec, MembershipSpec
from .storage import CaseFolder, digest_of, open_case, sha256_bytes, write_atomic

SECRET, PUBLISH, RANK = "secret.json", "publish", "rank.json"


@dataclass(frozen=True, slots=True)
class RankRequest:
    """What to rank: the secret, the original photos, the suspect, where to."""

    secret: Path
    photos: Path
    base: Path
    tuned: Path
    out: Path
    prompt: str = ""
    spec: MembershipSpec = field(default_factory=MembershipSpec)
    device: str = "auto"
    dtype: str = "auto"
    minor_suspected: bool = False


def make_files(photos: Path, out: Path, spec: DecoySpec) -> Secret:
    """Write the variant to publish into ``publish/`` and the secret beside it (mode 0600).

    Args:
        photos: folder of the photos.
        out: new or empty folder.
        spec: kind and number of decoys.

    Raises:
        RunError: NOT_EMPTY; a second secret for one set would let its owner choose.
        InputError, NotEnoughDataError: unreadable or too few photos.
    """
    check_output(out)
    if out.exists() and any(out.iterdir()):
        raise RunError("NOT_EMPTY", f"{out} holds files; give a new folder")
    names, hashes, pixels = _originals(image_files(photos))
    secret = draw_secret(names, hashes, spec)
    variant = make_variant(secret, pixels, secret.index)
    write_atomic(out / SECRET, secret_json(secret))
    for number, (_, photo) in enumerate(variant.photos):
        name = f"{number:04d}"
        write_atomic(out / PUBLISH / f"{name}.png", png_bytes(_pixels(photo)))
        if variant.caption:
            write_atomic(out / PUBLISH / f"{name}.txt", variant.caption.encode())
    return secret


def rank_files(
    request: RankRequest,
    *,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> DecoyRank:
    """Rank the published variant among its decoys by BaseRatio; the same request resumes.

    Raises:
        InputError: the secret was changed, or the photos are not those it names (PHOTOS_CHANGED).
        ForensicsError: one of its named kinds.
    """
    check_output(request.out)
    secret = read_secret(request.secret.read_bytes())
    names, hashes, photos = _originals(image_files(request.photos))
    if (names, hashes) != (secret.names, secret.sha256):
        raise InputError(
            "PHOTOS_CHANGED",
            f"{request.photos} does not hold the {len(secret.names)} photos that the secret names; "
            "give the originals, not the published variant",
        )
    pair = open_pair(request.base, request.tuned, device=request.device, dtype=request.dtype)
    try:
        inspection = inspect_pair(pair)
        found = () if inspection is None else inspection.stop_words
        signs = [*stop_words([request.tuned.name, request.prompt]), *found]
        stop_if_minor(signs, flagged=request.minor_suspected)
        announce(f"{len(secret.seeds)} variants of {len(names)} photos, kind {secret.kind}")
        facts = {
            "tool": __version__,
            "models": asdict(pair.hashes),
            "commitment": secret.commitment,
            "prompt": request.prompt,
            "settings": asdict(request.spec),
        }
        case = open_case(request.out, facts)
        try:
            score = base_ratio_score(pair, request.prompt, request.spec, case)
            rank = rank_variants(secret, photos, score, progress=progress)
            write_atomic(request.out / RANK, rank_json(rank, pair.hashes))
        finally:
            case.close()
    finally:
        pair.close()
    return rank


def base_ratio_score(
    pair: ModelPair, prompt: str, spec: MembershipSpec, case: CaseFolder | None = None
) -> Callable[[Variant], float]:
    """Mean BaseRatio of a variant's photos; a photo that several variants share is scored once.

    Args:
        pair: the suspect.
        prompt: conditioning, where the variant has no caption of its own.
        spec: timesteps, draws, seed.
        case: keeps scored photos.
    """

    def score(variant: Variant) -> float:
        text = variant.caption or prompt
        return float(np.mean([_photo_score(pair, p, text, spec, case) for _, p in variant.photos]))

    return score


def _photo_score(
    pair: ModelPair, photo: Pixels, prompt: str, spec: MembershipSpec, case: CaseFolder | None
) -> float:
    square = fit_square(to_picture(_pixels(photo)), pair.resolution)
    unit = f"photos/{digest_of([pixels_sha256(square), prompt])[:24]}"
    if case is not None and case.has(unit):
        return float(case.read_tensors(unit)["score"])
    latents = pair.encode(to_tensor(square)[None])
    value = float(base_ratio(paired_losses(pair, latents, prompt, spec))[0])
    if not np.isfinite(value):
        raise InputError("NON_FINITE", "the model gave losses that are not finite; try float32")
    if case is not None:
        case.put_tensors(unit, {"score": torch.tensor(value, dtype=torch.float64)})
    return value


def _pixels(photo: Pixels) -> torch.Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255


def _originals(files: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...], list[Pixels]]:
    hashes = tuple(sha256_bytes(file.read_bytes()) for file in files)
    pixels = [np.asarray(decode_file(file)[0], np.uint8) for file in files]
    return tuple(file.name for file in files), hashes, pixels
