"""A template in ComfyUI's real page: opened, queued, and its verdict card and images seen.

With SCREENSHOTS set to a folder, the finished page is kept there as comfyui.png and
comfyui_localize.png.
"""

import json
import os
import time
from pathlib import Path

import pytest

from .browser import Browser, chromium
from .test_host_browser import READY, SETTINGS
from .tiny_prompts import API, TINY

SHOWN = TINY | {"lines": "all lines", "preset": "quick", "exchangeable": False}
CARD = "document.querySelector('.lora-forensics-letter')?.textContent"


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    if chromium() is None:
        pytest.skip("no Chromium here; CHROMIUM names one")
    server.call("/settings", SETTINGS)
    with Browser(tmp_path_factory.mktemp("page") / "profile", size=(1900, 1080)) as browser:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait_for(READY, 120)
        time.sleep(2)  # the page loads its own default workflow last
        yield browser


def opened(page, name, **values):
    """The template as a user opens it, with the tests' files, small settings and `values`."""
    graph = (API.parent / f"{name}.json").read_text(encoding="utf-8")
    page.evaluate(f"app.loadGraphData({graph}).then(() => true)")
    page.wait_for("app.graph.nodes.some((n) => n.type.startsWith('LoraForensics'))")
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
    time.sleep(1)
    taken = page.screenshot(path, (0, 0, 1900, height))
    assert taken.stat().st_size > 20_000


def folder_of(tmp_path):
    return Path(os.environ.get("SCREENSHOTS") or tmp_path)


def queued(page):
    page.evaluate("app.queuePrompt(0, 1).then(() => true)")


def test_a_template_runs_from_the_page_to_a_verdict_card(page, tmp_path):
    opened(page, "white_box_membership")
    queued(page)
    letter = page.wait_for(CARD, 240)
    assert letter in ("C", "D")
    said = page.evaluate("document.querySelector('.lora-forensics')?.innerText")
    assert "white-box" in said
    assert "A person decides" in said
    shown = page.wait_for("app.graph.nodes.filter((n) => n.imgs?.length).map((n) => n.type)", 30)
    assert shown, "no node shows an image"
    page.wait_for(
        "[...document.querySelectorAll('.lora-forensics')]"
        ".some((p) => p.innerText.includes('report.html'))",
        60,
    )
    photographed(page, folder_of(tmp_path) / "comfyui.png", 0.66, 700)
    assert not [c for c in page.complaints() if "lora_forensics.js" in c]


def test_repainted_photos_are_localised_in_the_page(page, tmp_path):
    opened(page, "inpaint_localize", steps=10)
    queued(page)
    shown = page.wait_for(
        "app.graph.nodes.filter((n) => n.imgs?.length).length === 2 && 'both'", 240
    )
    assert shown == "both"
    photographed(page, folder_of(tmp_path) / "comfyui_localize.png", 0.72, 800)
