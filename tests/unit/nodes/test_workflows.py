"""Templates and nodes against the committed contract; needs no ComfyUI."""

import copy
import json
import re
from pathlib import Path

import pytest
from host.contract import CONTRACT, PREFIX, contract_text, read_contract, refusals, widgets

ROOT = Path(__file__).resolve().parents[3]
UI = sorted((ROOT / "workflows").glob("*.json"))
API = ROOT / "workflows" / "api"
PAGE_ONLY = {"MarkdownNote"}  # drawn by the page, never sent to the server
MUTED = 2
CONTRACT_NOW = read_contract()
FORMS = CONTRACT_NOW["core"] | CONTRACT_NOW["nodes"]
WIDGET_KINDS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str}
MACHINE = re.compile(r"(?:^|[\s\"'(])(?:/(?:home|root|tmp|work|mnt|opt|usr)/|[A-Za-z]:\\|~/|file:)")


def strict(path):
    """JSON without NaN, and without a key given twice."""

    def pairs(items):
        assert len({k for k, _ in items}) == len(items), f"{path.name}: a key twice"
        return dict(items)

    def refuse(text):
        raise AssertionError(f"{path.name}: {text} is no JSON")

    text = path.read_text(encoding="utf-8")
    return json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)


@pytest.fixture(params=UI, ids=lambda path: path.stem)
def twins(request):
    """A template in both formats."""
    return strict(request.param), strict(API / request.param.name)


def nodes_of(ui):
    return {str(n["id"]): n for n in ui["nodes"] if n["type"] not in PAGE_ONLY}


