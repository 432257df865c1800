"""Who may import whom, how large files may grow, what may never be called."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from lora_forensics.core.backends.families import FAMILIES
from lora_forensics.core.lora.names import FAMILIES_BY_PART, FAMILIES_BY_WIDTH

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "core"
FILES = sorted(p for p in CORE.rglob("*.py") if "assets" not in p.parts)

# From the ground up: a module imports only from its own layer or from layers before it.
LAYERS = [
    {"errors"},
    {"types", "specs", "records"},
    {"protocols", "devices", "storage"},
    {"statistics", "lora"},
    {"decoys", "images"},
    {"encoders", "sampling"},
    {"verdicts", "backends"},
    {"membership"},
    {"extraction", "attack", "training", "inpainting", "rates"},
    {"localization", "report"},
    {"casework"},
    {"demo"},
    {"studies"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
HOSTS = ("comfy", "comfy_api", "comfy_extras", "folder_paths", "server", "nodes", "execution")
FAMILY_NAMES = {
    name
    for names in (
        *((f.name, f.title, *f.hosts) for f in FAMILIES.values()),
        FAMILIES_BY_PART,
        FAMILIES_BY_WIDTH.values(),
    )
    for name in names
}
NETWORK = ("requests", "urllib.request", "http.client", "socket", "aiohttp", "httpx")


def unit_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, dotted name) of every import, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [a.name for a in node.names] if not node.module else [node.module]
            found += [(node.level, name) for name in names]
    return found


def core_imports(path: Path) -> set[str]:
    depth = len(path.relative_to(CORE).parts)
    return {n.split(".")[0] for level, n in imports(path) if level == depth} - {"__version__"}


def module_of(path: Path) -> str:
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    """Modules of core that a file imports, also inside functions."""
    known = {module_of(p) for p in FILES}
    package = path.relative_to(CORE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and 0 < node.level <= len(package) + 1:
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
            inside = [".".join([*base, alias.name]) for alias in node.names]
            found |= {name if name in known else ".".join(base) for name in inside}
    return found - {"", module_of(path)}


GRAPH = {module_of(p): imported_modules(p) for p in FILES}


def test_every_unit_has_a_layer():
    assert {unit_of(p) for p in FILES} - {"__init__"} == set(RANK)


def test_the_hall_is_small():
    assert len({p.stem for p in CORE.glob("*.py")} - {"__init__"}) <= 8


def test_no_file_imports_in_a_circle():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the files


def test_only_the_command_line_knows_studies_and_nothing_knows_how_the_demo_was_made():
    for module, imported in GRAPH.items():
        if not module.startswith(("cli", "studies")):
            assert not {n for n in imported if n.startswith("studies")}, module
        if not module.startswith("demo.making"):
            assert not {n for n in imported if n.startswith("demo.making")}, module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path):
    if unit_of(path) == "__init__":
        pytest.skip("the package itself imports nothing")
    upward = {n for n in core_imports(path) if RANK[n] > RANK[unit_of(path)]}
    assert not upward, f"{path.name} imports {upward} from a layer above its own"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_core_knows_no_host_and_no_network(path):
    depth = len(path.relative_to(CORE).parts)
    for level, name in imports(path):
        assert level <= depth, f"{path.name} climbs above core"
        top = name.split(".")[0]
        assert level or (top not in HOSTS and name not in NETWORK), f"{path.name} imports {name}"
        assert level or top != "lora_forensics", f"{path.name} imports the pack absolutely"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400


def literals(path: Path) -> set[str]:
    """String constants, but for those that stand alone, as docstrings do."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    }


@pytest.mark.parametrize("folder", ["core", "nodes"])
def test_model_families_are_told_apart_by_their_records_alone(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path != CORE / "backends" / "families.py" and CORE / "lora" not in path.parents:
            assert not literals(path) & FAMILY_NAMES, path


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unsafe_is_called(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        assert name not in {"torch.load", "torch.jit.load", "torch.save", "eval", "exec"}, name
        assert not name.startswith(("pickle.", "subprocess.", "os.system")), name
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert keywords.get("weights_only") != "False"
        assert "trust_remote_code" not in keywords
        if name.endswith("Image.open"):
            assert "formats" in keywords, f"{path.name}: Image.open without formats"
        if name.endswith("from_pretrained"):
            assert keywords.get("local_files_only") == "True", f"{path.name}: {name} may go online"


def test_the_checks_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import socket\nfrom ..cli import main\n")
    assert (0, "socket") in imports(bad)
    assert (2, "cli") in imports(bad)
    bad.write_text('def f(x):\n    "SD 2.x"\n    return {"SDXL": 1}[x] if x == "sd1" else 0\n')
    assert literals(bad) & FAMILY_NAMES == {"SDXL", "sd1"}
