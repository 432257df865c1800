"""A small picture of a graph for the template browser: boxes, links, columns."""

from __future__ import annotations

import io
import textwrap

from PIL import Image, ImageColor, ImageDraw, ImageFont

from .graphs import COLOURS, MARGIN, TITLE, Graph

WIDE, HIGH, EDGE = 480, 480, 20
INK, DIM, LINE, GROUND = "#e8eaed", "#9aa3ad", "#8fa3b5", "#1f2227"
BOX, OWN = "#3a4048", "#2f6f8f"
TOP = 130


def thumbnail(graph: Graph) -> bytes:
    """JPEG of the graph's columns with its title above."""
    graph.place()
    picture = Image.new("RGB", (2 * WIDE, 2 * HIGH), GROUND)
    draw = ImageDraw.Draw(picture)
    draw.multiline_text((2 * EDGE, 36), _wrapped(graph.title), INK, ImageFont.load_default(72))
    fit = _Fit(graph)
    for i, group in enumerate(graph.groups):
        x, y, _, _ = fit.box(group.nodes[0])
        right = max(fit.box(n)[2] for n in group.nodes)
        low = fit.box(group.nodes[-1])[3]
        box = x - 10, y - 44, right + 10, low + 12
        draw.rounded_rectangle(box, 10, _dimmed(COLOURS[i % len(COLOURS)]))
        size = 30 if len(group.title) * 17 < right - x else 20
        draw.text((x, y - 40), group.title, INK, ImageFont.load_default(size))
    for node in graph.nodes:
        for link in node.links.values():
            _curve(draw, fit.box(graph.nodes[link.node - 1]), fit.box(node))
    for node in graph.nodes:
        own = node.kind.startswith("LoraForensics")
        x, y, right, low = fit.box(node)
        draw.rounded_rectangle((x, y, right, low), 8, BOX)
        draw.rounded_rectangle((x, y, right, y + 14), 6, OWN if own else DIM)
    data = io.BytesIO()
    picture.resize((WIDE, HIGH), Image.Resampling.LANCZOS).save(data, "JPEG", quality=88)
    return data.getvalue()


def _dimmed(colour: str) -> tuple[int, ...]:
    pairs = zip(ImageColor.getrgb(colour), ImageColor.getrgb(GROUND), strict=True)
    return tuple(round(0.45 * a + 0.55 * b) for a, b in pairs)


def _wrapped(title: str) -> str:
    return "\n".join(textwrap.wrap(title, 22))


class _Fit:
    """Positions of the page -> pixels of a picture twice as large as the thumbnail."""

    def __init__(self, graph: Graph):
        self.left = min(n.pos[0] for n in graph.nodes)
        self.top = min(n.pos[1] for n in graph.nodes) - TITLE
        right = max(n.pos[0] + n.size[0] for n in graph.nodes)
        low = max(n.pos[1] + n.size[1] for n in graph.nodes)
        room = 2 * WIDE - 4 * EDGE, 2 * HIGH - 2 * TOP - 2 * EDGE
        self.x = room[0] / (right - self.left)
        self.y = min(room[1] / (low - self.top), 2 * self.x)

    def box(self, node) -> tuple[float, float, float, float]:
        (x, y), (wide, tall) = node.pos, node.size
        x, y = 2 * EDGE + (x - self.left) * self.x, 2 * TOP + (y - TITLE - self.top) * self.y
        return x, y, x + wide * self.x, y + (tall + MARGIN) * self.y


def _curve(draw, start, end) -> None:
    """A cubic from the right side of one box to the left side of another."""
    a, b = (start[2], (start[1] + start[3]) / 2), (end[0], (end[1] + end[3]) / 2)
    bend = max(30.0, abs(b[0] - a[0]) / 2)
    points = []
    for i in range(25):
        t = i / 24
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        xs = (a[0], a[0] + bend, b[0] - bend, b[0])
        ys = (a[1], a[1], b[1], b[1])
        points.append(
            tuple(sum(w * v for w, v in zip(weights, vs, strict=True)) for vs in (xs, ys))
        )
    draw.line(points, LINE, 3)
