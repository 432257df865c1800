"""What a terminal gets beside results: progress bars, notices, exit codes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import Notice

EXIT_DONE, EXIT_INPUT, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 2, 3, 130


class Bars:
    """Progress bars with time left, on standard error; closed when its block ends."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Open a bar for `task`."""
        from tqdm import tqdm

        self.close()
        self._bar = tqdm(total=total, initial=done, desc=task, unit="", file=sys.stderr)

    def step(self, n: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(n)

    def show(self, pixels: Any) -> None:
        """A terminal shows no pictures."""

    def close(self) -> None:
        """Close the open bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def say(text: str) -> None:
    """A notice, on standard error."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


@contextmanager
def notices() -> Iterator[None]:
    """Inside, each `Notice` is said once, and what libraries warn of is not shown.

    Who asks Python for warnings (``-W``, ``PYTHONWARNINGS``) gets those too.
    """
    shown: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_once(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if not issubclass(category, Notice):
                show(message, category, *place)
            elif str(message) not in shown:
                shown.add(str(message))
                say(str(message))

        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        warnings.simplefilter("always", Notice)
        warnings.showwarning = show_once
        yield
