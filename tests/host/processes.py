"""Processes that a fixture started end with it."""

from __future__ import annotations

import subprocess

STOP_TIMEOUT = 20.0


def end(process: subprocess.Popen) -> None:
    """Ends a process, politely first."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
