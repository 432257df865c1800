"""Photos in variants with their masks: what localizers are trained and tested on.

Each photo gives the original; for each generator a *spliced* variant (originals pasted outside the
mask); a *regenerated* one, every pixel from the generator, if it does not keep the others; and, if
it has a codec, a *round trip*: nothing repainted, yet decoded, so that a network cannot learn
"decoder = fake".
Originals pass through the same decoding and resizing as all others, and are stored as PNG too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import InputError, plural
from ..images.photos import Photos, png_bytes, to_tensor
from ..protocols import QUIET, Progress
from ..records import Reader
from ..sampling.plans import seed_of
from ..storage import CaseFolder, digest_of, sha256_bytes, write_atomic
from .variants import (
    NO_GENERATOR,
    ORIGINAL,
    REGENERATED,
    REPAINTED,
    ROUND_TRIP,
    SPLICED,
    SPLITS,
    VARIANTS,
)

LISTING = "examples.jsonl"
_SHARES = (0.7, 0.85)  # upper ends of train and val; test is the rest
_GROUP = 16  # photos of one call of a generator
Tick = Callable[[int], None]


class Inpainter(Protocol):
    """Something that repaints a masked region."""

    @property
    def name(self) -> str:
        """Of the generator, in tables."""
        ...

    @property
    def cost(self) -> int:
        """Units of work per photo, for progress."""
        ...

    def facts(self) -> dict[str, Any]:
        """What decides its results, as JSON facts."""
        ...

    def inpaint(self, pixels: Tensor, masks: Tensor, seeds: Sequence[int], tick: Tick) -> Tensor:
        """Repaint each photo.

        Args:
            pixels: ``[N, 3, H, W]`` in 0..1.
            masks: ``[N, 1, H, W]``, 1 where to repaint.
            seeds: ``N``, of each photo's noise.
            tick: told how many units of work are done; it may interrupt.
        """
        ...

    def round_trip(self, pixels: Tensor) -> Tensor | None:
        """Photos through its codec alone; None where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture of a set.

    Attributes:
        file: PNG below the set's folder.
        mask: grey PNG below it, white where repainted; empty where nothing was, or where every
            pixel was.
        variant: one of `VARIANTS`.
        generator: name; ``none`` for originals.
        source: SHA-256 of the original's canonical pixels; all variants of a photo share it.
        split: ``train``, ``val`` or ``test``: all variants of a photo are in one.
        sha256: of the picture's file.
        seed: of the generator's noise; -1 where there is none.
    """

    file: str
    mask: str
    variant: str
    generator: str
    source: str
    split: str
    sha256: str
    seed: int = -1

    @property
    def fake(self) -> bool:
        """Whether anything on it was repainted."""
        return self.variant in REPAINTED


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """A folder of examples.

    Attributes:
        root: the folder.
        rows: its pictures.
    """

    root: Path
    rows: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def pick(
        self,
        *,
        variants: Sequence[str] = VARIANTS,
        split: str = "",
        generators: Sequence[str] = (),
    ) -> ExampleSet:
        """Rows of these variants, of one split, of these generators; originals have none."""
        chosen = [
            r
            for r in self.rows
            if r.variant in variants
            and split in ("", r.split)
            and (not generators or r.generator in (*generators, NO_GENERATOR))
        ]
        return replace(self, rows=tuple(chosen))

    def only(self, *, fake: bool) -> ExampleSet:
        """Repainted rows, or untouched ones."""
        return replace(self, rows=tuple(r for r in self.rows if r.fake == fake))

    def picture(self, row: Example) -> Image.Image:
        """RGB picture of a row.

        Raises:
            InputError: it is gone, or another than when it was made (CHANGED_EXAMPLE).
        """
        return Image.fromarray(np.asarray(_open(self.root, row.file).convert("RGB")))

    def mask(self, row: Example) -> NDArray[np.bool_]:
        """``[H, W]``, True where repainted."""
        if row.mask:
            return np.asarray(_open(self.root, row.mask).convert("L")) > 127
        width, height = _open(self.root, row.file).size
        return np.full((height, width), row.fake)

    def digest(self) -> str:
        """Identity of the whole set."""
        return digest_of([asdict(r) for r in self.rows])


def _open(root: Path, name: str) -> Image.Image:
    try:
        return Image.open(root / name, formats=("PNG",))
    except OSError as error:
        raise InputError(
            "CHANGED_EXAMPLE", f"{root / name} cannot be read ({error}); make the set again"
        ) from error


def split_of(source: str, seed: int = 0) -> str:
    """The split of a photo, by its pixels: 70% train, 15% val, 15% test."""
    place = int(sha256_bytes(f"{seed}:{source}".encode())[:12], 16) / 16**12
    return SPLITS[sum(place >= upper for upper in _SHARES)]


def read_examples(root: Path) -> ExampleSet:
    """A set that `make_examples` wrote.

    Raises:
        InputError: no listing there (NOT_EXAMPLES), or a line that is not an example
            (BAD_EXAMPLES).
    """
    path = root / LISTING
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            "NOT_EXAMPLES", f"{path} cannot be read ({error.strerror}); `inpaint` makes a set"
        ) from error
    rows = tuple(_row(f"line {i} of {path}", line) for i, line in enumerate(lines, 1))
    if any(not _plain(name) for r in rows for name in (r.file, r.mask) if name):
        raise InputError("BAD_EXAMPLES", f"{path} names files outside its folder")
    return ExampleSet(root, rows)


def _row(place: str, line: str) -> Example:
    reader = Reader(place, "BAD_EXAMPLES", "make the set again with `inpaint`")
    return reader.read(Example, line.encode())


def _plain(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def make_examples(
    photos: Photos,
    masks: Sequence[NDArray[np.bool_]],
    inpainters: Sequence[Inpainter],
    case: CaseFolder,
    *,
    seed: int = 0,
    progress: Progress = QUIET,
) -> ExampleSet:
    """Every variant of every photo by every generator; finished pictures are not made again.

    Args:
        photos: at the generators' size.
        masks: ``[H, W]`` of each photo, True where it is repainted.
        inpainters: generators of different names.
        case: the set's folder.
        seed: of noise and split.
        progress: counts units of the generators' work.

    Returns:
        The set, also written as ``examples.jsonl``.

    Raises:
        InputError: a mask of another size (MASK_SIZE) or without a pixel (EMPTY_MASK), or two
            generators of one name (BAD_SETTING).
    """
    _check(photos, masks, inpainters)
    progress.start("repainting", len(photos) * sum(i.cost for i in inpainters))
    rows = [_original(photos, i, case, seed) for i in range(len(photos))]
    for inpainter in inpainters:
        for at in range(0, len(photos), _GROUP):
            index = range(at, min(at + _GROUP, len(photos)))
            rows += _group(
                photos, masks, inpainter, case, index=index, seed=seed, tick=progress.step
            )
    return listed(case, rows)


def listed(case: CaseFolder, rows: Sequence[Example]) -> ExampleSet:
    """The rows as a set, written to its ``examples.jsonl``."""
    lines = "".join(json.dumps(asdict(r), sort_keys=True) + "\n" for r in rows)
    write_atomic(case.root / LISTING, lines.encode())
    return ExampleSet(case.root, tuple(rows))


def _check(
    photos: Photos, masks: Sequence[NDArray[np.bool_]], inpainters: Sequence[Inpainter]
) -> None:
    size = tuple(photos.images.pixels.shape[2:])
    if len(masks) != len(photos):
        raise InputError(
            "MASK_COUNT",
            f"{plural(len(photos), 'photo')} and {plural(len(masks), 'mask')}; give one each",
        )
    for fact, mask in zip(photos.facts, masks, strict=True):
        if mask.shape != size:
            raise InputError(
                "MASK_SIZE",
                f"the mask of {fact.name} is {list(mask.shape)}, the photo {list(size)}; give "
                "masks of the photo's size",
            )
        if not mask.any():
            raise InputError("EMPTY_MASK", f"the mask of {fact.name} marks no pixel")
    names = [i.name for i in inpainters]
    if len(set(names)) < len(names) or NO_GENERATOR in names:
        raise InputError("BAD_SETTING", f"generators need different names, not {', '.join(names)}")


def _original(photos: Photos, i: int, case: CaseFolder, seed: int) -> Example:
    source = photos.images.sources[i].sha256
    unit = f"img/{digest_of([ORIGINAL, source])[:20]}"
    pixels = photos.images.pixels[i]
    split = split_of(source, seed)
    return stored(
        case, unit, pixels, variant=ORIGINAL, generator=NO_GENERATOR, source=source, split=split
    )


def _group(
    photos: Photos,
    masks: Sequence[NDArray[np.bool_]],
    inpainter: Inpainter,
    case: CaseFolder,
    *,
    index: range,
    seed: int,
    tick: Tick,
) -> list[Example]:
    sources = [photos.images.sources[i].sha256 for i in index]
    seeds = [seed_of(seed, int(s[:12], 16)) for s in sources]
    hole = torch.from_numpy(np.stack([masks[i] for i in index])).float()[:, None]
    pixels, facts = photos.images.pixels[index.start : index.stop], inpainter.facts()
    units = [
        {v: f"img/{digest_of([v, s, facts, n, _mask_digest(masks[i])])[:20]}" for v in VARIANTS}
        for i, s, n in zip(index, sources, seeds, strict=True)
    ]
    variants = _made(inpainter, pixels, hole, seeds, units, case=case, tick=tick)
    rows = []
    for k, (i, source) in enumerate(zip(index, sources, strict=True)):
        mask = _stored_mask(case, masks[i])
        for variant, picture in variants[k].items():
            row = stored(
                case,
                units[k][variant],
                picture,
                variant=variant,
                generator=inpainter.name,
                source=source,
                split=split_of(source, seed),
                mask=mask if variant in REPAINTED else "",
                seed=seeds[k],
            )
            rows.append(row)
    return rows


def _made(
    inpainter: Inpainter,
    pixels: Tensor,
    hole: Tensor,
    seeds: Sequence[int],
    units: Sequence[dict[str, str]],
    *,
    case: CaseFolder,
    tick: Tick,
) -> list[dict[str, Tensor]]:
    """Variants of each photo, drawn together unless all are there; the spliced one comes last."""
    if all(case.has(u[SPLICED]) for u in units):
        tick(len(units) * inpainter.cost)
        kept = [v for v in (REGENERATED, ROUND_TRIP, SPLICED) if case.has(units[0][v])]
        return [{v: read_unit(case, u[v]) for v in kept} for u in units]
    drawn = inpainter.inpaint(pixels, hole, seeds, tick)
    if not bool(drawn.isfinite().all()):
        raise InputError("NON_FINITE", f"{inpainter.name} made pixels that are NaN or infinite")
    spliced, back = torch.where(hole > 0, drawn, pixels), inpainter.round_trip(pixels)
    parts = {} if torch.equal(spliced, drawn) else {REGENERATED: drawn}
    parts |= {} if back is None else {ROUND_TRIP: back}
    return [{v: p[k] for v, p in (parts | {SPLICED: spliced}).items()} for k in range(len(pixels))]


def read_unit(case: CaseFolder, unit: str) -> Tensor:
    """Pixels ``[3, H, W]`` in 0..1 of a kept picture."""
    return to_tensor(_open(case.root, f"{unit}.png").convert("RGB"))


def stored(
    case: CaseFolder,
    unit: str,
    pixels: Tensor,
    *,
    variant: str,
    generator: str,
    source: str,
    split: str,
    mask: str = "",
    seed: int = -1,
) -> Example:
    """A row, and its picture kept in the case unless it is there; the rest as in `Example`."""
    if not case.has(unit):
        case.put(unit, ".png", png_bytes(pixels))
    facts = case.done[unit]
    return Example(
        file=facts["file"],
        mask=mask,
        variant=variant,
        generator=generator,
        source=source,
        split=split,
        sha256=facts["sha256"],
        seed=seed,
    )


def _stored_mask(case: CaseFolder, mask: NDArray[np.bool_]) -> str:
    unit = f"mask/{_mask_digest(mask)}"
    if not case.has(unit):
        out = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8) * 255).save(out, "PNG")
        case.put(unit, ".png", out.getvalue())
    return case.done[unit]["file"]


def _mask_digest(mask: NDArray[np.bool_]) -> str:
    return sha256_bytes(str(mask.shape).encode() + np.packbits(mask).tobytes())[:20]
