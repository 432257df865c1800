"""Photos of the cases: drawn fresh or taken from a pool, degraded alike, written and read as files.

Training photos, asked photos and controls of a case are one random split of one draw, so that an
innocent adapter's photos are exchangeable with the controls by construction.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from ...demo.faces import draw_faces
from ...demo.people import short_caption
from ...errors import NotEnoughDataError, plural
from ...images.photos import Photos, decode_file, fit_square, image_files, load_photos
from ...storage import digest_of, sha256_bytes, write_atomic
from .cases import StudyCase, placebos_of
from .settings import CalibrationSpec

Picture = NDArray[np.uint8]
DOMAIN = "northgate"


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The photos of one case.

    Attributes:
        training: what the adapter is trained on.
        asked: the photos in question; all, half or none of them are training photos.
        controls: photos that no adapter saw.
    """

    training: Photos
    asked: Photos
    controls: Photos


@dataclass(frozen=True)
class DrawnFaces:
    """Faces of the demo's first institution, new people for every case.

    Attributes:
        side: edge in pixels.
        caption: of every training photo.
    """

    side: int = 64
    caption: str = short_caption(DOMAIN)

    def facts(self) -> dict[str, str]:
        """What identifies the photos, without paths."""
        return {"drawn": "faces of one institution, new people for every case"}

    def names(self, case: StudyCase, own: int, controls: int) -> list[str]:
        """Names of a case's pictures in random order, controls last; none comes up twice."""
        order = np.random.default_rng([case.seed, 2]).permutation(own + controls)
        return [f"{case.seed}-{i}" for i in order]

    def draw(self, case: StudyCase, own: int, controls: int) -> list[Picture]:
        """The pictures of these names, uint8 ``[H, W, 3]``."""
        faces = draw_faces(own + controls, DOMAIN, case.seed, size=self.side).pixels
        return [faces[int(name.split("-")[1])] for name in self.names(case, own, controls)]


@dataclass(frozen=True)
class PhotoPool:
    """A folder of photos of one source.

    The controls are the same for all cases, so that no adapter saw one; the other photos are
    drawn for each case anew, and cases overlap.

    Attributes:
        folder: of the photos.
        side: edge in pixels.
        caption: of every training photo.
        seed: which photos are controls.
    """

    folder: Path
    side: int
    caption: str
    seed: int = 0

    def facts(self) -> dict[str, str]:
        """See `DrawnFaces`; the pool is known by the SHA-256 of all its files."""
        files = [sha256_bytes(file.read_bytes()) for file in image_files(self.folder)]
        return {"pool": digest_of(files), "caption": self.caption}

    def names(self, case: StudyCase, own: int, controls: int) -> list[str]:
        """See `DrawnFaces`.

        Raises:
            NotEnoughDataError: the pool is smaller than a case (SMALL_POOL).
        """
        names = [file.name for file in image_files(self.folder)]
        if len(names) < own + controls:
            raise NotEnoughDataError(
                "SMALL_POOL",
                f"{self.folder} holds {plural(len(names), 'photo')}; a case of {case.photos} needs "
                f"{own + controls}: training photos, as many unseen ones, and "
                f"{plural(controls, 'control')}",
            )
        pool = [names[i] for i in np.random.default_rng(self.seed).permutation(len(names))]
        rest = pool[controls:]
        chosen = np.random.default_rng([case.seed, 2]).permutation(len(rest))[:own]
        return [*(rest[i] for i in chosen), *pool[:controls]]

    def draw(self, case: StudyCase, own: int, controls: int) -> list[Picture]:
        """See `DrawnFaces`."""
        files = (self.folder / name for name in self.names(case, own, controls))
        return [np.asarray(fit_square(decode_file(f)[0], self.side), np.uint8) for f in files]


PhotoSource = DrawnFaces | PhotoPool


def null_cases(
    case: StudyCase, cases: Sequence[StudyCase], source: PhotoSource, spec: CalibrationSpec
) -> tuple[StudyCase, ...]:
    """`placebos_of` a case, without adapters that were trained on a photo it asks about."""
    names = source.names(case, 2 * case.photos, spec.controls)
    rows = split(case, spec)
    ours = {names[i] for part in ("asked", "controls") for i in rows[part]}

    def apart(other: StudyCase) -> bool:
        theirs = source.names(other, 2 * other.photos, spec.controls)
        return not ours.intersection(theirs[: other.photos])

    return placebos_of(case, [c for c in cases if apart(c)], spec.placebos)


def photo_sets(case: StudyCase, source: PhotoSource, spec: CalibrationSpec) -> Sets:
    """The photos of a case, through files as any photos come."""
    rng = np.random.default_rng([case.seed, 3])
    pictures = source.draw(case, 2 * case.photos, spec.controls)
    with TemporaryDirectory() as folder:
        files = [_write(p, case.quality, Path(folder), i, rng) for i, p in enumerate(pictures)]
        parts = {name: [files[i] for i in rows] for name, rows in split(case, spec).items()}
        return Sets(
            load_photos(parts["training"], "photo", source.side),
            load_photos(parts["asked"], "photo", source.side),
            load_photos(parts["controls"], "control", source.side),
        )


def split(case: StudyCase, spec: CalibrationSpec) -> dict[str, list[int]]:
    """Which of the pictures, that come in random order, are what.

    Example:
        >>> shape = {"rank": 4, "steps": 10, "photos": 4, "quality": "clean", "seed": 1}
        >>> case = StudyCase(number=0, used=0.5, **shape)
        >>> split(case, CalibrationSpec(controls=10))["asked"]
        [0, 1, 4, 5]
    """
    n, used = case.photos, round(case.used * case.photos)
    return {
        "training": list(range(n)),
        "asked": [*range(used), *range(n, 2 * n - used)],
        "controls": list(range(2 * n, 2 * n + spec.controls)),
    }


def _write(picture: Picture, quality: str, folder: Path, number: int, rng: Generator) -> Path:
    """One picture as a file under a name that tells nothing."""
    degraded, jpeg = DEGRADE[quality](picture, rng)
    out = io.BytesIO()
    Image.fromarray(degraded).save(out, "JPEG" if jpeg else "PNG", quality=jpeg)  # none in PNG
    path = folder / f"{rng.integers(0, 2**40):010x}{number:04x}.{'jpg' if jpeg else 'png'}"
    write_atomic(path, out.getvalue())
    return path


def _clean(picture: Picture, rng: Generator) -> tuple[Picture, int]:
    return picture, 0


def _jpeg(picture: Picture, rng: Generator) -> tuple[Picture, int]:
    return picture, int(rng.integers(30, 90, endpoint=True))


def _mixed(picture: Picture, rng: Generator) -> tuple[Picture, int]:
    """Contrast 0.4 to 1, blur up to 1.2 pixels, noise up to 0.08; half PNG, half JPEG."""
    x = picture.astype(np.float64) / 255
    x = x.mean() + rng.uniform(0.4, 1.0) * (x - x.mean())
    x = gaussian_filter(x, (sigma := rng.uniform(0.0, 1.2), sigma, 0))
    x = x + rng.normal(0.0, rng.uniform(0.0, 0.08), x.shape)
    made = np.clip(np.round(x * 255), 0, 255).astype(np.uint8)
    return made, int(rng.integers(88, 96, endpoint=True)) if rng.random() < 0.5 else 0


# quality -> (pixels, JPEG quality; 0 for PNG)
DEGRADE = {"clean": _clean, "jpeg": _jpeg, "mixed": _mixed}
