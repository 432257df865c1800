"""The one stopwatch of the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def now() -> float:
    """Seconds: wall time on a GPU, else this process's CPU time, which a busy machine spares."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def fastest(call: Callable[[], object], repeats: int, clock: Callable[[], float] = now) -> float:
    """Seconds of the fastest of `repeats` calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)
