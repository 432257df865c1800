"""What ComfyUI tells its page while it works, read from its websocket; standard library only."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TEXT_FRAME, CLOSE_FRAME, PING_FRAME, PONG_FRAME = 1, 8, 9, 10


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
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._reader = self._socket.makefile("rb")
        self._greet(port, client_id)
        self._socket.settimeout(None)
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
        # A plain close would not wake the reader; the server may have gone already.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _greet(self, port: int, client_id: str) -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._socket.sendall(
            (
                f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        status = self._reader.readline()
        if b" 101 " not in status:
            raise ConnectionError(f"no websocket: {status!r}")
        while self._reader.readline().strip():
            pass

    def _read(self) -> None:
        text = b""
        try:
            while True:
                kind, last, payload = self._frame()
                if kind == CLOSE_FRAME:
                    return
                if kind == PING_FRAME:
                    self._pong(payload)
                elif kind == TEXT_FRAME or (kind == 0 and text):
                    text += payload
                    if last:
                        self._keep(json.loads(text))
                        text = b""
        except (OSError, EOFError, ValueError):
            return

    def _frame(self) -> tuple[int, bool, bytes]:
        head = self._exactly(2)
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, bool(head[0] & 0x80), self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _pong(self, payload: bytes) -> None:
        """A client masks what it sends; a mask of zeros leaves it readable."""
        self._socket.sendall(bytes([0x80 | PONG_FRAME, 0x80 | len(payload)]) + bytes(4) + payload)

    def _keep(self, message: dict[str, Any]) -> None:
        with self._arrived:
            self.events.append(Event(message["type"], message.get("data") or {}))
            self._arrived.notify_all()
