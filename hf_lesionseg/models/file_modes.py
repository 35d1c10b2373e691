"""Permissions of what is written: those that the umask gives, whatever a library chose for its own files.

safetensors makes its files readable by their owner alone.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def give_usual_modes(paths):
    """Give files the permissions that a new file beside them gets, by the umask or the folder's own rules.

    Links stay as they are, and so does what belongs to somebody else.

    Parameters
    ----------
    paths : iterable of path-like
        Files; folders among them are passed over.
    """
    if os.name == "nt":  # permissions are inherited there
        return
    usual = {}
    for path in map(Path, paths):
        with suppress(OSError):
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode):
                continue
            if path.parent not in usual:
                usual[path.parent] = _mode_of_a_new_file(path.parent)
            if stat.S_IMODE(mode) != usual[path.parent]:
                path.chmod(usual[path.parent])


def _mode_of_a_new_file(folder):
    # asking for the umask means setting it, for all threads; and a folder may have default permissions of its own
    probe = folder / f".partial-{secrets.token_hex(4)}"
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        return stat.S_IMODE(probe.lstat().st_mode)
    finally:
        probe.unlink()


class ReadableWeights:
    """Comes before ``PreTrainedModel`` among a network's base classes: what it saves has the usual permissions."""

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Save as transformers does, readable by everybody who may read other files beside it."""
        super().save_pretrained(save_directory, *args, **kwargs)
        folder = Path(save_directory)
        give_usual_modes([*folder.glob("*.safetensors"), *folder.glob("*.json")])
