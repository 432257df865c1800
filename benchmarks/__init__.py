"""Timings, run by hand: ``make bench``, or ``python -m benchmarks``. No test depends on a clock."""
