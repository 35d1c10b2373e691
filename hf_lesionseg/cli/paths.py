"""Paths on the command line: what is not there is wrong usage, refused before a network is loaded or the Hub asked."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import UsageError

__all__ = [
    "complete_models",
    "complete_recipes",
    "existing",
    "existing_file",
    "existing_folder",
    "existing_folders",
    "network_folder",
    "prepared_folder",
]

_PATTERN = re.compile(r"[*?]|\[.+\]")


def existing(path: Path | str | None) -> Path | str | None:
    """Return a path as it was given, where the disk has an entry of that name: what is wrong with it shows later.

    Raises
    ------
    UsageError
        There is none, or a pattern such as ``*.nii.gz`` was left as it is because no file fits it.
    """
    from ..models.file_diagnosis import describe_address, why_not_there

    if path is None or os.path.lexists(path):
        return path
    if address := describe_address(path):
        raise UsageError(address)
    if _PATTERN.search(str(path)):
        raise UsageError(f"{path}: no file fits this pattern; check the folder and the ending")
    raise UsageError(f"{path}: {why_not_there(path)}")


def existing_folder(path: Path | None) -> Path | None:
    """Return the path of a folder.

    Raises
    ------
    UsageError
        It is not there, or something else.
    """
    return _folder(path, "give a folder")


def _folder(path: Path | str | None, remedy: str) -> Path | str | None:
    from ..models.file_diagnosis import why_not_there

    if path is None or Path(path).is_dir():
        return path
    if not os.path.lexists(path) and not _PATTERN.search(str(path)):
        raise UsageError(f"{path}: {(why_not_there(path) or '').replace('no such file', 'no such folder')}")
    existing(path)
    raise UsageError(f"{path}: {why_not_there(path) or f'is not a folder; {remedy}'}")


def existing_folders(paths: list[Path]) -> list[Path]:
    """Return the paths of folders; see :func:`existing_folder`."""
    return [existing_folder(path) for path in paths]


def existing_file(path: Path | None) -> Path | None:
    """Return the path of a file; see :func:`existing`."""
    if existing(path) is not None and Path(path).is_dir():
        raise UsageError(f"{path}: is a folder; give a file in it")
    return path


def prepared_folder(path: Path | str) -> Path | str:
    """Return the path of prepared data; see :func:`existing_folder`."""
    return _folder(path, "give a folder that `lesionseg prepare` made")


def network_folder(path: Path) -> Path:
    """Return the path of a network, or the name of a packaged one; see :func:`existing_folder`."""
    from ..pretrained import find_packaged, packaged_networks

    if find_packaged(path) is not None:
        return path
    try:
        return _folder(path, "give the output folder of `lesionseg train`")
    except UsageError as error:
        names = ", ".join(network.name for network in packaged_networks())
        raise UsageError(f"{error}; the packaged networks are: {names}") from error


def complete_recipes(incomplete: str) -> list[str]:
    """Names of recipes that begin so, for the shell."""
    from ..training.recipe import packaged_recipes

    return [name for name in packaged_recipes() if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Names of packaged networks that begin so, for the shell."""
    from ..pretrained import packaged_networks

    return [network.name for network in packaged_networks() if network.name.startswith(incomplete)]
