"""Text, twin, pictures and plots of the report."""

import base64
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from lora_forensics.core.report import pictures, plots, score_plot, text
from lora_forensics.core.report.twin import plain, render_json
from lora_forensics.core.verdicts.case import SCHEMA_VERSION, Reason, ReasonKind
from PIL import Image


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_twin_round_trip(every_case: dict[str, Any]) -> None:
    for case in every_case.values():
        assert json.loads(render_json(case)) == case
        assert render_json(json.loads(render_json(case))) == render_json(case)


def test_twin_has_no_nan_and_sorted_keys() -> None:
    made = render_json(
        {"b": (float("nan"), math.inf, -math.inf, np.float64(1.5)), "a": {3: "\ud800"}}
    )
    back = json.loads(made)
    assert back == {
        "a": {"3": "\ud800"},
        "b": [None, None, None, 1.5],
        "schema_version": SCHEMA_VERSION,
    }
    assert made.index('"a"') < made.index('"b"')
    assert made.isascii()


def test_twin_of_dataclasses_and_strangers() -> None:
    @dataclass
    class Thing:
        x: tuple[int, ...]

    assert plain({"t": Thing((1, 2))})["t"] == {"x": [1, 2]}
    with pytest.raises(TypeError, match="Path"):
        plain({"t": Path("x")})
    with pytest.raises(TypeError, match="mapping"):
        plain([1])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "n/a"),
        (float("nan"), "n/a"),
        (0.0, "0.000"),
        (-0.1234, "−0.123"),
        (1234, "1,234"),
        (0.00012, "0.00012"),
        ("text", "text"),
    ],
)
def test_numbers(value: Any, said: str) -> None:
    assert text.number(value) == said


def test_p_values_name_their_floor() -> None:
    assert text.p_value(0.0001, 0.0001) == "p = 0.0001 (smallest possible 0.0001)"
    assert text.p_value(0.5) == "p = 0.50"
    assert text.p_value(None) == "p n/a"


def test_other_formats() -> None:
    assert text.percent(0.01) == "1%"
    assert text.percent(0.0449) == "4.5%"
    assert text.percent(None) == "n/a"
    assert text.interval(-0.5, 1) == "−0.50 to 1"
    assert text.interval(None, 1) == "interval n/a"
    assert [text.duration(s) for s in (3.2, 600, 7200, None)] == ["3 s", "10 min", "2.0 h", "n/a"]


def test_every_kind_of_reason_has_its_sign() -> None:
    assert set(text._GATES) == set(get_args(ReasonKind))
    for kind in get_args(ReasonKind):
        shown = text.gate({"kind": kind, "text": "met: said"})
        assert shown.text == "met: said"
        assert (shown.word == "Noted") == (kind == "noted")
    assert text.gate({"kind": "not_met", "text": "x"}) == ("fail", "✗", "Not met", "x")
    assert plain({"r": Reason("met", "x")})["r"] == {"kind": "met", "text": "x"}


@pytest.mark.parametrize("strange", ["words", {"kind": "other"}, {"kind": ["met"]}, 3, None])
def test_strange_reasons_are_merely_noted(strange: Any) -> None:
    assert text.gate(strange).word == "Noted"


def picture(folder: Path, name: str, size: tuple[int, int], **save: Any) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(
        folder / name, **save
    )


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 64), (192, 192)), ((900, 300), (256, 85)), ((120, 120), (192, 192))]
)
def test_pictures_are_small_and_new(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    picture(tmp_path, "x.jpg", size, comment=b"secret", quality=95)
    uri = pictures.picture_uri(tmp_path, "x.jpg")
    assert uri is not None
    assert Image.open(io.BytesIO(decoded(uri))).size == shown
    assert b"secret" not in decoded(uri)
    assert uri == pictures.picture_uri(tmp_path, "x.jpg")


def test_pictures_outside_the_case_are_not_read(tmp_path: Path) -> None:
    inner = tmp_path / "case"
    inner.mkdir()
    picture(tmp_path, "out.png", (32, 32))
    (inner / "link.png").symlink_to(tmp_path / "out.png")
    (inner / "text.png").write_text("no picture")
    outside = str(tmp_path / "out.png")
    for name in ("../out.png", outside, "link.png", "text.png", "", ".", "a\0b", "x" * 5000):
        assert pictures.picture_uri(inner, name) is None, name


def test_contact_sheet(tmp_path: Path) -> None:
    picture(tmp_path, "x.png", (64, 64))
    rows = [("x.png", "none.png", "similarity 0.81 \u202e ☃")] * 4
    sheet = Image.open(io.BytesIO(pictures.contact_sheet(tmp_path, rows, cell=96)))
    assert sheet.size == (3 * (2 * 96 + 14) + 12, 2 * (96 + 34) + 12)
    assert sheet.format == "PNG"
    assert pictures.contact_sheet(tmp_path, rows) == pictures.contact_sheet(tmp_path, rows)
    assert pictures.contact_sheet(tmp_path, [])


def test_plots_are_repeatable_and_leave_no_trace() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    made = [plots.roc([1, 2, 3], [0, 1, 2], "AUC") for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] is not None
    svg = decoded(made[0])
    assert b"<svg" in svg
    assert b"dc:date" not in svg
    assert b"<script" not in svg
    assert dict(mpl.rcParams) == before


def test_roc_steps_meet_the_corners() -> None:
    fpr, tpr = plots.roc_steps(np.array([2.0, 3.0]), np.array([0.0, 2.0]))
    assert fpr.tolist() == [0, 0, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 1, 1]


def test_plots_of_little_or_nothing() -> None:
    assert score_plot.scores([], [1.0], axis="x") is None
    assert plots.roc([None], [1.0], "x") is None
    assert plots.dots([], axis="x", mark=(0.0, "")) is None
    assert plots.forest([("a", None, None, None)]) is None
    assert plots.spectra([[0.0], []]) is None
    assert plots.losses([1], {"base": [], "tuned": []}, {"base": [], "tuned": []}) is None
    assert score_plot.scores([1.0], [1.0], axis="x", marks=[(1.0, "here")])
    assert score_plot.scores([1.0] * 9, [1.0] * 9, axis="x")
    assert plots.dots([0.0], axis="x", mark=(0.0, "all"))
    assert plots.roc([1.0], [1.0], "x")
    assert plots.forest([("a", 0.5, None, None), ("b", None, None, None)])


@pytest.mark.parametrize("name", ["$\\frac{", "x" * 5000, "\ud800\u202e\n\t", "中文", ""])
def test_names_from_a_file_cannot_break_a_plot(name: str) -> None:
    shown = plots.plain_words(name)
    assert len(shown) <= 46
    assert "\n" not in shown
    assert plots.forest([(shown, 0.7, 0.6, 0.8)], faint=[True])


def test_ratios_and_counts() -> None:
    assert [text.ratio(v) for v in (0.042, 1.0, 87.3, 1234, 2e9)] == [
        "0.042",
        "1.0",
        "87",
        "1,200",
        "2.0e+09",
    ]
    assert text.ratio(None) == "n/a"
    assert text.ratio(0.0) == "0"
    share = {"k": 0, "n": 30, "low": 0.0, "high": 0.1157}
    assert text.counted(share, "cases") == "0 of 30 cases (0% to 11.6%)"
