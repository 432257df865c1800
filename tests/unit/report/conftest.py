"""One set of synthetic cases and their pages for all tests of the report."""

from pathlib import Path
from typing import Any

import pytest
import report_cases as cases
from lora_forensics.core.report.html import render_html


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("case")


@pytest.fixture(scope="session")
def every_case(root: Path) -> dict[str, dict[str, Any]]:
    return {letter: cases.make_case(letter, root) for letter in cases.LETTERS}


@pytest.fixture(scope="session")
def pages(every_case: dict[str, dict[str, Any]], root: Path) -> dict[str, str]:
    return {letter: render_html(case, root) for letter, case in every_case.items()}
