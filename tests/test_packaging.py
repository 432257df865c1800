"""The package list equals the tree, versions agree, the front door stays light."""

import ast
import importlib.util
import re
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
    assert "lora_forensics/core/studies/reproduction/published.json" in names
    assert "lora_forensics/core/studies/reproduction/localization/published.json" in names
    assert not any(n.startswith(("core/", "tests/", "nodes/")) for n in names)


def _local(path: Path, level: int, module: str, names: list[str]) -> list[Path]:
    """Files that a relative import may mean."""
    base = path.parent
    for _ in range(level - 1):
        base = base.parent
    target = base.joinpath(*module.split(".")) if module else base
    inner = [target / name for name in names]
    return [f for t in (target, *inner) for f in (t.with_suffix(".py"), t / "__init__.py")]


def imported_by_nodes() -> set[str]:
    """Top-level packages that a node may import, now or when it runs."""
    found, seen, todo = set(), set(), list((ROOT / "nodes").glob("*.py"))
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                todo += _local(path, node.level, node.module or "", names)
    return found


HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}
# Of the headless and likelihood extras; MissingDependencyError names them.
OPTIONAL = {"open_clip", "transformers", "lir", "timm"}
IMPORT_NAMES = {
    "Pillow": "PIL", "Jinja2": "jinja2", "MarkupSafe": "markupsafe", "scikit-learn": "sklearn"
}  # fmt: skip


def test_requirements_are_what_nodes_import_and_move_nothing():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", line) for line in wanted)
    listed = {line.split(">=")[0] for line in wanted}
    third = imported_by_nodes() - set(sys.stdlib_module_names) - HOST - OPTIONAL
    assert third == {IMPORT_NAMES.get(name, name) for name in listed}


def test_installer_finds_what_is_missing(monkeypatch):
    spec = importlib.util.spec_from_file_location("installer", ROOT / "install.py")
    installer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installer)
    assert installer.problems() == []
    monkeypatch.setattr(
        installer, "requirements", lambda: [("no-such-thing", "1"), ("numpy", "99")]
    )
    missing, old = installer.problems()
    assert "no-such-thing is missing" in missing
    assert "older than 99" in old
