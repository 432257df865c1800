"""The thirteen experiments of the membership paper: what is trained, what is asked, what was found.

Source: arXiv 2502.11619, table 3 and its guidance figure. Titles of rows 1, 4, 6, 12 and 13 are
reconstructions. ``published.json`` holds the numbers: AUC and its half-width are the legends of the
authors' figures; the Student half-width, the rate at 1% false alarms and the shares above 0.5 were
recomputed from the scores that the authors stored, and are not in the paper.

``dtu`` and ``aau`` are the two institutions, ``lfw`` the public faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import InputError
from ..rules import printed

BASE_TARGET, PHOTOS = "base", "photos"
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Target:
    """One fine-tuned model.

    Attributes:
        sets: photo sets it is trained on.
        share: of the optimiser steps of the 400-epoch target.
        prompt: key of the prompt that belongs to it.
    """

    sets: tuple[str, ...]
    share: float
    prompt: str


TARGETS: dict[str, Target] = {
    "dtu-50": Target(("dtu-seen",), 50 / 400, "dtu"),
    "dtu-100": Target(("dtu-seen",), 100 / 400, "dtu"),
    "dtu-400": Target(("dtu-seen",), 1.0, "dtu"),
    "aau": Target(("aau-seen",), 1.0, "aau"),
    "dtu-visible": Target(("dtu-seen-visible",), 1.0, "dtu"),
    "dtu-faint": Target(("dtu-seen-faint",), 1.0, "dtu"),
    "dtu-lfw": Target(("dtu-seen", "lfw-seen"), 100_000 / 89_600, "dtu"),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """Images of one label.

    Attributes:
        target: key of `TARGETS`, ``base`` for the untouched base, ``photos`` for real photos.
        prompt: ``dtu``, ``aau`` or ``general``; for photos, whose.
        point: ``main``, or a point of the guidance figure.
    """

    target: str
    prompt: str
    point: str = MAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """What the paper and the stored scores say; None where they say nothing.

    Attributes:
        auc: ResNet-18, mean of five seeds.
        half: half-width as printed.
        student: Student half-width on the five seeds.
        clip: AUC of the centroid baseline.
        tpr1: true-positive rate at 1% false alarms, mean of seeds.
        above: shares of test positives and negatives scored as members at 0.5.
        convicted: how often a one-sided Mann-Whitney test at .01 with K claimed and K control
            photos was significant, by K.
    """

    auc: float | None = None
    half: float | None = None
    student: float | None = None
    clip: float | None = None
    tpr1: float | None = None
    above: tuple[float, float | None] | None = None
    convicted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedRows:
    """The file of published values: by key of the row."""

    source: str
    rows: dict[str, PublishedRow]


PUBLISHED = printed(PublishedRows, Path(__file__).with_name("published.json")).rows


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment.

    Attributes:
        key: ``8``, or ``4/400`` where a number has several runs.
        title: in the words of the table.
        train: arms of label 1 and of label 0.
        test: photo sets of the test positives and negatives; ``rest`` is the images held back.
        note: what a reader must know.
        paper: whether the paper has this row.
    """

    key: str
    title: str
    train: tuple[Arm, Arm]
    test: tuple[str, str]
    note: str = ""
    paper: bool = True

    @property
    def published(self) -> PublishedRow:
        """The values beside ours."""
        return PUBLISHED.get(self.key, PublishedRow())

    @property
    def null(self) -> tuple[Arm, Arm] | None:
        """Arms of the same attack with the untouched base in place of the target."""
        positives, negatives = self.train
        if self.test == REST or positives.point != MAIN:
            return None
        return replace(positives, target=BASE_TARGET), negatives


REST = ("rest", "rest")
SEEN_OTHER = ("dtu-seen", "aau-unseen")
SEEN_UNSEEN = ("dtu-seen", "dtu-unseen")
DTU, DTU_50, DTU_100 = Arm("dtu-400", "dtu"), Arm("dtu-50", "dtu"), Arm("dtu-100", "dtu")
AAU, BASE_DTU, BASE_AAU = Arm("aau", "aau"), Arm(BASE_TARGET, "dtu"), Arm(BASE_TARGET, "aau")
VISIBLE, FAINT = Arm("dtu-visible", "dtu"), Arm("dtu-faint", "dtu")
REAL_AAU, GENERAL, MIXED = Arm(PHOTOS, "aau"), Arm("dtu-400", "general"), Arm("dtu-lfw", "dtu")
POINTS = ("0", "4", "8", "12", "16")

