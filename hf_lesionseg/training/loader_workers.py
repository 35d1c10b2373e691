"""Reports in one line, not in tracebacks, what became of the processes that read slices beside training."""

from contextlib import contextmanager

from ..errors import DataError, LesionSegError


@contextmanager
def explained_workers():
    """Tell of a worker's end, or of its own error, in one line.

    Raises
    ------
    DataError
        The system killed a worker of a ``DataLoader``.
    LesionSegError
        A worker raised one; of the same kind, without the worker's traceback.
    """
    try:
        yield
    except LesionSegError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        if len(lines) > 1 and "in DataLoader worker process" in lines[0]:
            raise type(error)(lines[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from error
        raise
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if not text.startswith("DataLoader worker"):
            raise
        cause = "which share more memory than /dev/shm has (docker run --shm-size=2g)"
        if "Bus error" not in text:
            cause = "as the system does where memory runs out"
        raise DataError(
            f"a process that reads slices was killed ({text.rstrip('. ')}), {cause}; go on with fewer --workers, "
            "or 0, and --resume-from-checkpoint latest"
        ) from error
