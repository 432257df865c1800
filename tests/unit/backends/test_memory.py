import pytest
import torch
from lora_forensics.core.backends.memory import RowLimit
from lora_forensics.core.errors import RunError


def machine(fits, sizes):
    def call(rows):
        size = rows.stop - rows.start
        sizes.append(size)
        if size > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(rows.start, rows.stop)

    return call


def test_rows_are_halved_until_they_fit_and_stay_so():
    limit, sizes = RowLimit(), []
    assert limit.run(20, machine(6, sizes)).tolist() == list(range(20))
    assert limit.limit == 5
    assert sizes == [20, 10, 5, 5, 5, 5]
    sizes.clear()
    limit.run(7, machine(100, sizes))
    assert sizes == [5, 2]


def test_one_row_that_does_not_fit_ends_the_run_with_advice():
    with pytest.raises(RunError, match=r"OUT_OF_MEMORY.*half-precision"):
        RowLimit().run(3, machine(0, []))


def test_a_full_cpu_counts_too():
    def call(rows):
        if rows.stop - rows.start > 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
        return torch.zeros(1)

    assert len(RowLimit().run(3, call)) == 3


def test_other_errors_pass_through():
    def call(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        RowLimit().run(3, call)
