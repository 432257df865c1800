"""The case folder: an immutable manifest, an append-only ledger, atomic files, resume.

A unit of work is done when its ledger line and its file (of the recorded SHA-256) are both
there; a kill at any moment loses at most the unit in flight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from .errors import RunError
from .protocols import QUIET, Progress

_LOOKS, _LOOK = 10, 0.05  # half a second, far longer than a lock is empty
MANIFEST, LEDGER, LOCK = "manifest.json", "ledger.jsonl", "lock"
FAILED = "failed"  # key of the manifest of a case that could not be begun


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of(facts: Any) -> str:
    """SHA-256 of JSON facts with sorted keys: the identity of a configuration."""
    return sha256_bytes(json.dumps(facts, sort_keys=True, allow_nan=False).encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        RunError: the folder cannot be written (NOT_WRITABLE).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise RunError(
            "NOT_WRITABLE",
            f"{path} cannot be written ({error}); free space or choose another --out",
        ) from error


@dataclass(slots=True)
class CaseFolder:
    """An open case folder; `open_case` makes it.

    Attributes:
        root: the folder.
        done: ledger facts of each finished unit, by name.
    """

    root: Path
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def close(self) -> None:
        """Give the lock back."""
        with contextlib.suppress(FileNotFoundError):
            (self.root / LOCK).unlink()

    def has(self, unit: str) -> bool:
        """Whether a unit is finished."""
        return unit in self.done

    def put(self, unit: str, suffix: str, data: bytes, **facts: Any) -> str:
        """Store a unit's file and its ledger line; returns the path below the root."""
        relative = f"{unit}{suffix}"
        write_atomic(self.root / relative, data)
        self._append({"unit": unit, "file": relative, "sha256": sha256_bytes(data), **facts})
        return relative

    def read(self, unit: str) -> bytes:
        """Bytes of a finished unit."""
        return (self.root / self.done[unit]["file"]).read_bytes()

    def put_tensors(self, unit: str, tensors: dict[str, Tensor]) -> None:
        """Store a unit of tensors as safetensors."""
        plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        self.put(unit, ".safetensors", save_safetensors(plain))

    def read_tensors(self, unit: str) -> dict[str, Tensor]:
        """Tensors of a finished unit."""
        return load_safetensors(self.read(unit))

    def _append(self, line: dict[str, Any]) -> None:
        try:
            with (self.root / LEDGER).open("ab") as ledger:
                ledger.write(json.dumps(line, sort_keys=True).encode() + b"\n")
                ledger.flush()
                os.fsync(ledger.fileno())
        except OSError as error:
            raise RunError("NOT_WRITABLE", f"{self.root / LEDGER}: {error}") from error
        self.done[line["unit"]] = line


@dataclass(frozen=True, slots=True)
class Work:
    """What long work is given beside its data: where finished parts are kept, and who watches it.

    Attributes:
        case: keeps finished parts, so that the same call resumes; None keeps nothing.
        progress: is told of every step, and stops the work by raising from `step`; what was
            finished before is kept.
    """

    case: CaseFolder | None = None
    progress: Progress = QUIET

    def has(self, unit: str) -> bool:
        """Whether a part is finished."""
        return self.case is not None and self.case.has(unit)

    def tensors(self, unit: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors of a part: those that are kept, else made and kept."""
        if self.case is None:
            return make()
        if not self.case.has(unit):
            self.case.put_tensors(unit, make())
        return self.case.read_tensors(unit)


UNKEPT = Work()
"""Nothing is kept and nobody watches."""


def open_case(root: Path, manifest: dict[str, Any]) -> CaseFolder:
    """Open a new case folder, or resume one of the same configuration.

    Args:
        root: the folder; made with mode 0700 if missing.
        manifest: everything that decides the results: hashes, settings, versions.

    Raises:
        RunError: the folder cannot be written (NOT_WRITABLE), holds something else (NOT_A_CASE),
            belongs to another configuration (CONFIG_CHANGED), or is in use (IN_USE).
    """
    _make_folder(root)
    known = root / MANIFEST
    if known.exists():
        if FAILED in json.loads(known.read_bytes()):
            known.unlink()  # nothing but the report of a failure is here: begin anew
        else:
            check_manifest(known, manifest)
    elif any(p.name != LOCK for p in root.iterdir()):
        raise RunError("NOT_A_CASE", f"{root} holds other files; give a new or empty folder")
    _take_lock(root)
    if not known.exists():
        data = json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False).encode()
        write_atomic(known, data)
    for stray in root.rglob(".tmp-*"):
        stray.unlink()
    return CaseFolder(root, _read_ledger(root))


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise RunError(
            "NOT_WRITABLE", f"{root} cannot be written ({error.strerror}); choose another --out"
        ) from error


def check_manifest(known: Path, manifest: dict[str, Any]) -> None:
    """Hold what a folder was begun with to what is asked of it now.

    Raises:
        RunError: CONFIG_CHANGED, naming what differs.
    """
    before = json.loads(known.read_bytes())
    now = json.loads(json.dumps(manifest))
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if changed:
        raise RunError(
            "CONFIG_CHANGED",
            f"{known.parent} was begun with other {', '.join(changed)}; repeat the first command "
            "to resume it, or give a new --out",
        )


def _take_lock(root: Path) -> None:
    lock = root / LOCK
    for _ in range(2):
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            owner = _owner(lock)
            if owner.isdigit() and _alive(int(owner)) and int(owner) != os.getpid():
                raise RunError(
                    "IN_USE", f"process {owner} is working in {root}; wait for it"
                ) from None
            lock.unlink(missing_ok=True)
            continue
        with os.fdopen(handle, "w") as out:
            out.write(str(os.getpid()))
        return


def _owner(lock: Path) -> str:
    """Who holds a lock; one that is empty may be in the making, so it is looked at again."""
    for _ in range(_LOOKS):
        with contextlib.suppress(FileNotFoundError):
            if owner := lock.read_text().strip():
                return owner
        time.sleep(_LOOK)
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_ledger(root: Path) -> dict[str, dict[str, Any]]:
    path = root / LEDGER
    if not path.exists():
        return {}
    whole = path.read_bytes()
    lines = whole.split(b"\n")[:-1]  # a torn last line has no newline
    if len(whole) != sum(len(line) + 1 for line in lines):
        write_atomic(path, b"".join(line + b"\n" for line in lines))
    done = {}
    for line in lines:
        facts = json.loads(line)
        if _intact(root / facts["file"], facts["sha256"]):
            done[facts["unit"]] = facts
    return done


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_bytes(path.read_bytes()) == sha256
