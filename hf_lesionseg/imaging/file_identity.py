"""Whether a file is still the one that a result was made from: by its content, never by its name, size or time."""

import hashlib
from pathlib import Path

_PAIRS = {".hdr": ".img", ".img": ".hdr", ".hdr.gz": ".img.gz", ".img.gz": ".hdr.gz"}


def file_sha256(path):
    """Return the SHA-256 of a file, read in blocks."""
    return _sha256([Path(path)])


def scan_sha256(path):
    """Return the SHA-256 of all that makes up a scan: of both files of a pair, of every file of a DICOM folder.

    Parameters
    ----------
    path : path-like
        A single file gives the same as :func:`file_sha256`.

    Returns
    -------
    str

    Raises
    ------
    OSError
        A file cannot be read.
    """
    return _sha256(parts_of(path))


def files_sha256(paths):
    """Return the SHA-256 of the contents of several files, one after the other."""
    return _sha256(map(Path, paths))


def parts_of(path):
    """List the files that a scan consists of.

    Examples
    --------
    >>> [part.name for part in parts_of("scan.nii.gz")]
    ['scan.nii.gz']
    """
    path = Path(path)
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file() and not part.name.startswith("."))
    for suffix, other in _PAIRS.items():
        if path.name.lower().endswith(suffix):
            stem = path.name[: -len(suffix)]
            beside = [entry for entry in path.parent.glob("*") if entry.name.lower() == (stem + other).lower()]
            return sorted([path, *beside], key=lambda part: part.name.lower())
    return [path]


def sidecar_of(path):
    """Return the JSON file that describes a scan, as BIDS names it, or None."""
    path = Path(path)
    name = path.name
    for suffix in (".nii.gz", ".nii", *_PAIRS):
        if name.lower().endswith(suffix):
            sidecar = path.with_name(name[: -len(suffix)] + ".json")
            return sidecar if sidecar.is_file() else None
    return None


def _sha256(paths):
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
