"""Starts a real ComfyUI server on the CPU in a folder of its own, and talks to it.

with ComfyServer(base, comfyui, packs={"my-pack": checkout}) as server:
    history = server.run(prompt)
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from .events import Event, EventStream

FOLDERS = ("models", "custom_nodes", "input", "output", "user", "temp")
START_TIMEOUT, PROMPT_TIMEOUT, STOP_TIMEOUT = 600.0, 1200.0, 20.0  # a busy machine is slow
# An environment's proxy must not see what goes to this machine itself.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Prompt = Mapping[str, Mapping[str, Any]]


class ServerDiedError(RuntimeError):
    """The server ended, or did not come up in time; the message has the end of its log."""


class RequestRefusedError(ValueError):
    """The server answered with an HTTP error, to a prompt most often.

    Attributes:
        status: of HTTP. body: the decoded answer, with ``error`` and ``node_errors``.
    """

    def __init__(self, status: int, body: dict[str, Any]):
        super().__init__(f"HTTP {status}: {json.dumps(body)[:2000]}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class History:
    """A finished prompt.

    Attributes:
        outputs: node id -> what the node showed, for output nodes.
        executed: ids of the nodes that began to run, in order; cached ones are not among them.
        cached: ids of the nodes whose result was known.
        progress: (node id, value, maximum) of each step reported.
        error: of the failed node: ``node_id``, ``exception_type``, ``exception_message``, ...
    """

    prompt_id: str
    status: Literal["success", "error", "interrupted"]
    outputs: dict[str, dict[str, Any]]
    executed: tuple[str, ...]
    cached: frozenset[str]
    progress: tuple[tuple[str, float, float], ...]
    error: dict[str, Any] | None
    seconds: float

    def files(self, node: str, key: str = "images") -> list[dict[str, str]]:
        """The file entries that a node showed, for `ComfyServer.view`."""
        return list(self.outputs[node][key])


def copy_pack(source: Path, target: Path) -> None:
    """Copies what a clone of ``source`` would have: tracked files, and new ones not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, check=True, capture_output=True).stdout
    for name in sorted(set(filter(None, listed.decode().split("\0")))):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ComfyServer:
    """A server process from ``with`` to its end.

    Args:
        base: ComfyUI's base directory; its folders are made, models may lie there already.
        comfyui: the ComfyUI checkout.
        packs: folder name below custom_nodes -> git checkout to copy there.
        options: more arguments of main.py.

    ``COMFYUI_PYTHON`` is the interpreter with ComfyUI's requirements, else this one.
    """

    def __init__(
        self,
        base: Path,
        comfyui: Path,
        *,
        packs: Mapping[str, Path] | None = None,
        options: Sequence[str] = (),
    ):
        self.base, self.comfyui = base, comfyui
        self.python = os.environ.get("COMFYUI_PYTHON") or sys.executable
        self.packs, self.options = dict(packs or {}), list(options)
        self.port, self.client_id = free_port(), uuid.uuid4().hex
        self.process: subprocess.Popen | None = None
        self._events: EventStream | None = None

    def __enter__(self) -> Self:
        for name in FOLDERS:
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for name, source in self.packs.items():
            copy_pack(source, self.base / "custom_nodes" / name)
        self._start()
        try:
            self._wait_until_ready(time.monotonic() + START_TIMEOUT)
            self._events = EventStream(self.port, self.client_id)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def events(self) -> EventStream:
        assert self._events is not None, "the server is not running"
        return self._events

    @property
    def log(self) -> str:
        """All that the server printed."""
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the process that was started here, politely first."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def post(self, prompt: Prompt, **extra_data: Any) -> str:
        """Queues an API-format prompt and returns its id; raises RequestRefusedError."""
        body: dict[str, Any] = {"prompt": prompt, "client_id": self.client_id}
        if extra_data:
            body["extra_data"] = extra_data
        return self._json("/prompt", body)["prompt_id"]

    def run(self, prompt: Prompt, timeout: float = PROMPT_TIMEOUT) -> History:
        """Queues a prompt and waits for its end, whichever that is."""
        return self.wait(self.post(prompt), timeout)

    def wait(self, prompt_id: str, timeout: float = PROMPT_TIMEOUT) -> History:
        """The history of a prompt once it is over."""
        if self.wait_event("executing", timeout, prompt_id=prompt_id, node=None) is None:
            raise TimeoutError(f"no end after {timeout:.0f} s:\n{self.log_tail()}")
        entry = self._json(f"/history/{prompt_id}")[prompt_id]
        return _history(prompt_id, entry, self.events.of(prompt_id))

    def wait_event(self, kind: str, timeout: float = 60.0, **data: Any) -> Event | None:
        """The first event of a kind whose data has these values; None when the time is over.

        ``wait_event("progress", prompt_id=id)`` comes back once a node of the prompt counts.
        """

        def wanted(event: Event) -> bool:
            same = all(k in event.data and event.data[k] == v for k, v in data.items())
            return event.kind == kind and same

        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if event := self.events.wait(wanted, min(left, 1.0)):
                return event
            self._check_alive()
        return None

    def object_info(self, node: str = "") -> dict[str, dict[str, Any]]:
        """Node id -> its form, for one node or for all."""
        return self._json(f"/object_info/{node}".rstrip("/"), timeout=120)

    def queue(self) -> tuple[list[str], list[str]]:
        """Ids of the running and of the waiting prompts."""
        found = self._json("/queue")
        running, pending = found["queue_running"], found["queue_pending"]
        return [item[1] for item in running], [item[1] for item in pending]

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Ends the running prompt; with an id, only if it is that one."""
        self.call("/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def free(self) -> None:
        """Asks the server to unload models and to forget cached results."""
        self.call("/free", {"unload_models": True, "free_memory": True})

    def view(self, entry: Mapping[str, str]) -> bytes:
        """The bytes of a file entry ``{"filename", "subfolder", "type"}``."""
        return self.call("/view?" + urllib.parse.urlencode(entry))

    def path_of(self, entry: Mapping[str, str]) -> Path:
        """Where the file of an entry lies."""
        return self.base / entry["type"] / entry["subfolder"] / entry["filename"]

    def call(self, path: str, body: Any = None, timeout: float = 30.0) -> bytes:
        """GET, or POST of a JSON body; raises RequestRefusedError on an HTTP error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise RequestRefusedError(error.code, _decoded(error.read())) from None

    def _json(self, path: str, body: Any = None, timeout: float = 30.0) -> dict[str, Any]:
        return json.loads(self.call(path, body, timeout))

    def _start(self) -> None:
        options = {
            "--listen": "127.0.0.1",
            "--port": str(self.port),
            "--base-directory": str(self.base),
            "--database-url": f"sqlite:///{self.base / 'user' / 'comfyui.db'}",
        }
        flags = ["--cpu", "--disable-auto-launch", "--disable-api-nodes", *self.options]
        command = [self.python, str(self.comfyui / "main.py"), *flags]
        command += [word for pair in options.items() for word in pair]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        with (self.base / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.comfyui, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                self.call("/system_stats", timeout=5)
            except OSError:
                time.sleep(0.25)
            else:
                return
        raise ServerDiedError(f"the server did not come up in time:\n{self.log_tail()}")

    def _check_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            code = self.process and self.process.returncode
            raise ServerDiedError(f"the server ended with code {code}:\n{self.log_tail()}")


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return json.loads(body)
    except ValueError:
        return {"error": body.decode(errors="replace")}


def _history(prompt_id: str, entry: dict[str, Any], events: list[Event]) -> History:
    messages = dict(entry["status"]["messages"])
    status = "interrupted" if "execution_interrupted" in messages else entry["status"]["status_str"]
    times = [data["timestamp"] for data in messages.values() if "timestamp" in data]
    began = [e.data["node"] for e in events if e.kind == "executing" and e.data["node"]]
    return History(
        prompt_id=prompt_id,
        status=status,
        outputs=entry["outputs"],
        executed=tuple(dict.fromkeys(began)),
        cached=frozenset(messages.get("execution_cached", {}).get("nodes", ())),
        progress=tuple(
            (e.data["node"], e.data["value"], e.data["max"]) for e in events if e.kind == "progress"
        ),
        error=messages.get("execution_error"),
        seconds=(max(times) - min(times)) / 1000 if times else 0.0,
    )
