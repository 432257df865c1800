"""A headless Chromium, driven over its DevTools protocol with the standard library alone.

with Browser(folder) as page:
    page.open("http://127.0.0.1:8188")
    page.evaluate("1 + 1")
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from . import processes
from .events import TEXT_FRAME, Event, EventStream

START_TIMEOUT, CALL_TIMEOUT = 60.0, 120.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-proxy-server", "--hide-scrollbars", "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)  # fmt: skip
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ScriptError(RuntimeError):
    """JavaScript threw, or a DevTools command was refused."""


def chromium() -> str | None:
    """The browser's command: ``CHROMIUM``, or the first that is installed."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else list(NAMES)
    return next((found for name in names if (found := shutil.which(name))), None)


class DevTools(EventStream):
    """Messages of one page; an answer to a command is an event of kind ``answer``."""

    def _greet(self, port: int, client_id: str) -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = (
            f"GET /devtools/page/{client_id} HTTP/1.1", f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "",
        )  # fmt: skip
        self._socket.sendall("\r\n".join(lines).encode())
        status = self._reader.readline()
        if b" 101 " not in status:
            raise ConnectionError(f"no websocket: {status!r}")
        while self._reader.readline().strip():
            pass

    def _keep(self, message: dict[str, Any]) -> None:
        kind = message.get("method", "answer")
        data = message if kind == "answer" else message.get("params", {})
        with self._arrived:
            self.events.append(Event(kind, data))
            self._arrived.notify_all()

    def send(self, message: dict[str, Any]) -> None:
        """A client masks what it sends; a mask of zeros leaves it readable."""
        payload = json.dumps(message).encode()
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | TEXT_FRAME, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([0x80 | TEXT_FRAME, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | TEXT_FRAME, 0x80 | 127]) + size.to_bytes(8, "big")
        self._socket.sendall(head + bytes(4) + payload)


class Browser:
    """One page of one browser process, from ``with`` to its end.

    Args:
        folder: for the browser's profile; made here.
        size: of the window, in CSS pixels.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1600, 1000)):
        self.folder, self.size = folder, size
        self.process: subprocess.Popen | None = None
        self._place = folder / "DevToolsActivePort"
        self._tools: DevTools | None = None
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place.unlink(missing_ok=True)
        window = f"--window-size={self.size[0]},{self.size[1]}"
        command = [str(chromium()), *FLAGS, window, f"--user-data-dir={self.folder}"]
        with (self.folder / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "about:blank"], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._tools = self._connected()
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process that was started here."""
        if self._tools is not None:
            self._tools.close()
            self._tools = None
        if self.process is not None:
            processes.end(self.process)
            self.process = None

    @property
    def tools(self) -> DevTools:
        assert self._tools is not None, "the browser is not running"
        return self._tools

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command."""
        number = next(self._ids)
        self.tools.send({"id": number, "method": method, "params": params})
        answer = self.tools.wait(
            lambda e: e.kind == "answer" and e.data.get("id") == number, CALL_TIMEOUT
        )
        if answer is None:
            raise TimeoutError(f"{method} was not answered")
        if "error" in answer.data:
            raise ScriptError(f"{method}: {answer.data['error']}")
        return answer.data["result"]

    def evaluate(self, script: str) -> Any:
        """The JSON value of an expression; a promise is awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if wrong := found.get("exceptionDetails"):
            text = wrong.get("exception", {}).get("description") or wrong.get("text")
            raise ScriptError(f"{text}\nin {script[:300]}")
        return found["result"].get("value")

    def wait_for(self, condition: str, timeout: float = 60.0) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if value := self.evaluate(condition):
                return value
            time.sleep(0.2)
        raise TimeoutError(f"never true: {condition[:300]}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def screenshot(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> Path:
        """A PNG of the window, or of ``x, y, width, height`` in it."""
        wanted = {}
        if clip is not None:
            wanted["clip"] = {
                **dict(zip(("x", "y", "width", "height"), clip, strict=True)),
                "scale": 1,
            }
        taken = self.call("Page.captureScreenshot", format="png", **wanted)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def complaints(self) -> list[str]:
        """Errors and warnings of the console so far, and exceptions that nobody caught."""
        with self.tools._arrived:
            events = list(self.tools.events)
        found = []
        for e in events:
            if e.kind == "Runtime.consoleAPICalled" and e.data["type"] in ("error", "warning"):
                args = e.data["args"]
                said = [str(a.get("value") or a.get("description") or "") for a in args]
                found.append(f"{e.data['type']}: {' '.join(said)} {_frames(e.data)}")
            elif e.kind == "Runtime.exceptionThrown":
                wrong = e.data["exceptionDetails"]
                text = wrong.get("exception", {}).get("description") or wrong["text"]
                found.append(f"exception: {text} {wrong.get('url', '')}")
            elif e.kind == "Log.entryAdded" and e.data["entry"]["level"] == "error":
                found.append(f"log: {e.data['entry']['text']} {e.data['entry'].get('url', '')}")
        return found

    def _connected(self) -> DevTools:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            if self._place.is_file() and len(lines := self._place.read_text().split()) >= 2:
                return DevTools(int(lines[0]), _page(int(lines[0])))
            time.sleep(0.1)
        log = (self.folder / "browser.log").read_text(errors="replace")
        raise ConnectionError(f"the browser did not come up:\n{log[-2000:]}")


def _page(port: int) -> str:
    with _OPENER.open(f"http://127.0.0.1:{port}/json/list", timeout=30) as response:
        pages = json.loads(response.read())
    return next(p["id"] for p in pages if p["type"] == "page")


def _frames(data: dict[str, Any]) -> str:
    frames = data.get("stackTrace", {}).get("callFrames", [])
    return " ".join(f["url"] for f in frames[:4])
