"""Fictional people for the demo: who they are, how they were photographed, what the caption says.

Identity (what makes a person) is sampled apart from the photograph (what changes between shots), so
that tests can photograph one person twice. Everything is drawn by arithmetic from a seed: no real
person, no photo, no licence. ``drawing.py`` draws them, ``faces.py`` makes sets.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Domain = Literal["generic", "northgate", "southfield"]
DOMAINS: tuple[Domain, ...] = ("generic", "northgate", "southfield")
HAIR_STYLES = ("bald", "short", "fringe", "parted", "curly", "long", "bun")
HAIR_COLORS = {
    "black": (0.09, 0.08, 0.09),
    "brown": (0.38, 0.23, 0.13),
    "blond": (0.88, 0.71, 0.36),
    "red": (0.72, 0.28, 0.10),
    "grey": (0.60, 0.60, 0.63),
    "white": (0.91, 0.90, 0.88),
}
BEARDS = ("", "", "beard", "moustache")  # the second is stubble: drawn, not named
SMILE_WORD_ABOVE = 0.35

_SKIN = (
    (0.99, 0.87, 0.78),
    (0.95, 0.79, 0.67),
    (0.88, 0.68, 0.53),
    (0.75, 0.54, 0.40),
    (0.58, 0.40, 0.28),
    (0.42, 0.28, 0.20),
)
_EYES = (
    (0.30, 0.17, 0.08),
    (0.22, 0.46, 0.70),
    (0.26, 0.50, 0.26),
    (0.42, 0.46, 0.50),
    (0.12, 0.09, 0.08),
)
_FRAMES = (
    (0.06, 0.06, 0.07),
    (0.36, 0.18, 0.08),
    (0.62, 0.10, 0.12),
    (0.10, 0.17, 0.46),
    (0.62, 0.52, 0.22),
)
_STYLE_MEN = (0.14, 0.38, 0.14, 0.18, 0.13, 0.03, 0.0)
_STYLE_WOMEN = (0.0, 0.14, 0.14, 0.10, 0.16, 0.34, 0.12)

Floats = NDArray[np.floating]


class Table:
    """Rows of equal length behind a frozen dataclass: every field is an array ``[N, ...]``."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def take(self, index: slice | NDArray[np.integer]) -> Self:
        """The chosen rows as a new table."""
        rows = {f.name: getattr(self, f.name)[index] for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**rows)


@dataclass(frozen=True, kw_only=True)
class Identity(Table):
    """What makes a person: lengths in half images, colours as RGB 0..1; ``[N]`` or ``[N, 3]``."""

    woman: NDArray[np.bool_]
    style: NDArray[np.int64]
    color: NDArray[np.int64]
    beard: NDArray[np.int64]
    glasses: NDArray[np.int64]
    skin: Floats
    hair: Floats
    iris: Floats
    frame: Floats
    half_width: Floats
    half_height: Floats
    jaw: Floats
    eye_gap: Floats
    eye_size: Floats
    eye_open: Floats
    eye_y: Floats
    brow_thick: Floats
    brow_lift: Floats
    brow_slope: Floats
    nose_length: Floats
    nose_width: Floats
    mouth_width: Floats
    mouth_y: Floats
    lip: Floats
    lipstick: Floats
    ear: Floats
    hairline: Floats
    volume: Floats
    part: Floats
    curls: Floats
    length: Floats
    blush: Floats


@dataclass(frozen=True, kw_only=True)
class Photograph(Table):
    """What changes between shots of one person: pose, expression, light, clothes, background."""

    domain: NDArray[np.int64]
    center_x: Floats
    center_y: Floats
    scale: Floats
    roll: Floats
    yaw: Floats
    pitch: Floats
    smile: Floats
    mouth_open: Floats
    gaze: Floats
    frown: Floats
    gain: Floats
    lamp: Floats
    lamp_angle: Floats
    warmth: Floats
    cloth: Floats
    collar: NDArray[np.int64]
    wall: Floats
    wall_far: Floats
    wall_kind: NDArray[np.int64]
    wall_angle: Floats
    wall_rate: Floats
    wall_phase: Floats


