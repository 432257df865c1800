"""The pack in ComfyUI's real page: a headless Chromium loads it, runs it and is looked at."""

import json

import pytest

from .browser import complaints
from .prompts import node

PACK = "LoraForensics"
HOSTILE = "<img src=x onerror='window.hit = 1'> <a href='http://example.org'>here</a>"
CARD = {
    "letter": "A",
    "headline": "Use of these images is supported",
    "reasons": ["The model knows the photos better than exchangeable controls."],
    "error_rates": ["Verdict A comes up by chance in at most 1% of cases."],
    "caveats": ["A person decides.", HOSTILE],
    "rows": [["photos", "16"], ["controls", "100"], ["white-box", "AUC 1.000 (0.794 to 1.000)"]],
}
BROKEN = (
    None, {}, {"text": None}, {"lora_forensics_verdict": None}, {"lora_forensics_verdict": [None]},
    {"lora_forensics_verdict": [{}]}, {"lora_forensics_verdict": [{"rows": 5, "reasons": "one"}]},
    {"lora_forensics_verdict": [{"rows": [None, [], ["a"]], "letter": None}], "text": 7},
)  # fmt: skip
PROMPT = {
    "1": node("LoraForensicsInspect", lora_name="sd15_text.safetensors"),
    "2": node("LoraForensicsReport", name="case"),
    "3": node("LoraForensicsPhotoFolder", folder="photos"),
}


@pytest.fixture
def graph(page):
    """Three nodes of the pack, at their own sizes, side by side."""
    page.evaluate(f"app.loadApiJson({json.dumps(PROMPT)}, 'pack')")
    page.wait_for_function("app.graph.nodes.length === 3")
    page.evaluate(
        "app.graph.nodes.forEach((n, i) => { n.pos = [90 + 400 * i, 130]; });"
        "app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0];"
        "app.graph.setDirtyCanvas(true, true)"
    )
    return page


@pytest.fixture
def looked_at(page, tmp_path, request):
    """A screenshot in the test's folder, whatever happens."""
    yield
    page.wait_for_timeout(500)  # the canvas follows a frame or two later
    page.screenshot(path=tmp_path / f"{request.node.name}.png")


def node_js(number):
    return f"app.graph.getNodeById({number})"


def own_complaints(page):
    return [c for c in complaints(page) if PACK in c or "lora_forensics" in c]


def show(page, number, output):
    page.evaluate(f"{node_js(number)}.onExecuted({json.dumps(output)})")


@pytest.mark.usefixtures("looked_at")
def test_a_run_shows_the_inspection_on_its_node(graph):
    # The report node has no case, so only the inspection can run.
    graph.evaluate(f"app.graph.remove({node_js(2)})")
    graph.evaluate("app.queuePrompt(0)")
    text = "document.querySelector('.lora-forensics-text')?.textContent"
    shown = graph.wait_for_function(text, timeout=120_000).json_value()
    assert "a northgate headshot" in shown
    graph.wait_for_function("document.querySelector('.lora-forensics-text').offsetHeight > 20")
    heights = graph.evaluate(
        f"[document.querySelector('.lora-forensics').offsetHeight, {node_js(1)}.size[1]]"
    )
    assert 60 < heights[0] < heights[1]
    assert not own_complaints(graph)


@pytest.mark.usefixtures("looked_at")
def test_verdict_card_is_text_alone(graph):
    show(graph, 2, {"text": ["output/report.html"], "lora_forensics_verdict": [CARD]})
    card = graph.locator(".lora-forensics-card")
    graph.wait_for_function("document.querySelector('.lora-forensics-card')?.offsetHeight > 100")
    graph.wait_for_function(f"{node_js(2)}.size[1] > 300")
    seen = card.inner_text()
    for part in ("A\n", CARD["headline"], *CARD["reasons"], *CARD["error_rates"], HOSTILE):
        assert part in seen
    assert "100" in seen
    assert graph.locator(".lora-forensics img, .lora-forensics a").count() == 0
    assert graph.evaluate("window.hit") is None
    assert not own_complaints(graph)


def test_missing_fields_never_throw(graph):
    for output in BROKEN:
        show(graph, 2, output)
    show(graph, 3, {"text": "a node that shows nothing as a rule"})
    graph.locator(".lora-forensics-text", has_text="as a rule").wait_for()
    assert not own_complaints(graph)


def test_an_earlier_result_is_marked_as_such(graph):
    show(graph, 2, {"lora_forensics_verdict": [CARD]})
    graph.evaluate(f"{node_js(2)}.onExecutionStart()")
    old = graph.locator(".lora-forensics-old")
    assert old.text_content().startswith("From an earlier run")
    show(graph, 2, {"lora_forensics_verdict": [CARD]})
    assert old.count() == 0


def test_results_stay_out_of_workflow_and_prompt(graph):
    show(graph, 2, {"lora_forensics_verdict": [CARD]})
    saved = graph.evaluate("app.graph.serialize()")
    assert CARD["headline"] not in json.dumps(saved)
    assert [n["widgets_values"] for n in saved["nodes"] if n["id"] == 2] == [["case"]]
    prompt = graph.evaluate("app.graphToPrompt().then((p) => p.output)")
    assert prompt["1"]["inputs"] == PROMPT["1"]["inputs"]
    assert prompt["2"]["inputs"] == {"name": "case"}


def test_a_saved_workflow_loads_again(graph):
    saved = graph.evaluate("app.graph.serialize()")
    graph.evaluate(f"app.loadGraphData({json.dumps(saved)})")
    graph.wait_for_function("app.graph.nodes.length === 3")
    assert graph.evaluate(f"{node_js(2)}.widgets.map((w) => w.name)") == ["name", "result"]
    assert graph.evaluate(f"{node_js(2)}.widgets[0].value") == "case"
    assert not own_complaints(graph)


@pytest.mark.usefixtures("looked_at")
def test_help_page_opens_with_its_picture(graph):
    graph.evaluate(f"app.canvas.selectNode({node_js(1)})")
    graph.get_by_test_id("info-button").dispatch_event("click")
    images = "[...document.querySelectorAll('.node-help-content img')]"
    graph.wait_for_function(f"{images}.some((i) => i.naturalWidth > 0)")
    pairs = graph.evaluate(f"{images}.map((i) => [new URL(i.src).pathname, i.naturalWidth])")
    assert all(path.startswith("/extensions/") and width for path, width in pairs)
    assert "Metadata is a claim" in graph.locator(".node-help-content").inner_text()


def test_words_are_offered_for_translation(server):
    words = json.loads(server.call("/i18n"))["en"]["nodeDefs"]
    assert words["LoraForensicsInspect"]["outputs"]["0"]["name"] == "summary"


def test_every_help_page_and_picture_is_served(server):
    for form in server.object_info().values():
        if not form["name"].startswith(PACK):
            continue
        pack = form["python_module"].split(".")[1]
        place = f"/extensions/{pack}/docs"
        assert server.call(f"{place}/{form['name']}.md").startswith(b"# ")
        assert server.call(f"{place}/assets/{form['name']}.svg").startswith(b"<svg")
