"""The benchmarks' stopwatch and front door; nothing here depends on a real clock."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _from_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_fastest_leaves_the_warm_up_out() -> None:
    from benchmarks.timing import fastest

    clock, calls = [0.0], []
    costs = iter((9.0, 3.0, 2.0, 5.0))

    def call() -> None:
        calls.append(next(costs))
        clock[0] += calls[-1]

    assert fastest(call, 3, clock=lambda: clock[0]) == 2.0
    assert calls == [9.0, 3.0, 2.0, 5.0]


def test_without_the_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import __main__ as front

    monkeypatch.setattr(sys, "path", list(sys.path))
    front.check_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"make bench.*pip install -e"):
        front.check_installed()


def test_tables_are_markdown() -> None:
    from benchmarks.__main__ import table

    assert table("T", ["a", "b"], [["1", "2"]]) == "## T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