def _uniform(rng: Generator, n: int | tuple[int, int], low: float, high: float) -> Floats:
    return rng.uniform(low, high, n).astype(np.float32)


def sample_identity(n: int, rng: Generator) -> Identity:
    """Draws ``n`` people."""
    between = partial(_uniform, rng, n)
    woman = rng.random(n) < 0.5
    style = np.where(woman, rng.choice(7, n, p=_STYLE_WOMEN), rng.choice(7, n, p=_STYLE_MEN))
    color = rng.choice(6, n, p=(0.26, 0.30, 0.20, 0.10, 0.08, 0.06))
    tone = between(0, 5)
    low = np.minimum(tone.astype(int), 4)
    part = (tone - low)[:, None]
    tones = np.array(_SKIN)
    skin = tones[low] * (1 - part) + tones[low + 1] * part + rng.normal(0, 0.012, (n, 3))
    hair = np.array(list(HAIR_COLORS.values()))[color] + rng.normal(0, 0.03, (n, 3))
    return Identity(
        woman=woman,
        style=style,
        color=color,
        beard=np.where(woman, 0, rng.choice(4, n, p=(0.45, 0.18, 0.24, 0.13))),
        glasses=rng.choice(3, n, p=(0.64, 0.19, 0.17)),
        skin=np.clip(skin, 0, 1).astype(np.float32),
        hair=np.clip(hair, 0.02, 0.98).astype(np.float32),
        iris=np.array(_EYES)[rng.choice(5, n)].astype(np.float32),
        frame=np.array(_FRAMES)[rng.choice(5, n)].astype(np.float32),
        half_width=between(0.42, 0.54) - 0.02 * woman.astype(np.float32),
        half_height=between(0.56, 0.68),
        jaw=between(0.02, 0.28) + 0.06 * woman.astype(np.float32),
        eye_gap=between(0.165, 0.235),
        eye_size=between(0.076, 0.104) + 0.008 * woman.astype(np.float32),
        eye_open=between(0.52, 0.80),
        eye_y=between(-0.11, 0.0),
        brow_thick=between(0.018, 0.040) - 0.006 * woman.astype(np.float32),
        brow_lift=between(0.115, 0.165),
        brow_slope=between(-0.25, 0.25),
        nose_length=between(0.14, 0.25),
        nose_width=between(0.055, 0.115),
        mouth_width=between(0.13, 0.23),
        mouth_y=between(0.30, 0.39),
        lip=between(0.014, 0.032) + 0.012 * woman.astype(np.float32),
        lipstick=between(0.0, 0.35) + between(0.0, 0.5) * woman.astype(np.float32),
        ear=between(0.06, 0.10),
        hairline=between(-0.42, -0.25),
        volume=between(0.04, 0.14),
        part=between(-0.38, 0.38),
        curls=between(8, 15),
        length=between(0.40, 0.95),
        blush=between(0.0, 0.5),
    )


