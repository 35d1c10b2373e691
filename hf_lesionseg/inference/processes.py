"""The processes that ``accelerate launch`` started for one run over many cases: each takes its share."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ..errors import LaunchError, LesionSegError
from .outcomes import CaseOutcome

_LONGEST_WAIT = timedelta(days=7)  # for a process with the larger cases


def announced_processes() -> int:
    """How many processes the launcher says that it started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_first_process() -> bool:
    """Whether this process is the one that speaks for all of them."""
    return int(os.environ.get("RANK") or 0) == 0


class Processes:
    """The processes of a run; one, unless :meth:`find` finds more.

    Attributes
    ----------
    process_index, num_processes : int
    is_main_process : bool
    """

    process_index, num_processes, is_main_process = 0, 1, True

    def __init__(self, state: Any = None):
        self._state = state
        if state is not None:
            self.process_index, self.num_processes = state.process_index, state.num_processes
            self.is_main_process = state.is_main_process

    @classmethod
    def find(cls, device: str = "auto") -> Processes:
        """Join the processes that were launched together with this one.

        Parameters
        ----------
        device : str
            That was asked for: on a CPU they talk by gloo.

        Raises
        ------
        LaunchError
            Several were launched, and they do not find each other: each would write all cases.
        """
        if announced_processes() == 1:
            return cls()
        import torch
        from accelerate import PartialState

        on_cpu = str(device) == "cpu" or not torch.cuda.is_available()
        found = cls(PartialState(cpu=on_cpu, timeout=_LONGEST_WAIT))
        if found.num_processes != announced_processes():
            raise LaunchError(
                f"the launcher started {announced_processes()} processes, but each runs alone and would write all "
                "cases; launch with: accelerate launch --multi_gpu --num_processes N -m hf_lesionseg.cli segment ..."
            )
        return found

    def device(self, asked: str) -> str:
        """The device of this process, where none was asked for by its number."""
        return str(self._state.device) if self._state is not None and asked in ("auto", "cuda") else asked

    def share(self, items: Sequence) -> Sequence:
        """The items that this process takes."""
        return items[self.process_index :: self.num_processes]

    def wait_for_all(self) -> None:
        """Wait until every process has come here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def gather(self, outcomes: list[CaseOutcome]) -> list[CaseOutcome]:
        """The outcomes of all processes' shares in the order of the whole, the same in every process."""
        if self._state is None:
            return outcomes
        from accelerate.utils import gather_object

        numbered = [(place, self.process_index, _sendable(outcome)) for place, outcome in enumerate(outcomes)]
        return [outcome for *_, outcome in sorted(gather_object(numbered), key=lambda each: each[:2])]


def _sendable(outcome: CaseOutcome) -> CaseOutcome:
    """An outcome whose error can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(outcome))
    except Exception:  # whatever its classes raise
        return replace(outcome, error=LesionSegError(outcome.reason))
    return outcome
