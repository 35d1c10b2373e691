"""Whether a file is still the one that a result was made from: by its content, never by its name, size or time."""

import hashlib
from pathlib import Path

from hf_lesionseg.models.scan_formats import ending_of, other_half, scan_stem


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
    other = other_half(path)
    return [path] if other is None else sorted([path, other], key=lambda part: part.name.lower())


def sidecar_of(path):
    """Return the JSON file that describes a scan, as BIDS names it, or None."""
    path = Path(path)
    sidecar = path.with_name(scan_stem(path) + ".json")
    return sidecar if ending_of(path) and sidecar.is_file() else None


def _sha256(paths):
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
