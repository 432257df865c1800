"""The study's folder: one plan, one case folder per case, shared by any number of processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import RunError
from ...storage import LOCK, CaseFolder, check_manifest, digest_of, open_case, write_atomic
from .cases import StudyCase
from .settings import CalibrationSpec

PLAN = "plan.json"
ADAPTER, RESULT = "adapter.safetensors", "result.json"
WAIT = 2.0  # seconds between two looks at what another process is doing
Done = Callable[[StudyCase], Path]
Do = Callable[[StudyCase, CaseFolder], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that decides a study's results.

    Attributes:
        tool: version of the tool.
        scale: ``tiny``, or the name of the user's own base.
        base, encoder: SHA-256 of their weights.
        family: of the base.
        source: what identifies the photos, without paths.
        settings: design and budgets.
        cases: the design.
    """

    tool: str
    scale: str
    base: str
    family: str
    encoder: str
    source: dict[str, str]
    settings: CalibrationSpec
    cases: tuple[StudyCase, ...]


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Where a study lives, and its plan."""

    root: Path
    plan: Plan

    def adapter(self, case: StudyCase) -> Path:
        """The adapter's file; it exists when it is whole."""
        return self.root / case.name / ADAPTER

    def result(self, case: StudyCase) -> Path:
        """The result's file; it exists when it is whole."""
        return self.root / case.name / RESULT

    def claimed(self, case: StudyCase) -> AbstractContextManager[CaseFolder | None]:
        """The case's folder, locked; None while another process works in it."""
        root = self.root / case.name
        manifest = {"plan": digest_of(asdict(self.plan)), "case": case.number}
        try:
            return closing(open_case(root, manifest))
        except RunError as error:
            # A folder that another process is making this very moment looks like no case.
            if error.code == "IN_USE" or (error.code == "NOT_A_CASE" and (root / LOCK).exists()):
                return nullcontext()
            raise

    def work(
        self,
        cases: Iterable[StudyCase],
        done: Done,
        do: Do,
        *,
        wait: bool = False,
        on_wait: Callable[[list[StudyCase]], None] = lambda _: None,
    ) -> list[StudyCase]:
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
        left, waited_for = [c for c in cases if not done(c).exists()], []
        while True:
            busy = [c for c in left if not self._try(c, done, do)]
            if not busy or not wait:
                return busy
            if busy != waited_for:
                on_wait(busy)
            waited_for, left = busy, busy
            time.sleep(WAIT)

    def _try(self, case: StudyCase, done: Done, do: Do) -> bool:
        if done(case).exists():
            return True
        with self.claimed(case) as folder:
            if folder is not None and not done(case).exists():
                do(case, folder)
            return folder is not None


def open_study(root: Path, plan: Plan) -> StudyFolder:
    """Begin a study, or go on with one of the same plan.

    Raises:
        RunError: the folder holds another study (CONFIG_CHANGED) or other files (NOT_A_STUDY),
            or cannot be written (NOT_WRITABLE).
    """
    path, facts = root / PLAN, asdict(plan)
    if path.exists():
        check_manifest(path, facts)
    elif root.is_dir() and any(root.iterdir()):
        raise RunError("NOT_A_STUDY", f"{root} holds other files; give a new or empty folder")
    else:
        write_atomic(path, json.dumps(facts, indent=1, sort_keys=True).encode())
    return StudyFolder(root, plan)