_HELD_BACK = "tested on the fifth of the generated images held back; no photo is in question"
_ONE_SEED = "one seed and no interval in the paper; both arms at the same scale here"
_MEMBERSHIP = "the row that asks about membership: one institution on both sides"
_UNTOUCHED = "no model was trained on any photo in question"
_SWAPPED = "the stored scores give 0.458, not 0.54: the published curve has its axes exchanged"
_STORED = "stored by the authors, not published"


def _guidance(point: str) -> Row:
    title = f"guidance scale {point}" + (", read as conditional" if point == "0" else "")
    arms = (replace(DTU, point=point), replace(AAU, point=point))
    return Row(f"6/{point}", title, arms, SEEN_OTHER, _ONE_SEED)


PAPER_ROWS: tuple[Row, ...] = (
    Row("1", "generated against generated", (DTU, AAU), REST, _HELD_BACK),
    Row("2", "real auxiliary set", (DTU, REAL_AAU), ("dtu-seen", "lfw")),
    Row("3", "DTU against AAU seen", (DTU, AAU), ("dtu-seen", "aau-seen")),
    Row("4/50", "DTU against AAU unseen, 50 epochs", (DTU_50, AAU), SEEN_OTHER),
    Row("4/100", "same, 100 epochs", (DTU_100, AAU), SEEN_OTHER),
    Row("4/400", "same, 400 epochs", (DTU, AAU), SEEN_OTHER),
    Row("5", "generalised prompt", (GENERAL, AAU), SEEN_OTHER),
    *(_guidance(point) for point in POINTS),
    Row("7", "DTU against LFW", (DTU, AAU), ("dtu-seen", "lfw")),
    Row("8", "DTU seen against DTU unseen", (DTU, AAU), SEEN_UNSEEN, _MEMBERSHIP),
    Row("9", "untouched base against AAU", (BASE_DTU, AAU), SEEN_OTHER, _UNTOUCHED),
    Row("10", "untouched base, two prompts", (BASE_DTU, BASE_AAU), SEEN_OTHER, _SWAPPED),
    Row("11", "visible watermark", (VISIBLE, AAU), ("dtu-seen-visible", "aau-unseen")),
    Row("12", "hidden watermark", (FAINT, AAU), ("dtu-seen-faint", "aau-unseen")),
    Row("13", "DTU and LFW mixed", (MIXED, AAU), SEEN_OTHER),
)


def _extra(
    key: str, title: str, train: tuple[Arm, Arm], test: tuple[str, str], note: str = _STORED
) -> Row:
    return Row(key, title, train, test, note, paper=False)


EXTRA_ROWS: tuple[Row, ...] = (
    _extra("base/50", "base images as negatives, 50 epochs", (DTU_50, BASE_AAU), SEEN_OTHER),
    _extra("base/100", "same, 100 epochs", (DTU_100, BASE_AAU), SEEN_OTHER),
    _extra("base/400", "same, 400 epochs", (DTU, BASE_AAU), SEEN_OTHER),
    _extra(
        "base/8", "same, DTU seen against DTU unseen", (DTU, BASE_AAU), SEEN_UNSEEN,
        "row 8 with base images as negatives",
    ),
    _extra(
        "11/unseen", "visible mark, seen against unseen photos", (VISIBLE, AAU),
        ("dtu-seen-visible", "dtu-unseen-visible"), "the control that row 11 lacks",
    ),
)  # fmt: skip
ROWS = (*PAPER_ROWS, *EXTRA_ROWS)


def select_rows(names: Sequence[str] = ()) -> tuple[Row, ...]:
    """Rows by key (``4/400``) or by what stands before the stroke (``4``, ``base``).

    Args:
        names: in any order; none means all.

    Returns:
        The rows in the order of the table, each once.

    Raises:
        InputError: BAD_ROW, a name fits no row.

    Example:
        >>> [row.key for row in select_rows(["8", "4"])]
        ['4/50', '4/100', '4/400', '8']
    """
    known = {name for row in ROWS for name in (row.key, row.key.split("/")[0])}
    for name in names:
        if name not in known:
            listed = ", ".join(row.key for row in ROWS)
            raise InputError("BAD_ROW", f"there is no row {name!r}; choose from {listed}")
    wanted = set(names) or known
    return tuple(row for row in ROWS if {row.key, row.key.split("/")[0]} & wanted)
