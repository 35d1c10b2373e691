"""One run at a time in an output folder: two would mix their results, and each would count the other's as its own.

A run keeps ``.lesionseg.lock`` in the folder while it writes there, with its host, process and what it is. The lock of
a process that is dead, on this host, is taken over; of a process elsewhere nobody can tell, so that one stands until
it is deleted.
"""

import contextlib
import datetime
import errno
import functools
import inspect
import json
import os
import secrets
import socket
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hf_lesionseg.errors import FolderInUseError, LesionSegError, OutputError, UsageError
from hf_lesionseg.models.scan_formats import scan_endings

from .atomic import FileSystemWarning, remedy_of

LOCK_FILE = ".lesionseg.lock"
_OTHER_FILES = (".mhd", ".nhdr", ".dcm", ".png", ".json", ".csv", ".safetensors")
_NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK, errno.ENXIO)
_TRIES = 20
_EMPTY_FOR_S = 10  # a lock without content is one that is being written, or whose writer was killed in that moment
_guard = threading.Lock()
_held = {}


@contextmanager
def locked_folder(folder, run):
    """Make an output folder and keep it for one run.

    A thread may hold a folder several times, as a run does that calls another. Where the file system cannot keep a
    lock the run goes on without, and a `FileSystemWarning` says so.

    Parameters
    ----------
    folder : path-like
        Made with its parents where it is not there; removed again where the run fails and leaves it empty.
    run : str
        What is run, for the message to others: "lesionseg train".

    Raises
    ------
    FolderInUseError
        Another run writes there.
    UsageError
        The folder has the name of a file, such as mask.nii.gz.
    OutputError
        It cannot be made or written to.
    """
    folder = Path(folder)
    _check_name(folder)
    key = (os.getpid(), os.path.realpath(folder))
    with _guard:
        thread, depth = _held.get(key, (threading.get_ident(), 0))
        if thread != threading.get_ident():
            raise FolderInUseError(f"{folder}: another thread of this process writes there; choose another folder")
        _held[key] = thread, depth + 1
    try:
        with contextlib.nullcontext() if depth else _lock(folder, run):
            yield folder
    finally:
        with _guard:
            if depth:
                _held[key] = thread, depth
            else:
                del _held[key]


@contextmanager
def locked_by_main(folder, run, processes):
    """Keep an output folder for a run whose several processes are one: the main one holds the lock.

    Parameters
    ----------
    folder, run
        As :func:`locked_folder`, whose errors are raised in all processes.
    processes : object
        With ``is_main_process`` and ``num_processes``, such as an Accelerator.
    """
    with contextlib.ExitStack() as stack:
        refused = [None]
        if processes.is_main_process:
            try:
                stack.enter_context(locked_folder(folder, run))
            except LesionSegError as error:
                refused = [error]
        if processes.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            broadcast_object_list(refused)
        if refused[0] is not None:
            raise refused[0]
        yield


def one_run_at_a_time(run, argument="output"):
    """Decorate a function that writes into a folder: it runs in :func:`locked_folder`.

    Parameters
    ----------
    run : str
        What is run.
    argument : str
        Name of the parameter with the folder.
    """

    def decorate(function):
        signature = inspect.signature(function)

        @functools.wraps(function)
        def alone(*args, **kwargs):
            with locked_folder(signature.bind(*args, **kwargs).arguments[argument], run):
                return function(*args, **kwargs)

        return alone

    return decorate


def _check_name(folder):
    ending = next((ending for ending in (*scan_endings(), *_OTHER_FILES) if folder.name.lower().endswith(ending)), None)
    if ending is not None and not folder.exists():
        raise UsageError(
            f"{folder}: is the name of a file ({ending}), and the output is a folder; name a folder, in which results "
            "are named after their scans"
        )


@contextmanager
def _lock(folder, run):
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {remedy_of(error)}") from error
    path, token = folder / LOCK_FILE, secrets.token_hex(8)
    record = {
        "run": run,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process": _start_of(os.getpid()),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "token": token,
    }
    _acquire(path, record)
    try:
        yield
    except BaseException:
        _release(path, token)
        if is_new:
            with suppress(OSError):  # there are results in it
                folder.rmdir()
        raise
    else:
        _release(path, token)


def _acquire(path, record):
    for _ in range(_TRIES):
        try:
            return _write(path, record)
        except FileExistsError:
            other = _read(path)
            if other is None:  # released in this moment
                continue
            if not _is_dead(other):
                raise FolderInUseError(_in_use(path, other)) from None
            _take_away(path, other)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise OutputError(f"{path.parent}: cannot be written: {remedy_of(error)}") from error
            text = f"{path.parent}: no lock can be kept there ({error.strerror}); let no second run write there"
            return warnings.warn(text, FileSystemWarning, stacklevel=6)
    raise FolderInUseError(f"{path.parent}: other runs take turns there; choose another folder")


def _write(path, record):
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _read(path):
    """The record of a lock: None where it is gone, empty where it says nothing."""
    for wait in (0.0, 0.1, 0.4):
        time.sleep(wait)
        try:
            record = json.loads(path.read_text("utf-8"))
            return record if isinstance(record, dict) else {}
        except FileNotFoundError:
            return None
        except ValueError:  # half-written
            continue
        except OSError:  # somebody else's
            return {}
    try:
        abandoned = time.time() - path.stat().st_mtime > _EMPTY_FOR_S
    except OSError:
        return {}
    return {"abandoned": True} if abandoned else {}


def _is_dead(record):
    if record.get("abandoned"):
        return True
    if record.get("host") != socket.gethostname() or not isinstance(record.get("pid"), int):
        return False
    # a number is given to another process once its own has ended
    return record["pid"] == os.getpid() or _start_of(record["pid"]) != record.get("process")


def _start_of(pid):
    """A mark that distinguishes a process from others with its number, before and after; None if there is none."""
    if sys.platform == "linux":
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            # the command's name, in brackets, may hold anything; ticks since the start of the machine
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
        except OSError:
            return None
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return "unknown"


def _take_away(path, seen):
    """Remove the lock of a dead process, unless another run did so and has its own there already."""
    turn = path.with_name(f"{path.name}.takeover")  # one at a time, so that nobody removes a lock that is alive
    try:
        os.close(os.open(turn, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        time.sleep(0.05)
        with suppress(OSError):
            if time.time() - turn.stat().st_mtime > _EMPTY_FOR_S:
                turn.unlink()
        return
    except OSError as error:
        raise OutputError(f"{path}: left by a run that has ended, cannot be removed: {remedy_of(error)}") from error
    try:
        if _read(path) == seen:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: left by a run that has ended, cannot be removed: {remedy_of(error)}") from error
    finally:
        with suppress(OSError):
            turn.unlink()


def _release(path, token):
    record = _read(path)
    if record and record.get("token") == token:
        with suppress(OSError):
            path.unlink()


def _in_use(path, record):
    if not record.get("pid"):
        return f"{path.parent}: another run writes there; wait for it, choose another folder, or delete {path}"
    text = (
        f"{path.parent}: {record.get('run')} writes there since {record.get('since')} (process {record['pid']} on "
        f"{record.get('host')}); wait for it, or choose another folder"
    )
    here = record.get("host") == socket.gethostname()
    return text if here else f"{text}; if that run has ended, delete {path}"
