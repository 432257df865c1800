"""ComfyUI's page in the system's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, sync_playwright

READY = (
    "window.app?.extensions?.some((e) => e.name === 'LoraForensics')"
    " && !!app.canvas && !!app.extensionManager?.workflow?.activeWorkflow"
)
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}


def chromium() -> str | None:
    """The browser's path: ``CHROMIUM``, or the first that is installed."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def comfy_page(url: str) -> Iterator[Page]:
    """ComfyUI's page, loaded, in a browser that ends with the context."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-proxy-server"])
        page = browser.new_page(viewport={"width": 1900, "height": 1080})
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_function(READY, timeout=120_000)
        page.wait_for_timeout(2000)  # the page loads its own default workflow last
        yield page


def complaints(page: Page) -> list[str]:
    """Errors and warnings of the console so far and exceptions that nobody caught, as JSON.

    Each holds the scripts on its stack, which Playwright's own messages leave out. A session of
    DevTools is told everything that came before it.
    """
    found: list[str] = []

    def keep(event: dict[str, Any]) -> None:
        if event.get("type", "error") in ("error", "warning"):
            found.append(json.dumps(event))

    session = page.context.new_cdp_session(page)
    session.on("Runtime.consoleAPICalled", keep)
    session.on("Runtime.exceptionThrown", keep)
    session.on("Log.entryAdded", lambda event: keep({"type": event["entry"]["level"], **event}))
    for domain in ("Runtime", "Log"):
        session.send(f"{domain}.enable")
    session.detach()
    return found
