"""Draws a face from its numbers: soft-edged signed distances in numpy, back to front.

Coordinates run from -1 to 1, x to the right and y down; distances are negative inside. Arrays are
``[N, S, S]`` and colours ``[N, S, S, 3]`` or broadcastable to it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .people import Identity, Photograph

Array = Any  # float arrays and scalars of numpy, broadcast against each other


def _triple(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


BALD, SHORT, FRINGE, PARTED, CURLY, LONG, BUN = range(7)
STUBBLE, BEARD, MOUSTACHE = 1, 2, 3
LIP = _triple(0.82, 0.48, 0.46)
LIPSTICK = _triple(0.78, 0.12, 0.20)
BLUSH = _triple(0.95, 0.45, 0.42)


class PerFace:
    """Per-face numbers shaped to broadcast over an image: ``[N, 1, 1]`` or ``[N, 1, 1, 3]``."""

    def __init__(self, table: Any):
        self._table = table

    def __getattr__(self, name: str) -> Array:
        values = np.asarray(getattr(self._table, name), np.float32)
        return values.reshape(len(values), 1, 1, *values.shape[1:])


@dataclass(kw_only=True)
class Canvas:
    """The picture so far and the coordinates that the painters measure in.

    Attributes:
        image: float32 ``[N, S, S, 3]``, painted over in place.
        x, y: image coordinates. u, v: of the head. fu, fv: of the features, moved by the pose.
        pixel: size of one pixel in these units.
    """

    image: Array
    x: Array
    y: Array
    u: Array
    v: Array
    fu: Array
    fv: Array
    pixel: float

    def cover(self, distance: Array, softness: float = 1.2) -> Array:
        """Share of each pixel inside the shape; ``softness`` is the edge width in pixels."""
        return np.clip(0.5 - distance / (softness * self.pixel), 0, 1)

    def paint(self, coverage: Array, color: Array) -> None:
        """Lays ``color`` over the picture."""
        mask = coverage[..., None]
        self.image += mask * (color - self.image)


def ellipse(x: Array, y: Array, radius_x: Array, radius_y: Array) -> Array:
    """Distance to an ellipse at the origin, exact on its edge."""
    return (np.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2) - 1) * np.minimum(radius_x, radius_y)


def render(identity: Identity, photograph: Photograph, size: int = 64) -> NDArray[np.uint8]:
    """Draws every row: uint8 ``[N, size, size, 3]``."""
    who, shot = PerFace(identity), PerFace(photograph)
    canvas = _canvas(len(identity), shot, size)
    _background(canvas, shot)
    head = _head_distance(canvas, who)
    _hair_behind(canvas, who)
    _body(canvas, who, shot)
    _head(canvas, who, shot, head)
    _beard(canvas, who, head)
    _hair(canvas, who, head)
    _eyes(canvas, who, shot)
    _nose(canvas, who, shot)
    _mouth(canvas, who, shot)
    _glasses(canvas, who, shot)
    return _develop(canvas, shot)


def _canvas(n: int, shot: PerFace, size: int) -> Canvas:
    grid = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    x, y = (g[None] for g in np.meshgrid(grid, grid))
    cos, sin = np.cos(shot.roll), np.sin(shot.roll)
    dx, dy = x - shot.center_x, y - shot.center_y
    u, v = (cos * dx + sin * dy) / shot.scale, (cos * dy - sin * dx) / shot.scale
    image = np.zeros((n, size, size, 3), np.float32)
    return Canvas(
        image=image, x=x, y=y, u=u, v=v, fu=u - shot.yaw, fv=v - shot.pitch, pixel=2 / size
    )


def _background(c: Canvas, shot: PerFace) -> None:
    kind, phase = shot.wall_kind, shot.wall_phase
    along = np.cos(shot.wall_angle) * c.x + np.sin(shot.wall_angle) * c.y
    ramp = along * 0.5 + 0.5
    stripes = 0.5 + 0.5 * np.tanh(3 * np.sin(shot.wall_rate * 2 * ramp + phase))
    glow = np.exp(-((c.x - np.cos(phase) * 0.6) ** 2 + (c.y - np.sin(phase) * 0.6) ** 2) / 0.25)
    vignette = np.clip((c.x**2 + c.y**2) * 0.6 - 0.1, 0, 1)
    shutters = 0.5 + 0.5 * np.tanh(4 * np.sin(shot.wall_rate * 1.7 * c.x + phase))
    choices = [np.zeros_like(ramp), ramp, stripes, glow, vignette, shutters]
    mix = np.select([kind == k for k in range(6)], choices)[..., None]
    c.image[:] = shot.wall * (1 - mix) + shot.wall_far * mix


def _head_distance(c: Canvas, who: PerFace) -> Array:
    narrowed = c.u * (1 + who.jaw * np.clip(c.v, 0, 1) * 1.6)
    power = (np.abs(narrowed) / who.half_width) ** 2.3 + (np.abs(c.v) / who.half_height) ** 2.3
    return ((power + 1e-6) ** (1 / 2.3) - 1) * who.half_width


def _hair_behind(c: Canvas, who: PerFace) -> None:
    volume = who.volume + 0.03
    side = np.abs(c.u) - (who.half_width + volume + 0.03 + 0.07 * np.clip(c.v, 0, 1))
    fall = np.abs(c.v - (who.length - 0.3) / 2) - (who.length + 0.3) / 2
    c.paint(c.cover(np.maximum(side, fall)) * (who.style == LONG), who.hair * 0.78)
    knot = ellipse(c.u, c.v + who.half_height + 0.09, np.float32(0.19), np.float32(0.16))
    c.paint(c.cover(knot) * (who.style == BUN), who.hair * 0.85)


def _body(c: Canvas, who: PerFace, shot: PerFace) -> None:
    shoulders = ellipse(c.u, c.v - 1.32, np.float32(0.94), np.float32(0.60))
    c.paint(c.cover(shoulders), shot.cloth)
    opening = np.maximum(np.abs(c.u) * 1.25 + c.v - 1.06, 0.6 - c.v)
    shirt = np.maximum(np.abs(c.u) * 0.95 + c.v - 1.20, 0.6 - c.v)
    white = 0.93 - 0.10 * np.clip(c.v - 0.7, 0, 1)[..., None]
    c.paint(c.cover(np.maximum(shirt, shoulders)) * (shot.collar == 2), white)
    tie = np.maximum(np.abs(c.u) - 0.05 - 0.06 * np.clip(c.v - 0.8, 0, 1), 0.86 - c.v)
    c.paint(c.cover(tie) * (shot.collar == 2), 1 - shot.cloth * 0.9)
    neck = np.maximum(np.abs(c.u) - (0.20 + 0.04 * (1 - who.woman)), np.abs(c.v - 0.62) - 0.25)
    c.paint(c.cover(neck), who.skin * 0.80)
    c.paint(c.cover(opening) * (shot.collar == 1), who.skin * 0.86)


def _head(c: Canvas, who: PerFace, shot: PerFace, head: Array) -> None:
    for side in (-1, 1):
        wide = who.ear * np.clip(1 - side * shot.yaw * 3, 0.4, 1.6)
        lobe = ellipse(c.u - side * (who.half_width - 0.005), c.v - 0.02, wide, who.ear * 1.5)
        c.paint(c.cover(lobe), who.skin * 0.86)
        c.paint(c.cover(lobe + who.ear * 0.55) * 0.5, who.skin * 0.62)
    across = np.clip((c.u / who.half_width) ** 2, 0, 1)
    shade = 1.03 - 0.20 * across - 0.10 * np.clip(c.v, -1, 1)
    c.paint(c.cover(head), who.skin * shade[..., None])
    for side in (-1, 1):
        cheek = (c.fu - side * 0.26) ** 2 + (c.fv - 0.17) ** 2
        spot = np.exp(-cheek / 0.012) * who.blush * c.cover(head)
        c.paint(spot * 0.55, who.skin * BLUSH * 1.05)


def _beard(c: Canvas, who: PerFace, head: Array) -> None:
    dip = 0.10 * np.maximum(0.25 - np.abs(c.fu), 0)
    rise = 0.54 * np.maximum(np.abs(c.fu) - 0.20, 0)
    edge = who.mouth_y - 0.13 - dip - c.fv - rise
    strength = np.where(who.beard == STUBBLE, 0.30, np.where(who.beard == BEARD, 0.95, 0.0))
    below = np.clip((c.fv - who.mouth_y) * 0.8, -0.1, 0.25)
    color = who.hair * (0.86 + below)[..., None]
    c.paint(c.cover(np.maximum(head, edge), 2.0) * strength, color)
    lip = ellipse(c.fu, c.fv - who.mouth_y + 0.078, who.mouth_width * 0.88, np.float32(0.042))
    c.paint(c.cover(lip) * (who.beard >= BEARD) * 0.97, who.hair * 0.82)


def _hairline(c: Canvas, who: PerFace) -> Array:
    base = who.hairline + 0 * c.fu
    return np.select(
        [who.style == k for k in (SHORT, FRINGE, PARTED, CURLY, LONG, BUN)],
        [
            base - 0.02 + 2.7 * np.maximum(np.abs(c.fu) - who.half_width * 0.72, 0),
            base + 0.13 + 0.022 * np.sin(c.fu * who.curls * 3),
            base + who.part * c.fu * 1.4,
            base + 0.05 + 0.035 * np.sin(who.curls * c.fu * 2),
            base + 0.9 * (c.fu - who.part * 0.4) ** 2,
            base - 0.02 + 0.5 * c.fu**2,
        ],
        base,
    )


def _hair(c: Canvas, who: PerFace, head: Array) -> None:
    curly, bald = who.style == CURLY, who.style == BALD
    angle = np.arctan2(c.v, c.u)
    volume = who.volume + 0.05 * curly + 0.03 * (who.style == LONG)
    cap = ellipse(c.u, c.v + 0.03, who.half_width + volume, who.half_height + volume * 1.1)
    cap = cap + np.where(curly, 0.05 * np.sin(who.curls * angle), 0)
    top = np.maximum(cap, (c.fv - _hairline(c, who)) * 0.8)
    reach = np.where(who.style == LONG, 0.6, 0.03)
    sides = np.maximum(cap, np.maximum(who.half_width * 0.92 - np.abs(c.u), c.v - reach))
    coverage = np.maximum(c.cover(top), c.cover(sides)) * ~bald
    strands = 0.05 * np.sin(who.curls * 2.2 * angle + 9 * who.part)
    gloss = 0.30 * np.exp(-((c.u - 0.14) ** 2 / 0.05 + (c.v + who.half_height * 0.85) ** 2 / 0.012))
    rim = -0.22 * np.clip(1 + cap / 0.07, 0, 1)
    c.paint(
        coverage, np.clip(who.hair * (1 + strands + rim)[..., None] + gloss[..., None] * 0.5, 0, 1)
    )
    fringe = np.maximum(cap + who.volume, np.abs(c.v - 0.06) - 0.13)
    band = c.cover(fringe) * c.cover(head) * (np.abs(c.u) > who.half_width * 0.84) * bald
    c.paint(band * 0.7, who.hair)
    shine = np.exp(-((c.u - 0.1) ** 2 / 0.03 + (c.v + who.half_height * 0.72) ** 2 / 0.01))
    c.paint(shine * bald * 0.45, np.ones(3, np.float32))


def _eyes(c: Canvas, who: PerFace, shot: PerFace) -> None:
    dark = who.hair * np.where(who.color >= 4, 0.55, 0.50)[..., None]
    black, white = np.full(3, 0.03, np.float32), np.full(3, 0.97, np.float32)
    for side in (-1, 1):
        x = c.fu - side * who.eye_gap * (1 - side * shot.yaw * 0.8)
        y = c.fv - who.eye_y
        wide, tall = who.eye_size * (1 - side * shot.yaw * 0.8), who.eye_size * who.eye_open
        socket = c.cover(ellipse(x, y, wide * 1.35, tall * 1.6), 3)
        c.paint(socket * 0.35, who.skin * 0.66)
        ball = ellipse(x, y, wide, tall)
        inside = c.cover(ball)
        c.paint(inside, white)
        iris = ellipse(x - shot.gaze * wide * 0.45, y, who.eye_size * 0.62, who.eye_size * 0.62)
        c.paint(c.cover(iris) * inside, who.iris)
        c.paint(c.cover(iris + who.eye_size * 0.34) * inside, black)
        glint = ellipse(
            x - shot.gaze * wide * 0.45 - 0.024, y + 0.026, np.float32(0.022), np.float32(0.022)
        )
        c.paint(c.cover(glint) * inside * 0.9, white)
        lid = np.maximum(np.abs(ball) - (0.010 + 0.006 * who.woman), y - 0.2 * tall)
        c.paint(c.cover(lid) * 0.95, who.skin * 0.18)
        _brow(c, who, shot, x, side=side, hair=dark)


def _brow(c: Canvas, who: PerFace, shot: PerFace, x: Array, *, side: int, hair: Array) -> None:
    arch = who.eye_y - who.brow_lift - shot.frown + who.brow_slope * (side * x) + 1.6 * x**2
    taper = 1 - 0.4 * np.clip(side * x / who.eye_size, 0, 1)
    stroke = np.maximum(
        np.abs(c.fv - arch) - who.brow_thick * taper, np.abs(x) - who.eye_size * 1.3
    )
    c.paint(c.cover(stroke) * 0.92, hair)


def _nose(c: Canvas, who: PerFace, shot: PerFace) -> None:
    wide, tip = who.nose_width, who.eye_y + who.nose_length + 0.02
    middle = (who.eye_y + tip) / 2
    lean = wide * 0.55 + 0.15 * shot.yaw + 0.48 * (c.fv - who.eye_y) * wide
    ridge = np.maximum(np.abs(c.fu - lean) - 0.012, np.abs(c.fv - middle) - who.nose_length * 0.5)
    c.paint(c.cover(ridge, 2) * 0.45, who.skin * 0.70)
    bulb = ellipse(c.fu, c.fv - tip, wide, wide * 0.6)
    c.paint(c.cover(bulb, 2) * 0.6, who.skin * _triple(0.93, 0.80, 0.77))
    light = (c.fu + wide * 0.2) ** 2 + (c.fv - tip + 0.02) ** 2
    c.paint(np.exp(-light / 0.0012) * 0.35, np.ones(3, np.float32))
    for side in (-1, 1):
        hole = ellipse(
            c.fu - side * wide * 0.52,
            c.fv - tip - wide * 0.35,
            np.float32(0.022),
            np.float32(0.015),
        )
        c.paint(c.cover(hole) * 0.85, who.skin * 0.32)


def _mouth(c: Canvas, who: PerFace, shot: PerFace) -> None:
    across = c.fu / who.mouth_width
    bow = np.clip(1 - across**2, 0, 1)
    open_by = shot.mouth_open * 0.06 * bow * (shot.smile > 0)
    y = c.fv - who.mouth_y - 0.01 - shot.smile * 0.055 * (1 - 2 * across**2)
    ends = np.abs(c.fu) - who.mouth_width
    lips = np.maximum(np.abs(y - open_by / 2) - who.lip * np.sqrt(bow) - 0.004 - open_by / 2, ends)
    mix = who.lipstick[..., None]
    c.paint(c.cover(lips), who.skin * LIP * (1 - mix) + LIPSTICK * mix)
    gap = np.maximum(np.abs(y - open_by / 2) - open_by / 2 + 0.004, ends + who.mouth_width * 0.1)
    c.paint(c.cover(gap) * (open_by > 0.006), np.full(3, 0.95, np.float32))
    line = np.maximum(np.abs(y) - 0.007, ends)
    c.paint(c.cover(line) * (open_by <= 0.006) * 0.85, who.skin * _triple(0.40, 0.22, 0.22))


def _glasses(c: Canvas, who: PerFace, shot: PerFace) -> None:
    worn, y = who.glasses > 0, c.fv - who.eye_y - 0.01
    for side in (-1, 1):
        x = c.fu - side * who.eye_gap * (1 - side * shot.yaw * 0.5)
        round_rim = np.sqrt(x**2 + y**2) / 0.132
        square_rim = ((np.abs(x) / 0.138) ** 5 + (np.abs(y) / 0.105) ** 5 + 1e-9) ** 0.2
        rim = (np.where(who.glasses == 2, square_rim, round_rim) - 1) * 0.118
        c.paint(c.cover(rim) * worn * 0.13, np.ones(3, np.float32))
        c.paint(c.cover(np.abs(rim) - 0.019) * worn, who.frame)
        temple = np.maximum(np.abs(y + 0.02) - 0.014, who.eye_gap + 0.13 - side * c.fu)
        temple = np.maximum(temple, side * c.u - who.half_width)
        c.paint(c.cover(temple) * worn, who.frame)
    bridge = np.maximum(
        np.abs(y + 0.02) - 0.015, np.abs(c.fu) - np.maximum(who.eye_gap - 0.12, 0.01)
    )
    c.paint(c.cover(bridge) * worn, who.frame)


def _develop(c: Canvas, shot: PerFace) -> NDArray[np.uint8]:
    aim = np.cos(shot.lamp_angle) * c.x + np.sin(shot.lamp_angle) * c.y
    light = shot.gain * (1 + shot.lamp * aim)
    tint = 1 + shot.warmth[..., None] * _triple(1, 0, -1)
    return (np.clip(c.image * light[..., None] * tint, 0, 1) * 255 + 0.5).astype(np.uint8)
