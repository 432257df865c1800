import contextlib
import json
import multiprocessing
import os
import threading

import pytest
import torch
from lora_forensics.core import storage
from lora_forensics.core.errors import RunError


def code_of(call):
    with pytest.raises(RunError) as caught:
        call()
    return caught.value.code


def test_finished_units_survive(tmp_path):
    case = storage.open_case(tmp_path / "c", {"a": 1})
    case.put("img/x", ".png", b"one", seed=3)
    case.put_tensors("t/y", {"v": torch.arange(3)})
    case.close()
    again = storage.open_case(tmp_path / "c", {"a": 1})
    assert again.read("img/x") == b"one"
    assert again.done["img/x"]["seed"] == 3
    assert again.read_tensors("t/y")["v"].tolist() == [0, 1, 2]


def test_another_configuration_is_refused(tmp_path):
    storage.open_case(tmp_path / "c", {"a": 1, "b": [2.5]}).close()
    storage.open_case(tmp_path / "c", {"a": 1, "b": (2.5,)}).close()
    assert code_of(lambda: storage.open_case(tmp_path / "c", {"a": 2})) == "CONFIG_CHANGED"


def test_foreign_folder_and_file_are_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("mine")
    assert code_of(lambda: storage.open_case(tmp_path / "c", {})) == "NOT_A_CASE"
    assert (tmp_path / "c" / "thesis.txt").read_text() == "mine"
    assert code_of(lambda: storage.open_case(tmp_path / "c" / "thesis.txt", {})) == "NOT_WRITABLE"


def test_one_writer_at_a_time(tmp_path):
    folder = tmp_path / "c"
    storage.open_case(folder, {}).close()
    (folder / storage.LOCK).write_text(str(os.getppid()))
    assert code_of(lambda: storage.open_case(folder, {})) == "IN_USE"
    (folder / storage.LOCK).write_text("999999999")
    storage.open_case(folder, {}).close()


def test_torn_line_and_damaged_file_are_done_again(tmp_path):
    case = storage.open_case(tmp_path / "c", {})
    case.put("a", ".bin", b"a")
    case.put("b", ".bin", b"b")
    case.close()
    with (tmp_path / "c" / storage.LEDGER).open("ab") as ledger:
        ledger.write(b'{"unit": "c", "fi')
    (tmp_path / "c" / "b.bin").write_bytes(b"damaged")
    (tmp_path / "c" / ".tmp-stray").write_bytes(b"")
    again = storage.open_case(tmp_path / "c", {})
    assert set(again.done) == {"a"}
    assert not (tmp_path / "c" / ".tmp-stray").exists()
    again.put("c", ".bin", b"c")
    again.close()
    assert set(storage.open_case(tmp_path / "c", {}).done) == {"a", "c"}


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    storage.write_atomic(tmp_path / "f", b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, call, fail)
    assert code_of(lambda: storage.write_atomic(tmp_path / "f", b"new")) == "NOT_WRITABLE"
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def write_units(folder, acknowledged):
    case = storage.open_case(folder, {})
    for i in range(10_000):
        if not case.has(f"u{i}"):
            case.put(f"u{i}", ".bin", bytes([i % 256]) * 4096)
            acknowledged.send(i)


def test_kill_loses_no_acknowledged_unit(tmp_path):
    processes, acknowledged = multiprocessing.get_context("fork"), set()
    for pause in (5, 40, 90):
        ours, theirs = processes.Pipe(duplex=False)
        child = processes.Process(target=write_units, args=(tmp_path / "c", theirs))
        child.start()
        theirs.close()
        acknowledged |= {ours.recv() for _ in range(pause)}
        child.kill()
        with contextlib.suppress(EOFError):
            while True:
                acknowledged.add(ours.recv())
        child.join()
    done = storage.open_case(tmp_path / "c", {}).done
    assert len(acknowledged) >= 5 + 40 + 90
    assert {f"u{i}" for i in acknowledged} <= set(done)


def test_digest_ignores_key_order():
    assert storage.digest_of({"a": 1, "b": 2}) == storage.digest_of(json.loads('{"b":2,"a":1}'))


def test_a_lock_in_the_making_is_not_taken_over(tmp_path):
    """Another process creates the file first and writes its number a moment later."""
    folder = tmp_path / "c"
    storage.open_case(folder, {}).close()
    lock = folder / storage.LOCK
    lock.touch()
    writer = threading.Timer(0.1, lambda: lock.write_text(str(os.getppid())))
    writer.start()
    assert code_of(lambda: storage.open_case(folder, {})) == "IN_USE"
    writer.join()
    lock.write_text("")
    storage.open_case(folder, {}).close()  # left behind by a kill: taken over after a while
