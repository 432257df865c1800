"""The package list equals the tree, versions agree, the front door stays light."""

import subprocess
import sys
import tomllib
from pathlib import Path

import lora_forensics.core as core
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    found = {"lora_forensics"}
    for top in ("core", "nodes"):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(("lora_forensics", *parts)))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_versions_agree():
    assert PROJECT["project"]["version"] == core.__version__


def test_root_module_imports_nothing():
    source = (ROOT / "__init__.py").read_text()
    body = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert body == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from lora_forensics.core.cli import build_parser; build_parser(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0


@pytest.mark.slow
def test_wheel_holds_code_and_assets(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), "."]
    subprocess.run(command, cwd=ROOT, check=True)
    import zipfile

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "lora_forensics/core/report/template.html" in names
    assert "lora_forensics/core/demo/assets/truth.json" in names
    assert not any(n.startswith(("core/", "tests/", "nodes/")) for n in names)
