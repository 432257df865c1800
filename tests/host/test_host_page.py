"""A template in ComfyUI's real page: opened, queued, and its verdict card and images seen.

With SCREENSHOTS set to a folder, the finished page is kept there as comfyui.png and
comfyui_localize.png.
"""

import json
import os
from pathlib import Path

from .browser import complaints
from .tiny_prompts import API, TINY

SHOWN = TINY | {"lines": "all lines", "preset": "quick", "exchangeable": False}
RUN = 240_000  # milliseconds


def opened(page, name, **values):
    """The template as a user opens it, with the tests' files, small settings and `values`."""
    graph = (API.parent / f"{name}.json").read_text(encoding="utf-8")
    page.evaluate(f"app.loadGraphData({graph}).then(() => true)")
    page.wait_for_function("app.graph.nodes.some((n) => n.type.startsWith('LoraForensics'))")
    page.evaluate(
        f"(() => {{ const given = {json.dumps(SHOWN | values)};"
        " for (const n of app.graph.nodes) for (const w of n.widgets ?? [])"
        "   if (w.name in given) w.value = given[w.name];"
        " return true; })()"
    )


def photographed(page, path, scale, height):
    page.evaluate(
        f"app.canvas.ds.scale = {scale}; app.canvas.ds.offset = [20, 110];"
        "app.graph.setDirtyCanvas(true, true); true"
    )
    page.evaluate("document.activeElement?.blur(); true")
    page.wait_for_timeout(1000)
    taken = page.screenshot(path=path, clip={"x": 0, "y": 0, "width": 1900, "height": height})
    assert len(taken) > 20_000


def folder_of(tmp_path):
    return Path(os.environ.get("SCREENSHOTS") or tmp_path)


def queued(page):
    page.evaluate("app.queuePrompt(0, 1).then(() => true)")


def test_a_template_runs_from_the_page_to_a_verdict_card(page, tmp_path):
    opened(page, "white_box_membership")
    queued(page)
    letter = page.locator(".lora-forensics-letter").first.text_content(timeout=RUN)
    assert letter in ("C", "D")
    card = page.locator(".lora-forensics").first.inner_text()
    assert "white-box" in card
    assert "A person decides" in card
    page.wait_for_function("app.graph.nodes.some((n) => n.imgs?.length)", timeout=30_000)
    page.locator(".lora-forensics", has_text="report.html").wait_for()
    photographed(page, folder_of(tmp_path) / "comfyui.png", 0.66, 700)
    assert not [c for c in complaints(page) if "lora_forensics.js" in c]


def test_repainted_photos_are_localized_in_the_page(page, tmp_path):
    opened(page, "inpaint_localize", steps=10)
    queued(page)
    both = "app.graph.nodes.filter((n) => n.imgs?.length).length === 2"
    page.wait_for_function(both, timeout=RUN)
    photographed(page, folder_of(tmp_path) / "comfyui_localize.png", 0.72, 800)
