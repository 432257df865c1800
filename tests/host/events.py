"""What ComfyUI tells its page while it works, read from its websocket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


@dataclass(frozen=True)
class Event:
    """One message: ``executing``, ``progress``, ``executed``, ``execution_error`` and the like."""

    kind: str
    data: dict[str, Any]


class EventStream:
    """Collects the messages for one client in a thread, from `__init__` until `close`."""

    def __init__(self, port: int, client_id: str):
        self.events: list[Event] = []
        self._arrived = threading.Condition()
        # Neither an environment's proxy nor a limit of size: previews are large.
        self._socket = connect(
            f"ws://127.0.0.1:{port}/ws?clientId={client_id}", proxy=None, max_size=None
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def of(self, prompt_id: str, kind: str = "") -> list[Event]:
        """The events of one prompt so far, in order."""
        with self._arrived:
            found = [e for e in self.events if e.data.get("prompt_id") == prompt_id]
        return [e for e in found if not kind or e.kind == kind]

    def wait(self, wanted: Callable[[Event], bool], timeout: float) -> Event | None:
        """The first event that is wanted, past or future; None when the time is over."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                found = next((event for event in self.events if wanted(event)), None)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._arrived.wait(left)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)

    def _read(self) -> None:
        with suppress(ConnectionClosed):  # the server may go first
            while True:
                if isinstance(text := self._socket.recv(), str):
                    message = json.loads(text)
                    with self._arrived:
                        self.events.append(Event(message["type"], message.get("data") or {}))
                        self._arrived.notify_all()
