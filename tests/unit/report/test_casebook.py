"""A finished case is drawn again; a folder that is not one, or of another schema, is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from lora_forensics.core.casework.book import rewrite_report, write_redacted
from lora_forensics.core.errors import InputError


@pytest.mark.usefixtures("no_plots")
def test_a_case_is_drawn_again_and_redacted(
    every_case: dict[str, dict[str, Any]], root: Path
) -> None:
    (root / "report.json").write_text(json.dumps(every_case["C"]))
    assert "Source similarity only" in rewrite_report(root).read_text()
    _, twin = write_redacted(root)
    assert json.loads(twin.read_text())["redacted"] is True


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "NOT_A_CASE"), ("{", "CORRUPT_REPORT"), ("{}", "CORRUPT_REPORT"),
     ('{"schema_version": 2}', "CASE_SCHEMA")],
)  # fmt: skip
def test_what_is_not_a_case_is_named(tmp_path: Path, content: str | None, code: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError) as error:
        rewrite_report(tmp_path)
    assert error.value.code == code
