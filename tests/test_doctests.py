"""Every example in a docstring runs."""

import doctest
import importlib
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[1] / "core"
MODULES = [
    "lora_forensics." + ".".join(p.relative_to(CORE.parent).with_suffix("").parts)
    for p in sorted(CORE.rglob("*.py"))
    if ">>>" in p.read_text() and "assets" not in p.parts
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
