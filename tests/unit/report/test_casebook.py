"""Cases of earlier schemas are still drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
from lora_forensics.core.casework.book import rewrite_report, write_redacted


@pytest.mark.usefixtures("no_plots")
def test_a_case_of_schema_1_is_drawn_again(
    every_case: dict[str, dict[str, Any]], root: Path
) -> None:
    case = json.loads(json.dumps(every_case["C"]))
    del case["membership"]["null_ranks"]
    old = {"value": 0.04, "nulls": [0.1, -0.1], "p": 2 / 3, "floor": 1 / 3}
    case["membership"]["null_rank"] = old
    case["schema_version"] = 1
    (root / "report.json").write_text(json.dumps(case))
    html = rewrite_report(root).read_text()
    assert "2 adapters of noise" in html
    assert "No trained null models were given" in html
    _, twin = write_redacted(root)
    redacted = json.loads(twin.read_text())
    assert redacted["schema_version"] == 2
    assert redacted["membership"]["null_ranks"][0]["kind"] == "noise"
    assert redacted["membership"]["null_ranks"][0]["nulls"] == [0.1, -0.1]
