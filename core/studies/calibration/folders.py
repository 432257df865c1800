"""The study's folder: one plan, one case folder a case, shared by any number of processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RunError
from ...storage import LOCK, CaseFolder, digest_of, open_case, write_atomic
from .cases import Case

PLAN = "plan.json"
ADAPTER, RESULT = "adapter.safetensors", "result.json"
WAIT = 2.0  # seconds between two looks at what another process is doing


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Where a study lives.

    Attributes:
        root: the folder.
        plan: all that decides the results, as JSON facts.
    """

    root: Path
    plan: dict[str, Any]

    def adapter(self, case: Case) -> Path:
        """The adapter's file; it exists when it is whole."""
        return self.root / case.name / ADAPTER

    def result(self, case: Case) -> Path:
        """The result's file; it exists when it is whole."""
        return self.root / case.name / RESULT

    def results(self, cases: Iterable[Case]) -> dict[Case, dict[str, Any]]:
        """What is known of the cases that are finished."""
        files = ((c, self.result(c)) for c in cases)
        return {c: json.loads(f.read_bytes()) for c, f in files if f.exists()}

    @contextmanager
    def claimed(self, case: Case) -> Iterator[CaseFolder | None]:
        """The case's folder, locked; None while another process works in it."""
        folder = self._claim(case)
        try:
            yield folder
        finally:
            if folder is not None:
                folder.close()

    def _claim(self, case: Case) -> CaseFolder | None:
        root = self.root / case.name
        try:
            return open_case(root, {"plan": digest_of(self.plan), "case": case.number})
        except RunError as error:
            # A folder that another process is making this very moment looks like no case.
            if error.code == "IN_USE" or (error.code == "NOT_A_CASE" and (root / LOCK).exists()):
                return None
            raise

    def work(
        self,
        cases: Iterable[Case],
        done: Callable[[Case], Path],
        do: Callable[[Case, CaseFolder], None],
        *,
        wait: bool = False,
        on_wait: Callable[[list[Case]], None] = lambda _: None,
    ) -> list[Case]:
        """Do every case that is neither done nor in another process's hands.

        Args:
            cases: in the order wanted.
            done: the file that says that a case is done.
            do: the work.
            wait: come back to cases of other processes until all are done.
            on_wait: told which cases are waited for, whenever they change.

        Returns:
            Cases still in other hands.
        """
        left, told = [c for c in cases if not done(c).exists()], []
        while True:
            busy = [c for c in left if not self._try(c, done, do)]
            if not busy or not wait:
                return busy
            if busy != told:
                on_wait(busy)
            told, left = busy, busy
            time.sleep(WAIT)

    def _try(
        self, case: Case, done: Callable[[Case], Path], do: Callable[[Case, CaseFolder], None]
    ) -> bool:
        if done(case).exists():
            return True
        with self.claimed(case) as folder:
            if folder is not None and not done(case).exists():
                do(case, folder)
            return folder is not None


def open_study(root: Path, plan: dict[str, Any]) -> StudyFolder:
    """Begin a study, or go on with one of the same plan.

    Raises:
        RunError: the folder holds another study (CONFIG_CHANGED) or other files (NOT_A_STUDY),
            or cannot be written (NOT_WRITABLE).
    """
    path, plan = root / PLAN, json.loads(json.dumps(plan))
    if path.exists():
        before = json.loads(path.read_bytes())
        changed = sorted(k for k in before.keys() | plan.keys() if before.get(k) != plan.get(k))
        if changed:
            raise RunError(
                "CONFIG_CHANGED",
                f"{root} was begun with other {', '.join(changed)}; repeat the first command to "
                "go on, or give a new --out",
            )
        return StudyFolder(root, plan)
    if root.is_dir() and any(root.iterdir()):
        raise RunError("NOT_A_STUDY", f"{root} holds other files; give a new or empty folder")
    write_atomic(path, json.dumps(plan, indent=1, sort_keys=True).encode())
    return StudyFolder(root, plan)
