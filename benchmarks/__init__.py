"""Timings, run by hand: ``python -m benchmarks``. No test depends on a clock."""

import time

import torch


def now() -> float:
    """Seconds: wall time on a GPU, else this process's CPU time, which a busy machine spares."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