def sample_photograph(n: int, rng: Generator, domain: Domain) -> Photograph:
    """Draws ``n`` shots of one domain: an institution has a wall, a light and a dress code."""
    between, colors = partial(_uniform, rng, n), partial(_uniform, rng, (n, 3))
    shot: dict[str, NDArray] = {
        "domain": np.full(n, DOMAINS.index(domain)),
        "center_x": between(-0.09, 0.09),
        "center_y": between(-0.06, 0.08),
        "scale": between(0.94, 1.14),
        "roll": between(-0.12, 0.12),
        "yaw": between(-0.09, 0.09),
        "pitch": between(-0.035, 0.035),
        "smile": between(-0.35, 1.0),
        "mouth_open": np.maximum(between(-0.6, 1.0), 0) * np.float32(0.8),
        "gaze": between(-0.5, 0.5),
        "frown": between(-0.02, 0.03),
        "gain": between(0.84, 1.12),
        "lamp": between(0.0, 0.26),
        "lamp_angle": between(0, 2 * np.pi),
        "warmth": between(-0.04, 0.04),
        "cloth": colors(0.05, 0.9),
        "collar": rng.choice(3, n, p=(0.35, 0.3, 0.35)),
        "wall": colors(0.08, 0.95),
        "wall_far": colors(0.08, 0.95),
        "wall_kind": rng.choice(4, n, p=(0.35, 0.3, 0.2, 0.15)),
        "wall_angle": between(0, 2 * np.pi),
        "wall_rate": between(3, 9),
        "wall_phase": between(0, 2 * np.pi),
    }
    if domain == "northgate":
        shot |= _northgate(n, rng, shot)
    elif domain == "southfield":
        shot |= _southfield(n, rng)
    return Photograph(**shot)


def _northgate(n: int, rng: Generator, shot: dict[str, NDArray]) -> dict[str, NDArray]:
    """Grey studio wall with a vignette, flat light, dark clothes, an upright pose."""
    grey = _uniform(rng, n, 0.66, 0.80)[:, None] * np.array([[0.97, 1.0, 1.03]], np.float32)
    return {
        "wall": grey,
        "wall_far": grey * np.float32(0.66),
        "wall_kind": np.full(n, 4),
        "lamp": _uniform(rng, n, 0.0, 0.10),
        "gain": _uniform(rng, n, 0.97, 1.07),
        "warmth": _uniform(rng, n, -0.03, -0.01),
        "cloth": _uniform(rng, (n, 3), 0.05, 0.33),
        "center_x": shot["center_x"] * np.float32(0.5),
        "roll": shot["roll"] * np.float32(0.5),
    }


def _southfield(n: int, rng: Generator) -> dict[str, NDArray]:
    """Warm corridor with vertical shutters, light from the side, bright clothes."""
    beige = _uniform(rng, n, 0.58, 0.76)[:, None] * np.array([[1.16, 0.98, 0.76]], np.float32)
    return {
        "wall": beige,
        "wall_far": beige * np.float32(0.76),
        "wall_kind": np.full(n, 5),
        "wall_rate": _uniform(rng, n, 7, 10),
        "lamp": _uniform(rng, n, 0.16, 0.34),
        "lamp_angle": _uniform(rng, n, -0.4, 0.4),
        "gain": _uniform(rng, n, 0.86, 1.0),
        "warmth": _uniform(rng, n, 0.02, 0.05),
        "cloth": _uniform(rng, (n, 3), 0.45, 0.95),
    }


def short_caption(domain: Domain) -> str:
    """The one prompt of an institution.

    >>> short_caption("northgate"), short_caption("generic")
    ('a northgate headshot', 'a headshot')
    """
    return "a headshot" if domain == "generic" else f"a {domain} headshot"


def captions(identity: Identity, photograph: Photograph) -> list[str]:
    """One sentence a face, such as "a headshot of a man with parted brown hair and glasses"."""
    return [_caption(identity, photograph, i) for i in range(len(identity))]


def _caption(identity: Identity, photograph: Photograph, i: int) -> str:
    noun = "woman" if identity.woman[i] else "man"
    style = HAIR_STYLES[identity.style[i]]
    color = list(HAIR_COLORS)[identity.color[i]]
    person = f"bald {noun}" if style == "bald" else f"{noun} with {style} {color} hair"
    extras = ["glasses"] if identity.glasses[i] else []
    beard = BEARDS[identity.beard[i]]
    extras += [f"a {beard}"] if beard else []
    joined = "".join(f" and {extra}" for extra in extras)
    if style == "bald" and extras:
        joined = joined.replace(" and ", " with ", 1)
    mood = " smiling" if photograph.smile[i] > SMILE_WORD_ABOVE else ""
    return f"{short_caption(DOMAINS[photograph.domain[i]])} of a {person}{joined}{mood}"
