"""Decoys as files: the variant to publish, its secret, the originals; and what ranks a variant."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..decoys import (
    Pixels,
    RankedPhoto,
    Secret,
    Variant,
    draw_secret,
    make_variant,
    secret_json,
)
from ..errors import InputError, RunError, plural
from ..images.photos import (
    decode_file,
    fit_square,
    image_files,
    pixels_sha256,
    png_bytes,
    to_picture,
    to_tensor,
)
from ..lora.safeguard import stop_words
from ..membership.signals.paired import base_ratio, paired_losses
from ..protocols import ModelPair
from ..specs import DecoySpec, MembershipSpec
from ..storage import UNKEPT, Work, digest_of, sha256_bytes, write_atomic
from .intake import check_output, names_in, stop_if_minor

SECRET, PUBLISH = "secret.json", "publish"


def make_files(
    photos: Path, out: Path, spec: DecoySpec, *, minor_suspected: bool = False
) -> Secret:
    """Write the variant to publish into ``publish/`` and the secret beside it (mode 0600).

    All is there or nothing: a run that was interrupted leaves no file in `out`.

    Args:
        photos: folder of the photos.
        out: new or empty folder.
        spec: kind and number of decoys.
        minor_suspected: the person says that the material may show a minor.

    Raises:
        RunError: NOT_EMPTY; a second secret for one set would let its owner choose. NOT_WRITABLE.
        InputError, NotEnoughDataError: unreadable or too few photos.
        ForensicsError: MINOR_SUSPECTED before any photo is opened.
    """
    check_output(out)
    if out.exists() and any(out.iterdir()):
        raise RunError("NOT_EMPTY", f"{out} holds files; give a new folder")
    stop_if_minor(stop_words(names_in(photos)), flagged=minor_suspected)
    names, hashes, pixels = _read(image_files(photos))
    secret = draw_secret(names, hashes, spec)
    place = out.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=place.parent) as beside:
            folder = Path(beside) / place.name
            _write(folder, secret, make_variant(secret, pixels, secret.index))
            os.replace(folder, place)
    except RunError:
        raise
    except OSError as error:
        raise RunError(
            "NOT_WRITABLE", f"{out} cannot be made ({error}); give a new folder as --out"
        ) from error
    return secret


def _write(folder: Path, secret: Secret, variant: Variant) -> None:
    write_atomic(folder / SECRET, secret_json(secret))
    for number, (_, photo) in enumerate(variant.photos):
        name = f"{number:04d}"
        write_atomic(folder / PUBLISH / f"{name}.png", _png(photo))
        if variant.caption:
            write_atomic(folder / PUBLISH / f"{name}.txt", variant.caption.encode())


def read_originals(secret: Secret, photos: Path) -> list[Pixels]:
    """Pixels of the photos that a secret names.

    Args:
        secret: from `draw_secret`.
        photos: folder of the original photos.

    Raises:
        InputError: the folder does not hold exactly those photos (PHOTOS_CHANGED).
    """
    names, hashes, pixels = _read(image_files(photos))
    if (names, hashes) != (secret.names, secret.sha256):
        raise InputError(
            "PHOTOS_CHANGED",
            f"{photos} does not hold the {plural(len(secret.names), 'photo')} of the secret; "
            "give the originals, not the published variant",
        )
    return pixels


def ranked_photos(secret: Secret, photos: Sequence[Pixels]) -> tuple[RankedPhoto, ...]:
    """What a rank is about: each original and what was published of it, by their hashes.

    Args:
        secret: from `draw_secret`.
        photos: pixels of the original photos, as `read_originals` gives them.
    """
    variant = make_variant(secret, photos, secret.index)
    published = {i: (sha256_bytes(_png(p)), pixels_sha256(p)) for i, p in variant.photos}
    return tuple(
        RankedPhoto((file, pixels_sha256(photo)), published.get(i, ()))
        for i, (file, photo) in enumerate(zip(secret.sha256, photos, strict=True))
    )


def known_by(files: Sequence[Path]) -> list[tuple[str, str]]:
    """SHA-256 of each photo's file and of its canonical pixels, for `decoys.check_photos`.

    The file's lasts where another decoder rounds otherwise, the pixels' where a copy was saved
    anew without loss.

    Raises:
        InputError: a file is not a picture.
    """
    decoded = (decode_file(file) for file in files)
    return [(facts.sha256, pixels_sha256(picture)) for picture, facts in decoded]


def base_ratio_score(
    pair: ModelPair, prompt: str, spec: MembershipSpec, work: Work = UNKEPT
) -> Callable[[Variant], float]:
    """Mean BaseRatio of a variant's photos; a photo that several variants share is scored once.

    Args:
        pair: the suspect.
        prompt: conditioning, where the variant has no caption of its own.
        spec: timesteps, draws, seed.
        work: keeps scored photos.
    """

    def score(variant: Variant) -> float:
        text = variant.caption or prompt
        return float(np.mean([_photo_score(pair, p, text, spec, work) for _, p in variant.photos]))

    return score


def _photo_score(
    pair: ModelPair, photo: Pixels, prompt: str, spec: MembershipSpec, work: Work
) -> float:
    square = fit_square(to_picture(_pixels(photo)), pair.resolution)
    unit = f"photos/{digest_of([pixels_sha256(square), prompt])[:24]}"

    def scored() -> dict[str, torch.Tensor]:
        latents = pair.encode(to_tensor(square)[None])
        value = float(base_ratio(paired_losses(pair, latents, prompt, spec))[0])
        if not np.isfinite(value):
            raise InputError("NON_FINITE", "the model gave losses that are not finite; try float32")
        return {"score": torch.tensor(value, dtype=torch.float64)}

    return float(work.tensors(unit, scored)["score"])


def _pixels(photo: Pixels) -> torch.Tensor:
    return torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255


def _png(photo: Pixels) -> bytes:
    return png_bytes(_pixels(photo))


def _read(files: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...], list[Pixels]]:
    hashes = tuple(sha256_bytes(file.read_bytes()) for file in files)
    pixels = [np.asarray(decode_file(file)[0], np.uint8) for file in files]
    return tuple(file.name for file in files), hashes, pixels
