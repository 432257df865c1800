"""The redacted copy: no picture and nobody's words, but every figure, hash and caveat."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import report_cases as cases
from lora_forensics.core.cli import EXIT_INPUT, main
from lora_forensics.core.report.redaction import MARK, redact
from lora_forensics.core.report.twin import REDACTED_NAME, TWIN_NAME, render_json
from test_report_html import Page

PRIVATE = (  # every text of the synthetic case that a person or a file brought
    *("photo_0", "control_0", "IMG_", ".jpg", "images/0", "photos/0", "/home", "someone", "mine/"),
    *("sks", "studio light", "suspect_lora", "stable-diffusion-v1-5", "AdamW8bit", "v1-5-pruned"),
    *("claimed 1f2e", "portraits, spring"),
)
KEPT = {  # fields whose text the tool alone writes
    *("kind", "case_id", "created", "canonical"),
    *("method", "signal", "reason", "reading", "encoder", "encoder_note", "guidance", "sampler"),
    *("format", "family", "component", "block", "subject", "message", "negatives", "prompts_from"),
    *("tuned_kind", "prediction", "device", "dtype", "tool", "sha256", "pixels_sha256"),
    *("base_sha256", "tuned_sha256", "tensor_sha256"),
}
OWN = {  # further ones, below one part of the case only
    "membership": {"name", "title", "source", "note", "left_out"},
    "attack": {"scores", "notes"},
    "known_rates": {"name", "title", "letter", "verdict", "verbal", "outside"},
    "decoys": {"commitment"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case folder after ``report --redact``."""
    root = tmp_path_factory.mktemp("redacted")
    (root / TWIN_NAME).write_text(render_json(cases.make_case("A", root)))
    assert main(["report", str(root), "--redact"]) == 0
    return root


@pytest.fixture(scope="module")
def full(folder: Path) -> dict[str, Any]:
    return json.loads((folder / TWIN_NAME).read_text())


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report-redacted.html").read_text()


@pytest.fixture(scope="module")
def twin(folder: Path) -> str:
    return (folder / REDACTED_NAME).read_text()


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [n for k in sorted(value) for n in numbers(value[k])]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [] if isinstance(value, str) or value is None else [value]


def hashes(value: str) -> set[str]:
    return set(re.findall(r"\b[0-9a-f]{64}\b", value))


@pytest.mark.parametrize("private", PRIVATE)
def test_private_text_is_left_out(full: dict[str, Any], html: str, twin: str, private: str) -> None:
    assert private in json.dumps(full)
    assert private not in html
    assert private not in twin


def test_the_page_holds_no_image_and_may_load_none(html: str) -> None:
    page = Page(html)
    assert page.wrong == []
    assert page.open == []
    assert page.all("img") == []
    assert "data:" not in html
    assert "missing or unreadable" not in html
    assert "Redacted copy." in page.words
    assert REDACTED_NAME in page.words


def test_verdict_and_caveats_stay(full: dict[str, Any], html: str, twin: str) -> None:
    verdict = json.loads(twin)["verdict"]
    assert verdict == full["verdict"]
    words = Page(html).words
    assert "Verdict A" in words
    for said in (*verdict["error_rates"], *(r["text"] for r in verdict["reasons"])):
        assert said in words
    assert sum(c in words for c in verdict["caveats"]) >= len(verdict["caveats"]) - 1


def test_hashes_stay(full: dict[str, Any], html: str, twin: str) -> None:
    assert hashes(twin) == hashes(json.dumps(full))
    shown = {one["sha256"] for k in ("photos", "controls") for one in full[k]}
    assert shown <= hashes(html)


def test_every_figure_stays(full: dict[str, Any], twin: str) -> None:
    made = json.loads(twin)
    parts = ("probe", "membership", "extraction", "attack", "photos", "controls", "settings")
    for part in (*parts, "known_rates", "decoys"):
        assert numbers(made[part]) == numbers(full[part]), part
    assert len(made["prompts"]) == len(full["prompts"])
    assert made["photos"][3]["name"] == "photo 4"
    assert made["redacted"] is True


