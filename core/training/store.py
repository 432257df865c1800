"""States and result of one training in a case, so that an interrupted one resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..storage import CaseFolder

_KEPT_STATES = 2


class Stateful(Protocol):
    """What is in training: its whole state as tensors, and back."""

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        ...


@dataclass(frozen=True, slots=True)
class Store:
    """States and result of one run in a case, if there is one.

    Attributes:
        case: where they are kept.
        stem: what their units' names begin with.
    """

    case: CaseFolder | None
    stem: str

    def result(self) -> dict[str, Tensor] | None:
        """What a finished run made."""
        unit = f"{self.stem}/result"
        return self.case.read_tensors(unit) if self.case and self.case.has(unit) else None

    def resume(self, trained: Stateful) -> dict[str, Tensor]:
        """The newest state's tensors, which `trained` takes up; empty at the beginning."""
        units = self._states()
        if self.case is None or not units:
            return {}
        state = self.case.read_tensors(units[-1])
        trained.load(state)
        return state

    def keep(self, trained: Stateful, step: int, log: Mapping[str, Tensor]) -> None:
        """Keep the state after so many steps with its log; all but the last two go."""
        if self.case is None:
            return
        self.case.put_tensors(f"{self.stem}/state-{step:08d}", {**trained.state(), **log})
        self._drop(_KEPT_STATES)

    def finish(self, result: dict[str, Tensor]) -> None:
        """Keep the result; the states go."""
        if self.case is not None:
            self.case.put_tensors(f"{self.stem}/result", result)
            self._drop(0)

    def _states(self) -> list[str]:
        done = self.case.done if self.case else ()
        return sorted(u for u in done if u.startswith(f"{self.stem}/state-"))

    def _drop(self, count: int) -> None:
        assert self.case is not None
        units = self._states()
        for unit in units[: len(units) - count]:
            (self.case.root / self.case.done.pop(unit)["file"]).unlink(missing_ok=True)
