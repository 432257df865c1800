"""Decoys: publish one of k + 1 exchangeable variants of a photo set, and rank it later.

Only the owner knows which variant went out. A model that was not trained on it treats all
variants alike, so the rank of the real one among the decoys is an exact p-value that needs no
controls, no null model and no assumption. The strongest evidence there is, if prepared in time.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from .errors import InputError, NotEnoughDataError, plural
from .protocols import QUIET, Progress
from .records import Reader
from .specs import DecoySpec
from .statistics.ranks import null_rank_p
from .storage import digest_of
from .types import ModelHashes

Pixels = npt.NDArray[np.uint8]

CAPTION = "a photo of {token}"
_SOUNDS = ("bcdfghjklmnprstvz", "aeiou")
RANK_SCHEMA = 2
_SECRET = Reader("the secret", "BAD_SECRET", "give the secret.json that `decoys make` wrote")
_RANK = Reader("the rank", "BAD_RANK", "run `decoys rank` again with a new --out")


@dataclass(frozen=True, slots=True)
class Secret:
    """What the owner keeps: with it every variant can be made again.

    Attributes:
        kind: ``mark``, ``subset`` or ``token``.
        seeds: 128 random bits in hex for each variant.
        index: which variant was published.
        names: file names of the photos, sorted.
        sha256: of the photos' files, in the same order.
        amplitude: largest change of a mark, in 8-bit steps.
        grid: cells on each side of a mark.
        commitment: SHA-256 of all of the above. Publish it, or leave it with a notary, together
            with the photos: it proves later that the secret was fixed before.
    """

    kind: str
    seeds: tuple[str, ...]
    index: int
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    amplitude: int
    grid: int
    commitment: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One variant of the set.

    Attributes:
        photos: index and pixels ``[H, W, 3]`` of each photo that belongs to it.
        caption: text published with every photo; empty but for tokens.
    """

    photos: tuple[tuple[int, Pixels], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class DecoyRank:
    """Rank of the published variant among its decoys.

    Attributes:
        p: (1 + decoys at or above) / (k + 1); exact under "the model was not trained on it".
        floor: smallest p that k decoys can give.
        k: decoys.
        kind: what the variants differ in.
        commitment: of the secret, to be compared with the published one.
        statistic: score of the published variant.
        decoys: scores of the decoys.
        contrast_only: a single decoy gives a contrast, not a test.
    """

    p: float
    floor: float
    k: int
    kind: str
    commitment: str
    statistic: float
    decoys: tuple[float, ...]
    contrast_only: bool


@dataclass(frozen=True, slots=True)
class RankedPhoto:
    """One photo of the set that a rank is about, by what it is known again.

    Attributes:
        original: SHA-256 of the owner's file and of its canonical pixels at their own size.
        published: the same of the picture that was published of it; empty where none was, as for
            the half that a ``subset`` keeps back.
    """

    original: tuple[str, ...]
    published: tuple[str, ...] = ()

    @property
    def hashes(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.original, *self.published)


@dataclass(frozen=True, slots=True)
class RankFile:
    """A rank as it is kept, with the models and the photos that it is about."""

    models: ModelHashes
    photos: tuple[RankedPhoto, ...]
    rank: DecoyRank
    schema_version: int = RANK_SCHEMA


def draw_secret(names: Sequence[str], sha256: Sequence[str], spec: DecoySpec) -> Secret:
    """Draw seeds and the variant to publish from the system's randomness.

    Args:
        names: file names of the photos.
        sha256: of their files.
        spec: kind and number of decoys.

    Raises:
        NotEnoughDataError: FEW_PHOTOS, fewer halves of the set than variants.
    """
    halves = math.comb(len(names), len(names) // 2)
    if spec.kind == "subset" and halves < 2 * (spec.decoys + 1):
        raise NotEnoughDataError(
            "FEW_PHOTOS",
            f"{plural(len(names), 'photo')} can be halved in {plural(halves, 'way')}, too few for "
            f"{plural(spec.decoys, 'decoy')}; give "
            "more photos, fewer decoys, or another --kind",
        )
    drawn = Secret(
        spec.kind,
        tuple(secrets.token_hex(16) for _ in range(spec.decoys + 1)),
        secrets.randbelow(spec.decoys + 1),
        tuple(names),
        tuple(sha256),
        spec.amplitude,
        spec.grid,
    )
    return replace(drawn, commitment=commitment_of(drawn))


def commitment_of(secret: Secret) -> str:
    """SHA-256 of everything in a secret but the commitment itself."""
    return digest_of({k: v for k, v in asdict(secret).items() if k != "commitment"})


def secret_json(secret: Secret) -> bytes:
    """The secret as a file; `read_secret` reads it."""
    return json.dumps(asdict(secret), indent=1).encode()


def read_secret(data: bytes) -> Secret:
    """Read a secret and hold it to its commitment.

    Raises:
        InputError: it is not a secret (BAD_SECRET), or was changed (SECRET_CHANGED).
    """
    secret = _SECRET.read(Secret, data)
    whole = 0 <= secret.index < len(secret.seeds) and len(secret.names) == len(secret.sha256)
    if commitment_of(secret) != secret.commitment or not whole:
        raise InputError(
            "SECRET_CHANGED",
            "the secret does not match its commitment; a rank from a changed secret proves "
            "nothing. Use the file that `decoys make` wrote",
        )
    return secret


def make_variant(secret: Secret, photos: Sequence[Pixels], number: int) -> Variant:
    """Variant `number` of the photos; the same secret gives the same variant.

    Args:
        secret: from `draw_secret`.
        photos: pixels ``[H, W, 3]`` of all photos, in the secret's order, of any size.
        number: 0 to k.

    Raises:
        InputError: another number of photos than the secret names (PAIR_MISMATCH).
    """
    if len(photos) != len(secret.names):
        message = f"the secret names {plural(len(secret.names), 'photo')}; given: {len(photos)}"
        raise InputError("PAIR_MISMATCH", message)
    rng = np.random.default_rng(int(secret.seeds[number], 16))
    everything = tuple(enumerate(photos))
    if secret.kind == "subset":
        chosen = np.sort(rng.permutation(len(photos))[: len(photos) // 2])
        return Variant(tuple(everything[i] for i in chosen))
    if secret.kind == "token":
        return Variant(everything, CAPTION.format(token=_token(rng)))
    pattern = rng.choice((-1.0, 1.0), size=(secret.grid, secret.grid, 3)) * secret.amplitude
    return Variant(tuple((i, marked(p, pattern)) for i, p in everything))


def marked(photo: Pixels, pattern: npt.NDArray[np.float64]) -> Pixels:
    """A photo ``[H, W, 3]`` plus a pattern ``[G, G, 3]`` of 8-bit steps stretched over it.

    Example:
        >>> marked(np.full((2, 2, 3), 255, np.uint8), np.full((1, 1, 3), -3.0))[0, 0].tolist()
        [252, 252, 252]
    """
    height, width = photo.shape[:2]
    rows = np.arange(height) * len(pattern) // height
    columns = np.arange(width) * pattern.shape[1] // width
    return np.clip(photo + pattern[rows][:, columns], 0, 255).astype(np.uint8)


def _token(rng: np.random.Generator) -> str:
    consonants, vowels = _SOUNDS
    return "".join(rng.choice(list(s)) for s in (consonants, vowels) * 4)


def rank_variants(
    secret: Secret,
    photos: Sequence[Pixels],
    score: Callable[[Variant], float],
    *,
    progress: Progress = QUIET,
) -> DecoyRank:
    """Score every variant with the suspect and rank the published one.

    Args:
        secret: from `draw_secret`.
        photos: pixels of the original photos.
        score: number of a variant, higher means that the model was trained on it. It must not
            know which variant was published.
        progress: long work.

    Raises:
        InputError: a score is not finite (NON_FINITE).

    Source:
        Specification mia.md, section 11, decoy rank; rank of one draw among exchangeable ones.
    """
    progress.start("decoys", len(secret.seeds))
    scores = []
    for number in range(len(secret.seeds)):
        scores.append(float(score(make_variant(secret, photos, number))))
        progress.step()
    real = scores.pop(secret.index)
    rank = null_rank_p(real, scores)
    return DecoyRank(
        rank.p, rank.floor, rank.n_nulls, secret.kind, secret.commitment, real, tuple(scores),
        rank.contrast_only,
    )  # fmt: skip


def rank_json(rank: DecoyRank, models: ModelHashes, photos: Sequence[RankedPhoto]) -> bytes:
    """A rank as a file, with the models and the photos that it is about."""
    return json.dumps(asdict(RankFile(models, tuple(photos), rank)), indent=1).encode()


def read_rank(data: bytes, models: ModelHashes, given: Sequence[Sequence[str]]) -> DecoyRank:
    """Read a rank and hold it to its own scores, to the suspect and to the photos in question.

    Args:
        data: the file.
        models: the suspect and its base.
        given: hashes of each photo in question, as `check_photos` wants them.

    Raises:
        InputError: BAD_RANK: it is not such a file, or its p is not that of its scores.
            OTHER_SUSPECT: it ranks variants in other models.
            OTHER_PHOTOS: it ranks variants of other photos.
    """
    facts = _RANK.parse(data)
    _RANK.check_schema(facts, RANK_SCHEMA)
    file = _RANK.record(RankFile, facts)
    if not _follows(file.rank):
        raise InputError(
            "BAD_RANK", "the rank's p does not follow from its scores; run `decoys rank` again"
        )
    if file.models != models:
        raise InputError(
            "OTHER_SUSPECT",
            "the rank is about another base or suspect; rank the decoys in it",
        )
    check_photos(file.photos, given)
    return file.rank


def _follows(rank: DecoyRank) -> bool:
    """Whether p, floor and k are those of the scores."""
    if not rank.decoys:
        return False
    again = null_rank_p(rank.statistic, rank.decoys)
    return (again.p, again.floor, again.n_nulls) == (rank.p, rank.floor, rank.k)


def check_photos(photos: Sequence[RankedPhoto], given: Sequence[Sequence[str]]) -> None:
    """Hold the photos in question to those that a rank is about.

    A rank speaks for what was published as a whole. So every photo in question must have been
    published, as it is or in a variant, or others would be judged by it (the half that `subset`
    kept back among them); and every published picture must be in question, or one borrowed photo
    would carry the whole set's p.

    Args:
        photos: what the rank is about.
        given: hashes of each photo in question, of its file and of its canonical pixels at their
            own size; one that is known is enough.

    Raises:
        InputError: OTHER_PHOTOS.
    """
    published = [photo for photo in photos if photo.published]
    known = {sha256 for photo in published for sha256 in photo.hashes}
    asked = {sha256 for hashes in given for sha256 in hashes}
    ours = sum(not known.isdisjoint(hashes) for hashes in given)
    found = sum(not asked.isdisjoint(photo.hashes) for photo in published)
    if not published or ours < len(given) or found < len(published):
        raise InputError(
            "OTHER_PHOTOS",
            f"the rank is about {ours} of the case's {plural(len(given), 'photo')}, and the case "
            f"has {found} of {plural(len(published), 'published picture')}; give all pictures "
            "of `publish`, or their originals, unchanged and with no other photo, or leave the "
            "decoys out",
        )
