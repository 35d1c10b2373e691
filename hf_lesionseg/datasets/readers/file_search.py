"""Search a data set's folder for files by their names; what all readers share."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import DataError
from ...models.scan_formats import scan_pattern
from ..prepared.records import RejectedCase

__all__ = ["NIFTI", "read_description", "rejection", "walk_files"]

#: The ending of a scan's name, by the table of formats.
NIFTI = scan_pattern()


def walk_files(source: Path, ending: str) -> Iterator[Path]:
    """Yield the files under ``source`` whose name matches the regular expression ``ending``, sorted within a folder.

    Linked folders are followed, each once; hidden files and folders are skipped (``._name`` of macOS is one).
    """
    seen = set()
    for folder, folders, files in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(files):
            if not name.startswith(".") and re.search(ending, name):
                yield Path(folder) / name


def read_description(path: Path) -> dict:
    """The JSON file in which a data set describes itself; empty where there is none.

    Raises
    ------
    DataError
        Where it is damaged, or no mapping.
    """
    if not path.is_file():
        return {}
    try:
        description = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); repair it, or move it away") from error
    if not isinstance(description, dict):
        raise DataError(f"{path}: does not describe a data set; repair it, or move it away")
    return description


def rejection(source: Path, path: Path, reason: str) -> RejectedCase:
    """A file that does not become a case, by its name within the data set's folder where it lies there."""
    return RejectedCase((path.relative_to(source) if path.is_relative_to(source) else path).as_posix(), reason)
