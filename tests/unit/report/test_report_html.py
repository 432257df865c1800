"""The page: safe whatever the data say, self-contained, the same bytes each time."""

import base64
import copy
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from lora_forensics.core.report.html import render_html
from lora_forensics.core.report.twin import TWIN_NAME
from report_payloads import PAYLOADS

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "article", "section"),
    *("footer", "div", "p", "span", "b", "i", "br", "small", "h1", "h2", "h3", "ul", "li", "pre"),
    *("dl", "dt", "dd", "table", "colgroup", "col", "thead", "tbody", "tr", "th", "td", "code"),
    *("figure", "img", "figcaption", "input", "label"),
}
ATTRIBUTES = {
    "*": {"class"},
    "html": {"lang"},
    "meta": {"charset", "name", "http-equiv", "content"},
    "img": {"src", "alt"},
    "input": {"type", "id", "autocomplete"},
    "label": {"for"},
    "section": {"id"},
    "th": {"scope", "colspan"},
    "td": {"colspan"},
}
VOID = {"meta", "br", "img", "input", "col"}
_DATA = re.compile(r"data:image/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/]+=*\Z")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Page(HTMLParser):
    """Collects elements, text and whatever is not allowed."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ELEMENTS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()):
                self.wrong.append(f"<{tag} {name}={value!r}>")
            if name == "src" and not _DATA.match(value or ""):
                self.wrong.append(f"src {str(value)[:80]}")
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"unbalanced </{tag}>")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"<!--{data[:40]}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"<?{data[:40]}")

    def unknown_decl(self, data: str) -> None:
        self.wrong.append(f"<![{data[:40]}")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def replace_strings(value: Any, new: Callable[[str], str], *, keys: bool = False) -> Any:
    if isinstance(value, str):
        return new(value)
    if isinstance(value, list):
        return [replace_strings(v, new, keys=keys) for v in value]
    if isinstance(value, dict):
        return {
            (k + new(k) if keys else k): replace_strings(
                v, new, keys=keys or k in ("settings", "models", "tool", "inspection")
            )
            for k, v in value.items()
        }
    return value


@pytest.mark.parametrize("letter", ["A", "B", "C", "D", "ERROR"])
def test_only_allowed_markup(pages: dict[str, str], letter: str) -> None:
    page = Page(pages[letter])
    assert page.wrong == []
    assert page.open == []


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("letter", ["A", "ERROR"])
def test_hostile_text_in_every_field(every_case: dict[str, Any], root: Path, letter: str) -> None:
    assert len(PAYLOADS) >= 60
    small = copy.deepcopy(every_case[letter])
    small["controls"], small["photos"] = small["controls"][:2], small["photos"][:9]
    for payload in PAYLOADS:
        case = replace_strings(small, lambda _, p=payload: p)
        html = render_html(case, root)
        page = Page(html)
        assert page.wrong == [], payload
        assert page.open == [], payload
        assert not _HIDDEN.search(html), payload
        html.encode("utf-8")


def test_hostile_text_with_plots_and_keys(every_case: dict[str, Any], root: Path) -> None:
    ring = cycle(PAYLOADS)
    case = replace_strings(copy.deepcopy(every_case["A"]), lambda _: next(ring))
    assert Page(render_html(case, root)).wrong == []
    for start in range(0, len(PAYLOADS), 7):
        some = PAYLOADS[start:] + PAYLOADS[:start]
        html = render_html(with_hostile_keys(every_case["ERROR"], some), root)
        assert Page(html).wrong == []
        assert not _HIDDEN.search(html)


def with_hostile_keys(case: dict[str, Any], payloads: tuple[str, ...]) -> dict[str, Any]:
    ring, made = cycle(payloads), copy.deepcopy(case)
    for part in ("settings", "models", "tool", "inspection"):
        values = [replace_strings(v, lambda _: next(ring), keys=True) for v in made[part].values()]
        made[part] = dict(zip(payloads, values, strict=False))
    return made


@pytest.mark.usefixtures("no_plots")
def test_templates_in_data_are_not_run(every_case: dict[str, Any], root: Path) -> None:
    case = {**every_case["ERROR"], "command": "{{ 7*7 }} {% if %}"}
    assert "{{ 7*7 }} {% if %}" in Page(render_html(case, root)).words


@pytest.mark.usefixtures("no_plots")
def test_hidden_characters_are_shown(every_case: dict[str, Any], root: Path) -> None:
    case = {**every_case["ERROR"], "case_id": "a\u202eb\x00c\U000e0041"}
    words = Page(render_html(case, root)).words
    assert "a\\u202eb\\x00c\\U000e0041" in words


@pytest.mark.usefixtures("no_plots")
def test_fields_are_capped(every_case: dict[str, Any], root: Path) -> None:
    case = {**every_case["ERROR"], "command": "x" * 30_000}
    html = render_html(case, root)
    assert "x" * 2000 + " [cut]" in html
    assert "x" * 2001 not in html


def test_policy_names_the_style(pages: dict[str, str]) -> None:
    for html in pages.values():
        page = Page(html)
        found = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        policies = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
        assert policies == [
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        ]
        assert "url(" not in found[0]
        assert "@import" not in found[0]
        assert {"name": "referrer", "content": "no-referrer"} in page.all("meta")


def test_nothing_is_loaded(pages: dict[str, str]) -> None:
    for html in pages.values():
        assert "http://" not in html
        assert "https://" not in html
        assert "<script" not in html.lower()
        assert len(html) < 20 * 2**20


def test_same_case_same_bytes(
    every_case: dict[str, Any], pages: dict[str, str], root: Path
) -> None:
    assert render_html(copy.deepcopy(every_case["A"]), root) == pages["A"]


def test_pictures_are_blurred_until_ticked(pages: dict[str, str]) -> None:
    page = Page(pages["A"])
    boxes = [i for i in page.all("input") if i["class"] == "reveal"]
    labels = [lab["for"] for lab in page.all("label")]
    # 8 generated images, 7 of their photos were kept; 6 photos of the shortlist have heat maps
    # and one control that was set aside stands beside its photo
    assert len(boxes) == 15 + 2 * 6 + 2
    for box in page.all("input"):
        assert box["type"] == "checkbox"
        assert "checked" not in box
        assert labels.count(box["id"]) == 1
    blurred = [a for t, a in page.found if t == "span" and a.get("class") == "frame blur"]
    assert len(blurred) == len(boxes)
    raster = [
        i for i in page.all("img") if str(i["src"]).startswith(("data:image/p", "data:image/j"))
    ]
    assert len(raster) == len(boxes)
    assert ".blur img { filter: blur(14px)" in pages["A"]


def test_every_picture_has_words(pages: dict[str, str]) -> None:
    for html in pages.values():
        assert all(i.get("alt") for i in Page(html).all("img"))


@pytest.mark.usefixtures("no_plots")
def test_missing_pictures_have_a_placeholder(every_case: dict[str, Any], root: Path) -> None:
    case = copy.deepcopy(every_case["D"])
    case["extraction"]["extracted"][0]["file"] = "images/none.png"
    case["photos"][1]["picture"] = "photos/none.png"
    case["extraction"]["extracted"][2]["nearest_photo"] = 999
    words = Page(render_html(case, root)).words
    assert "generated image file is missing or unreadable" in words
    assert "photo file is missing or unreadable" in words
    assert "photo was not kept in the case folder" in words


@pytest.mark.usefixtures("no_plots")
def test_missing_sections_say_so(every_case: dict[str, Any], root: Path) -> None:
    case = {**every_case["D"], "extraction": None, "attack": None, "probe": None}
    words = Page(render_html(case, root)).words
    assert "Not run. Extraction was not part of this analysis" in words
    assert "Not run. The black-box attack was not part of this analysis" in words
    assert "Nothing shows that photos and controls are alike" in words
    case = {**case, "membership": None, "inspection": {}, "photos": [], "controls": []}
    words = Page(render_html(case, root)).words
    assert "Not run. White-box membership" in words
    assert "Not run. Inspection of the file" in words


@pytest.mark.parametrize(
    ("letter", "words"),
    [
        ("A", "Use of these images is supported"),
        ("B", "The model departs from its nulls toward this set"),
        ("C", "Source similarity only"),
        ("D", "not evidence that the photos were not used"),
        ("ERROR", "not a finding that the model is clean"),
    ],
)
def test_the_card_says_the_verdict(pages: dict[str, str], letter: str, words: str) -> None:
    said = Page(pages[letter]).words
    assert words in said
    assert "A person decides." in said
    assert f"tone-{letter}" in pages[letter]
    assert TWIN_NAME in said


def test_reasons_carry_words(pages: dict[str, str]) -> None:
    said = Page(pages["A"]).words
    for word in ("▸ Decisive", "✓ Found", "✗ Not found", "✓ Met", "• Measured"):
        assert word in said
    assert "– Not run No trained null models" in Page(pages["D"]).words


def test_an_error_is_short(pages: dict[str, str]) -> None:
    said = Page(pages["ERROR"]).words
    for absent in ("Four lines of evidence", "White-box membership", "Black-box"):
        assert absent not in said
    for present in ("Inspection of the file", "Items", "Reproduce", "Limits"):
        assert present in said


@pytest.mark.usefixtures("no_plots")
def test_unjudged_and_unknown_letters(every_case: dict[str, Any], root: Path) -> None:
    case = copy.deepcopy(every_case["D"])
    case["verdict"]["letter"] = "NONE"
    assert "Four lines of evidence" in Page(render_html(case, root)).words
    case["verdict"]["letter"] = "CLEAN"
    assert "No verdict" in Page(render_html(case, root)).words
    del case["verdict"]
    assert "the file could not be analyzed" in Page(render_html(case, root)).words.lower()


def test_numbers_are_said_with_their_limits(pages: dict[str, str]) -> None:
    said = Page(pages["A"]).words
    assert "not estimable: needs 1,000 controls" in said
    assert "p = 0.05 (smallest possible 0.05)" in said
    assert "smallest possible 0.0001" in said
    assert "0.53" in said
    assert "claimed, editable" in said
    assert "/home/someone" not in said


def test_descriptive_without_exchangeable_controls(pages: dict[str, str]) -> None:
    assert "every p-value on this page is descriptive" in Page(pages["C"]).words
    assert "every p-value on this page is descriptive" not in Page(pages["A"]).words


def test_nan_and_empty_scores_do_not_break(every_case: dict[str, Any], root: Path) -> None:
    case = copy.deepcopy(every_case["B"])
    case["membership"]["comparison"]["photo_scores"] = [float("nan")] * 20
    case["membership"]["seed_effects"] = []
    case["membership"]["null_ranks"][0]["value"] = float("inf")
    case["attack"]["comparison"]["auc"]["auc"] = None
    assert Page(render_html(case, root)).wrong == []


@pytest.mark.usefixtures("no_plots")
def test_a_case_that_nobody_timed_shows_no_duration(every_case: dict[str, Any], root: Path) -> None:
    timed, untimed = every_case["D"], every_case["D"] | {"seconds": None}
    assert "41,920 model evaluations, 21 min." in render_html(timed, root)
    assert "41,920 model evaluations." in render_html(untimed, root)
