"""Out of memory: halve the rows of a forward, remember it, never raise it again in the run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RunError

_CPU_MESSAGES = ("not enough memory", "can't allocate memory", "cannot allocate memory")


class RowLimit:
    """How many rows go through a network at once; starts unlimited, only ever falls.

    Attributes:
        limit: rows per forward, 0 while no limit was met.
    """

    def __init__(self, limit: int = 0):
        self.limit = limit

    def run(self, total: int, call: Callable[[slice], Tensor]) -> Tensor:
        """Concatenate ``call(slice)`` over all rows, in as few calls as fit.

        Raises:
            RunError: OUT_OF_MEMORY if a single row does not fit.
        """
        parts: list[Tensor] = []
        start = 0
        while start < total:
            size = min(self.limit or total, total - start)
            part = _attempt(call, slice(start, start + size))
            if part is None:
                self._halve(size)
                continue
            parts.append(part)
            start += size
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _halve(self, size: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise RunError(
                "OUT_OF_MEMORY",
                "one row does not fit in memory; close other programs, use a half-precision "
                "dtype, a smaller model, or the CPU",
            )
        self.limit = size // 2


def _attempt(call: Callable[[slice], Tensor], rows: slice) -> Tensor | None:
    """The result, or None when memory ran out; frames are freed before the caller retries."""
    try:
        return call(rows)
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:
        if not any(text in str(error).lower() for text in _CPU_MESSAGES):
            raise
        return None
