"""Results appear whole or not at all: written beside their place under another name, then renamed."""

import errno
import os
import secrets
import shutil
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

from hf_lesionseg.errors import OutputError
from hf_lesionseg.models.file_modes import give_usual_modes

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another output folder",
    errno.EFBIG: "the file is larger than this system lets you write (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder"
    + (", or close the program that has the file open" if os.name == "nt" else ""),
    errno.EPERM: "no permission to write there; choose another output folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another output folder",
    errno.EEXIST: "a file stands where a folder should be; choose another output folder",
    errno.EISDIR: "a folder has this name; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
#: What fsync reports of data that did not reach the disk; all else only says that it cannot be asked for here.
_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_told = set()


class FileSystemWarning(UserWarning):
    """A file system cannot do what is usual; results are written anyway."""


@contextmanager
def write_aside(path):
    """Yield a temporary sibling of ``path`` to write to; rename it to ``path`` if all went well.

    The sibling keeps the suffix, so that writers that go by it work. Whatever ends the block early, Ctrl-C included,
    removes the sibling and leaves a former ``path`` as it was. Parent folders are created.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OutputError
        Where the folder cannot be written or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with write_aside(folder / "lesions.json") as aside:
    ...     _ = aside.write_text("[]")
    >>> [entry.name for entry in folder.iterdir()]
    ['lesions.json']
    """
    path = Path(path)
    aside = _sibling(path)
    with _as_output_error(path, aside):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.open("xb").close()  # a place that cannot be written is reported before the work
            yield aside
            give_usual_modes([aside])
            flush_to_disk(aside)
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise


@contextmanager
def replace_folder_aside(path):
    """Yield an empty temporary sibling folder; put it in the place of ``path`` if all went well.

    A former ``path`` stays until the new one is complete. Whatever ends the block early removes the sibling only.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    pathlib.Path

    Raises
    ------
    OutputError
        Where the folder cannot be written or the disk is full.
    """
    path = Path(path)
    aside, former = _sibling(path), _sibling(path)
    with _as_output_error(path, aside):
        if path.exists() and not path.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.mkdir()
            yield aside
            files = [file for file in aside.rglob("*") if file.is_file()]
            give_usual_modes(files)
            for file in files:
                flush_to_disk(file)
            # a folder that is not empty cannot be replaced in one step: the former one steps aside first
            if path.exists():
                path.rename(former)
            try:
                aside.rename(path)
            except BaseException:
                if former.exists():
                    former.rename(path)
                raise
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(former, ignore_errors=True)


def _sibling(path):
    return path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")


def flush_to_disk(path):
    """Make sure that a file's bytes are on the disk before its name is: a full disk may only show here.

    Where the file system has no such call the file counts as written, and a `FileSystemWarning` says so, once. What a
    link points to is not ours to flush.

    Raises
    ------
    OSError
        Data did not reach the disk.
    """
    path = Path(path)
    if path.is_symlink():
        return
    try:
        # Windows flushes only what is open for writing
        with path.open("rb+" if os.name == "nt" else "rb") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        if error.errno in _LOST:
            error.filename = str(path)
            raise
        _tell_once(
            "fsync",
            f"{path.parent}: this file system has no fsync ({error.strerror or error}); files are written without, and "
            "the last ones may be lost if the power fails",
        )


def remedy_of(error):
    """What went wrong in writing and what to do, in half a sentence.

    Parameters
    ----------
    error : OSError
    """
    return _REMEDIES.get(error.errno, f"{error.strerror or error}; choose another output folder")


def link_or_copy(source, target):
    """Make ``target`` a link to a file or folder, or a copy of it where links cannot be made, as on Windows.

    A `FileSystemWarning` reports copies, once.

    Parameters
    ----------
    source : path-like
        As a link names it: absolute, or relative to the folder of ``target``.
    target : path-like
    """
    source, target = Path(source), Path(target)
    real = target.parent / source
    try:
        target.symlink_to(source, target_is_directory=real.is_dir())
    except (OSError, NotImplementedError) as error:
        if isinstance(error, FileExistsError):
            raise
        _tell_once("link", f"{target}: copied, since no link can be made there ({error})")
        if real.is_dir():
            shutil.copytree(real, target)
        else:
            shutil.copyfile(real, target)


def _tell_once(kind, text):
    if kind not in _told:
        _told.add(kind)
        warnings.warn(text, FileSystemWarning, stacklevel=3)


@contextmanager
def _as_output_error(path, aside):
    try:
        yield
    except OSError as error:
        # a file that the block reads may fail too; that is not a failure to write
        named = error.filename is not None and not _concerns(error.filename, path, aside)
        if named or not (error.errno in _REMEDIES or error.filename is not None or "written" in str(error)):
            raise
        raise OutputError(f"{path}: cannot be written: {remedy_of(error)}") from error
    except Exception as error:
        # safetensors and torch report a full disk by errors of their own
        if "No space left on device" in str(error):
            raise OutputError(f"{path}: cannot be written: {_REMEDIES[errno.ENOSPC]}") from error
        raise


def _concerns(name, path, aside):
    name = Path(os.fsdecode(name))
    return name in (path, aside) or aside in name.parents or name in path.parents
