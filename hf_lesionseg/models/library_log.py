"""The NIfTI library's remarks on a file, as our warnings instead of its own lines on the terminal."""

import logging
import threading
from contextlib import contextmanager

import nibabel as nib


class _Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages, self._thread = [], threading.get_ident()

    def emit(self, record):
        if record.thread != self._thread:  # of another file, which another thread reads or writes
            return
        message = " ".join(record.getMessage().split())
        if message not in self.messages:  # a header is checked each time that it is opened
            self.messages.append(message)


@contextmanager
def library_messages():
    """Collect nibabel's log lines of the block, each once; the terminal sees none of them.

    Only one thread at a time may be in such a block. What others log meanwhile is no line of the block.

    Yields
    ------
    list of str
        Filled while the block runs.
    """
    logger = nib.imageglobals.logger
    collector, handlers, propagate = _Collector(), list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [collector], False
    try:
        yield collector.messages
    finally:
        logger.handlers, logger.propagate = handlers, propagate
