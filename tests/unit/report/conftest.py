"""One set of synthetic cases and their pages for all tests of the report."""

from pathlib import Path
from typing import Any

import pytest
import report_cases as cases
from lora_forensics.core.report import plots, score_plot
from lora_forensics.core.report.html import render_html


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("case")


@pytest.fixture(scope="session")
def every_case(root: Path) -> dict[str, dict[str, Any]]:
    return {letter: cases.make_case(letter, root) for letter in cases.LETTERS}


@pytest.fixture(scope="session")
def pages(every_case: dict[str, dict[str, Any]], root: Path) -> dict[str, str]:
    """A page of each letter; plots are slow, so only A has them."""
    made = {"A": render_html(every_case["A"], root)}
    with pytest.MonkeyPatch.context() as patch:
        _leave_out_plots(patch)
        made |= {k: render_html(c, root) for k, c in every_case.items() if k != "A"}
    return made


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots hold numbers only and are slow; hostile texts cannot reach them."""
    _leave_out_plots(monkeypatch)


def _leave_out_plots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(score_plot, "scores", lambda *_, **__: None)
    for name in ("roc", "losses", "dots", "forest", "spectra"):
        patch.setattr(plots, name, lambda *_, **__: None)