def api_of(ui):
    """What the page sends to the server for a graph."""
    links = {link[0]: [str(link[1]), link[2]] for link in ui["links"]}
    found = {}
    for key, node in nodes_of(ui).items():
        if node["mode"] == MUTED:
            continue
        form = FORMS[node["type"]]
        values, inputs = iter(node["widgets_values"]), {}
        for widget in widgets(form):
            inputs[widget["name"]] = next(values)
            if widget.get("control"):
                assert next(values) == "fixed"
        assert next(values, None) is None, f"{node['type']} has more values than widgets"
        inputs |= {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"]}
        title = node.get("title") or form["display_name"]
        meta = {"title": title}
        found[key] = {"class_type": node["type"], "inputs": inputs, "_meta": meta}
    return found


def test_there_are_templates():
    assert len(UI) >= 8
    assert {p.name for p in UI} == {p.name for p in API.glob("*.json")}
    assert all(p.with_suffix(".jpg").is_file() for p in UI)


def test_twins_say_the_same(twins):
    ui, api = twins
    assert api_of(ui) == api


def test_only_known_nodes_and_inputs(twins):
    _, api = twins
    for node in api.values():
        form = FORMS[node["class_type"]]
        known = {i["name"]: i for i in form["inputs"]}
        assert not node["inputs"].keys() - known.keys(), node
        assert {n for n, i in known.items() if i["required"]} <= node["inputs"].keys(), node
        for name, value in node["inputs"].items():
            check_value(api, known[name], value)


def check_value(api, wanted, value):
    if isinstance(value, list):
        made = FORMS[api[value[0]]["class_type"]]["outputs"][value[1]]["type"]
        assert wanted["type"] in (made, "*"), f"{made} goes into {wanted}"
        return
    assert wanted.get("widget"), f"{wanted['name']} has no widget"
    assert isinstance(value, WIDGET_KINDS[wanted["type"]]), f"{wanted['name']} is {value!r}"
    assert not wanted.get("choices") or value in wanted["choices"]
    assert "min" not in wanted or wanted["min"] <= value <= wanted["max"]


def test_each_ends_in_something_to_see(twins):
    _, api = twins
    assert any(FORMS[n["class_type"]]["output_node"] for n in api.values())
    assert any(n["class_type"].startswith(PREFIX) for n in api.values())


def test_links_join_the_right_sockets(twins):
    ui, _ = twins
    by_id = {n["id"]: n for n in ui["nodes"]}
    assert ui["last_node_id"] == max(by_id)
    assert [link[0] for link in ui["links"]] == list(range(1, ui["last_link_id"] + 1))
    for number, source, out, target, into, kind in ui["links"]:
        assert number in by_id[source]["outputs"][out]["links"]
        assert by_id[source]["outputs"][out]["type"] == kind
        assert by_id[target]["inputs"][into]["link"] == number


def test_layout_is_readable(twins):
    """No box on another, all inside a group, and a note that says what matters."""
    ui, _ = twins
    boxes = [(n["pos"], n["size"]) for n in ui["nodes"]]
    for i, (a, size_a) in enumerate(boxes):
        for b, size_b in boxes[i + 1 :]:
            apart = [a[k] + size_a[k] <= b[k] or b[k] + size_b[k] + 30 * k <= a[k] for k in (0, 1)]
            assert any(apart), f"{a} lies on {b}"
    notes = [n for n in ui["nodes"] if n["type"] in PAGE_ONLY]
    assert len(notes) == 1
    text = notes[0]["widgets_values"][0]
    for words in ("**Put in place first**", "**How long**", "**Reading the result**"):
        assert words in text
    assert all(inside(n, ui["groups"]) for n in nodes_of(ui).values())


def inside(node, groups):
    (x, y), (wide, tall) = node["pos"], node["size"]
    return any(
        gx <= x and gy <= y and x + wide <= gx + gw and y + tall <= gy + gh
        for gx, gy, gw, gh in (g["bounding"] for g in groups)
    )


@pytest.mark.parametrize("path", [*UI, *sorted(API.glob("*.json")), CONTRACT], ids=lambda p: p.name)
def test_no_path_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not MACHINE.search(text)
    assert not re.search(r"https?://", text)


@pytest.mark.parametrize("path", UI, ids=lambda path: path.stem)
def test_thumbnails_are_small_pictures(path):
    data = path.with_suffix(".jpg").read_bytes()
    assert data[:3] == b"\xff\xd8\xff"
    assert 2_000 < len(data) < 60_000


def test_contract_is_written_one_way():
    assert CONTRACT.read_text(encoding="utf-8") == contract_text(CONTRACT_NOW)
    assert strict(CONTRACT) == CONTRACT_NOW
    assert all(name.startswith(PREFIX) for name in CONTRACT_NOW["nodes"])


def test_seeds_stay_what_they_are():
    """A page that draws a new seed after each run would make every case another one."""
    seeds = [i for n in CONTRACT_NOW["nodes"].values() for i in n["inputs"] if i["name"] == "seed"]
    assert seeds
    assert not any(i.get("control") for i in seeds)


NODE = "LoraForensicsWhiteBox"


def edited(change):
    contract = copy.deepcopy(CONTRACT_NOW)
    change(contract["nodes"])
    return refusals(CONTRACT_NOW, contract)


def new_input(**more):
    return {"name": "added", "type": "INT", "required": False, "widget": True, **more}


def first_combo(nodes):
    return next(i for i in nodes["LoraForensicsScreen"]["inputs"] if i["name"] == "preset")


def swap(nodes):
    inputs = nodes[NODE]["inputs"]
    inputs[5], inputs[6] = inputs[6], inputs[5]


BREAKING = {
    "node removed": lambda n: n.pop(NODE),
    "node renamed": lambda n: n.update({"Other": n.pop(NODE)}),
    "input removed": lambda n: n[NODE]["inputs"].pop(),
    "input renamed": lambda n: n[NODE]["inputs"][3].update(name="other"),
    "inputs reordered": swap,
    "input inserted": lambda n: n[NODE]["inputs"].insert(2, new_input()),
    "required input added": lambda n: n[NODE]["inputs"].append(new_input(required=True)),
    "input made required": lambda n: n["LoraForensicsLoadSuspect"]["inputs"][-1].update(
        required=True
    ),
    "type changed": lambda n: n[NODE]["inputs"][0].update(type="MODEL"),
    "widget taken away": lambda n: n[NODE]["inputs"][6].pop("widget"),
    "seed control added": lambda n: n[NODE]["inputs"][-2].update(control=True),
    "choice removed": lambda n: first_combo(n)["choices"].pop(0),
    "bound tightened": lambda n: n[NODE]["inputs"][6].update(max=8),
    "lower bound raised": lambda n: n[NODE]["inputs"][6].update(min=2),
    "output removed": lambda n: n[NODE]["outputs"].pop(0),
    "output renamed": lambda n: n[NODE]["outputs"][0].update(name="other"),
    "output type changed": lambda n: n[NODE]["outputs"][0].update(type="IMAGE"),
    "no output node": lambda n: n["LoraForensicsReport"].update(output_node=False),
}
HARMLESS = {
    "nothing": lambda n: None,
    "node added": lambda n: n.update(Added=n[NODE]),
    "optional input appended": lambda n: n[NODE]["inputs"].append(new_input()),
    "choice appended": lambda n: first_combo(n)["choices"].append("deeper"),
    "bound widened": lambda n: n[NODE]["inputs"][6].update(max=4096),
    "default changed": lambda n: n[NODE]["inputs"][6].update(default=8),
    "output appended": lambda n: n[NODE]["outputs"].append(
        {"name": "more", "type": "STRING", "list": False}
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_breaking_changes_are_refused(name):
    assert edited(BREAKING[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_additions_are_allowed(name):
    assert edited(HARMLESS[name]) == []