def test_only_the_tools_own_texts_stay(full: dict[str, Any]) -> None:
    """A canary in every text that is not listed, and in fields that no case has yet."""
    dirty = plant(full)
    dirty["verdict"], dirty["news"] = full["verdict"], "CANARY"
    parts = ("membership", "extraction", "attack", "inspection", "models", "settings")
    for part in (*parts, "known_rates", "decoys"):
        dirty[part]["news"] = {"path": "CANARY"}
    assert "CANARY" not in render_json(redact(dirty))


def plant(value: Any, kept: set[str] = KEPT) -> Any:
    if isinstance(value, dict):
        return {k: v if k in kept else plant(v, kept | OWN.get(k, set())) for k, v in value.items()}
    if isinstance(value, list):
        return [plant(v, kept) for v in value]
    return f"CANARY {value}" if isinstance(value, str) else value


def test_the_canary_reaches_every_part(full: dict[str, Any]) -> None:
    dirty = plant(full)
    assert dirty["known_rates"]["study"].startswith("CANARY")
    assert dirty["photos"][0]["heat"].startswith("CANARY")
    assert dirty["membership"]["prompt"].startswith("CANARY")


def test_strange_shapes_of_kept_texts_are_marked() -> None:
    odd = {
        "membership": {
            "left_out": [["pia", {"why": "words"}], ["pia", "no embedding", "words"], 3],
            "captions": {"aucs": {"paired": 0.7, "words": 0.1}, "p": "words"},
        },
        "known_rates": {"study": "tiny", "outside": "words", "likelihood": "words"},
        "decoys": {"commitment": "words of somebody"},
    }
    kept = redact(odd)
    assert "words" not in json.dumps(kept)
    assert kept["known_rates"]["study"] == "tiny"
    assert kept["membership"]["captions"]["aucs"] == {"paired": 0.7}


def test_findings_keep_the_tools_sentences_only() -> None:
    told = [
        {"severity": 2, "subject": "weights", "message": "lora_name.alpha is odd", "evidence": "x"},
        {"severity": 0, "subject": "exposure", "message": "20 passes", "evidence": "claimed x"},
    ]
    kept = redact({"inspection": {"findings": told}})["inspection"]["findings"]
    assert kept == [
        {"severity": 2, "subject": MARK, "message": MARK, "evidence": ""},
        {"severity": 0, "subject": "exposure", "message": "20 passes", "evidence": ""},
    ]


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("letter", ["B", "C", "D", "ERROR"])
def test_every_letter_can_be_redacted(tmp_path: Path, letter: str) -> None:
    (tmp_path / TWIN_NAME).write_text(render_json(cases.make_case(letter, tmp_path)))
    assert main(["report", str(tmp_path), "--redact"]) == 0
    page = Page((tmp_path / "report-redacted.html").read_text())
    assert page.wrong == []
    assert page.all("img") == []
    assert f"Verdict {letter}" in page.words or letter == "ERROR"


def test_an_errors_message_keeps_its_code_only(tmp_path: Path) -> None:
    case = cases.make_case("ERROR", tmp_path)
    case["verdict"]["reasons"][0]["text"] = "ERROR/NOT_APPLIED: /home/someone/lora.safetensors"
    case["verdict"]["reasons"].append({"kind": "cause", "text": "/home/someone"})
    kept = redact(case)["verdict"]["reasons"]
    assert [r["text"] for r in kept] == [f"ERROR/NOT_APPLIED: {MARK}", MARK]
    assert redact({"verdict": {"reasons": ["no mapping"]}})["verdict"]["reasons"] == [MARK]


def test_the_full_report_and_its_twin_are_left_alone(folder: Path, full: dict[str, Any]) -> None:
    assert not (folder / "report.html").exists()
    assert json.loads((folder / TWIN_NAME).read_text()) == full
    assert redact(full) == redact(full)
    assert redact(redact(full)) == redact(full)


def test_a_folder_without_a_case_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert main(["report", str(tmp_path), "--redact"]) == EXIT_INPUT
    assert "NOT_A_CASE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
