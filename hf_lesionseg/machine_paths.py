"""Folders of one's own machine, and texts without them: what is published names files, not where they lay."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

# A path from the root, a drive, a share, a home or a parent folder, up to the last slash. Folders may have spaces in
# their names. Addresses (https://...) and ids of the Hub (org/name) have a letter or a colon before their slashes.
_FOLDERS = re.compile(
    r"(?<![\w.:/\\~])(?:file:/{2,3}|\\\\|//|(?:[A-Za-z]:|~\w*|\.{1,2})?[\\/])(?=[^\s\\/])"
    r"(?:[^\\/:\"\n]+[\\/](?=[^\\/]))*"
)


def without_machine_paths(content: Any) -> Any:
    """Return a text, or every text of lists and dictionaries, with file names in place of their paths.

    Examples
    --------
    >>> without_machine_paths({"reason": "/home/jane doe/scans/a.nii.gz: cannot be read", "network": "org/name"})
    {'reason': 'a.nii.gz: cannot be read', 'network': 'org/name'}
    """
    if isinstance(content, dict):
        return {without_machine_paths(key): without_machine_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_machine_paths(value) for value in content]
    return _FOLDERS.sub("", content) if isinstance(content, str) else content


def local_name(name_or_path: str | None) -> str | None:
    """Return a Hub id as it is, and of a folder or file on this machine its name."""
    if name_or_path is None:
        return None
    if PurePosixPath(name_or_path).is_absolute() or PureWindowsPath(name_or_path).is_absolute():
        return PureWindowsPath(name_or_path).name  # which knows both kinds of slashes
    return Path(name_or_path).resolve().name if Path(name_or_path).exists() else without_machine_paths(name_or_path)
