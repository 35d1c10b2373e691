"""A piece of work in a thread of its own, and warnings that stay with the work they are of."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_here = threading.local()


class Background:
    """A call in a thread of its own, which begins at once.

    What it returns or raises, be it Ctrl-C's, is for whoever asks. The program does not wait for it at its end.

    Parameters
    ----------
    function : callable
    *arguments
        Of the function. They are let go when it returns.

    Examples
    --------
    >>> Background(pow, 2, 10).result()
    1024
    """

    def __init__(self, function: Callable, *arguments: Any):
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, *arguments), daemon=True)
        self._thread.start()

    def _run(self, function, *arguments):
        try:
            self._value = function(*arguments)
        except BaseException as error:
            self._error = error
        finally:
            del function, arguments  # a traceback keeps this frame

    def wait(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def result(self) -> Any:
        """Wait for its end, and hand over what came of it; once, so that nothing keeps it in memory."""
        self.wait()
        value, error = self._value, self._error
        self._value = self._error = None
        if error is not None:
            raise error
        return value


@contextmanager
def warnings_by_work() -> Iterator[None]:
    """Let each :func:`work` in the block collect its own warnings, in whichever thread it is done.

    The warnings module keeps one list for all threads. Warnings of no work go where they went before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        usual = warnings.showwarning

        def show(message, *details, **more):
            told = getattr(_here, "told", None)
            if told is None:
                usual(message, *details, **more)
            else:
                told.append(str(message))

        warnings.showwarning = show
        yield


@contextmanager
def work(told: list[str]) -> Iterator[None]:
    """Collect the warnings of the block, which runs within :func:`warnings_by_work`, in this list."""
    _here.told = told
    try:
        yield
    finally:
        _here.told = None
