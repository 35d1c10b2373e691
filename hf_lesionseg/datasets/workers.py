"""Run one function over many cases, in this process or in several, and keep each case's own exception."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from tqdm.auto import tqdm

from ..errors import DataError, OutputError, UsageError

__all__ = ["run_tasks"]


def run_tasks(
    function: Callable, arguments: Sequence[tuple], workers: int, description: str, progress: bool = True
) -> Iterator[tuple[int, Exception | None]]:
    """Call ``function(*arguments[i])`` for each ``i`` and yield ``(i, exception or None)`` as they finish.

    Parameters
    ----------
    function : importable by name, for the worker processes
    arguments : one tuple per case
    workers : processes; 0 runs in this one
    description, progress : of the bar

    Raises
    ------
    OutputError
        Full disk, read-only folder: no later case would fare better.
    DataError
        Where a worker died without a word, killed for its memory as a rule.
    UsageError
        For a negative number of workers.
    """
    if workers < 0:
        raise UsageError(f"workers is {workers}; take 0 (this process) or the number of processes")
    with tqdm(total=len(arguments), desc=description, unit="case", disable=not progress or not arguments) as bar:
        for index, error in _run(function, arguments, min(workers, len(arguments)), description):
            if isinstance(error, OutputError):
                raise error
            bar.update()
            yield index, error


def _run(
    function: Callable, arguments: Sequence[tuple], workers: int, description: str
) -> Iterator[tuple[int, Exception | None]]:
    if workers == 0:
        for index, each in enumerate(arguments):
            try:
                function(*each)
            except Exception as error:
                yield index, error
            else:
                yield index, None
        return
    # spawn: a fork of a process in which torch has started threads can hang
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        before = multiprocessing.active_children()
        futures = {pool.submit(function, *each): index for index, each in enumerate(arguments)}
        started = [process for process in multiprocessing.active_children() if process not in before]
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise DataError(
                    f"{description}: a worker process {_end_of(started)}; what is finished is kept: run the same "
                    "command again with fewer workers, or with workers 0"
                ) from error
            yield futures[future], error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_of(processes) -> str:
    """How the first of the workers ended; the pool then terminates the others."""
    for process in processes:
        with suppress(ValueError, AssertionError):
            process.join(5)
    codes = [process.exitcode for process in processes if process.exitcode not in (None, 0, -signal.SIGTERM)]
    if not codes or codes[0] == -getattr(signal, "SIGKILL", 9):
        return "was killed, as the system does where memory runs out"
    if codes[0] < 0:
        with suppress(ValueError):
            return f"crashed ({signal.Signals(-codes[0]).name})"
        return f"crashed (signal {-codes[0]})"
    return (
        f"ended before its work (exit status {codes[0]}; its message is above), as it does in a script that starts "
        "work outside of `if __name__ == '__main__':`"
    )
