"""Results appear whole or not at all: written beside their place under another name, then renamed."""

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from hf_lesionseg.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another output folder",
    errno.EFBIG: "the file is larger than this system lets you write (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder",
    errno.EPERM: "no permission to write there; choose another output folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another output folder",
    errno.EEXIST: "a file stands where a folder should be; choose another output folder",
    errno.EISDIR: "a folder has this name; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


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
            aside.open("xb").close()  # a place that cannot be written is told before the work, not after it
            yield aside
            _flush(aside)
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
            for file in aside.rglob("*"):
                if file.is_file():
                    _flush(file)
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


def _flush(path):
    """Make sure that the bytes are on the disk before the name is: a full disk may only show here."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


@contextmanager
def _as_output_error(path, aside):
    try:
        yield
    except OSError as error:
        # a file that the block reads may fail too; that is not a failure to write
        named = error.filename is not None and not _concerns(error.filename, path, aside)
        if named or not (error.errno in _REMEDIES or error.filename is not None or "written" in str(error)):
            raise
        remedy = _REMEDIES.get(error.errno, f"{error.strerror or error}; choose another output folder")
        raise OutputError(f"{path}: cannot be written: {remedy}") from error
    except Exception as error:
        # safetensors and torch report a full disk by errors of their own
        if "No space left on device" in str(error):
            raise OutputError(f"{path}: cannot be written: {_REMEDIES[errno.ENOSPC]}") from error
        raise


def _concerns(name, path, aside):
    name = Path(os.fsdecode(name))
    return name in (path, aside) or aside in name.parents or name in path.parents
