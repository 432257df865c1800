"""Ctrl-C in the middle of a run, for tests that resume."""

from lora_forensics.core.protocols import NoProgress


class Interrupt(NoProgress):
    """Ends the run after so many steps; `done` is what the last task began with."""

    def __init__(self, after):
        self.left, self.done = after, None

    def start(self, task, total, done=0):
        self.done = done

    def step(self, n=1):
        self.left -= n
        if self.left < 0:
            raise KeyboardInterrupt


class InterruptIn(NoProgress):
    """Ends the run at the first step of a task that begins so."""

    def __init__(self, task):
        self.task, self.now = task, ""

    def start(self, task, total, done=0):
        self.now = task

    def step(self, n=1):
        if self.now.startswith(self.task):
            raise KeyboardInterrupt
