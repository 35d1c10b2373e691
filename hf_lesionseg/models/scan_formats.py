"""The formats of scan files, in one table: a format is a row of ``FORMATS``.

Everything that asks whether a file is a scan, what it is called without its ending, or how it is opened, asks here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from .open_itk import open_itk
from .open_nifti import open_freesurfer, open_nifti


@dataclass(frozen=True)
class ScanFormat:
    """One format.

    Attributes
    ----------
    name : str
        As messages call it.
    endings : tuple of str
        In lower case, with the dot.
    open : callable
        ``open(path, streams)`` returns an :class:`~hf_lesionseg.models.opened_scan.OpenedScan`; what it enters into
        the ``contextlib.ExitStack`` is closed after reading.
    write : callable or str, optional
        ``write(path, mask, like)`` writes a mask on the grid of a scan; as text it is the name of a function of
        :mod:`hf_lesionseg.imaging`, since files of this folder are published without that package.
    gzipped : tuple of str
        Those of the endings whose files are compressed by gzip as a whole.
    second_halves : mapping of str to str
        Endings of the second file of a pair, with that of the first, by which the pair goes.
    magic : bytes
        First bytes of such a file, where they tell it from all others.
    """

    name: str
    endings: tuple[str, ...]
    open: Callable
    write: Callable | str | None = None
    gzipped: tuple[str, ...] = ()
    second_halves: Mapping[str, str] = field(default_factory=dict)
    magic: bytes = b""


FORMATS = [
    ScanFormat("NIfTI", (".nii.gz", ".nii"), open_nifti, "write_mask", gzipped=(".nii.gz",)),
    ScanFormat(
        "NIfTI or Analyze in two files",
        (".hdr", ".img", ".hdr.gz", ".img.gz"),
        open_nifti,
        gzipped=(".hdr.gz", ".img.gz"),
        second_halves={".img": ".hdr", ".img.gz": ".hdr.gz"},
    ),
    ScanFormat("FreeSurfer's format", (".mgz", ".mgh"), open_freesurfer, gzipped=(".mgz",)),
    ScanFormat("NRRD", (".nrrd",), open_itk, magic=b"NRRD"),
    ScanFormat("MetaImage", (".mha",), open_itk, "write_metaimage", magic=b"ObjectType"),
]


def scan_endings(*, halves=True):
    """Return the endings of all formats, in the order of the table.

    Parameters
    ----------
    halves : bool
        Also those of the second file of a pair.
    """
    return tuple(ending for each in FORMATS for ending in each.endings if halves or ending not in each.second_halves)


def ending_of(path):
    """Return the ending of a scan's name in lower case, or "" where it is none; a name is more than its ending.

    Examples
    --------
    >>> ending_of("data/sub-01_T1w.NII.gz"), ending_of("brain.mgz"), ending_of("notes.txt"), ending_of(".nii")
    ('.nii.gz', '.mgz', '', '')
    """
    name = PurePath(path).name.lower()
    fitting = [ending for ending in scan_endings() if name.endswith(ending) and len(name) > len(ending)]
    return max(fitting, key=len, default="")


def format_of(path):
    """Return the format of a file by its name, or None."""
    ending = ending_of(path)
    return next((each for each in FORMATS if ending in each.endings), None)


def scan_stem(path):
    """Return a file's name without the ending of a scan.

    Examples
    --------
    >>> scan_stem("data/sub-01_T1w.nii.gz"), scan_stem("label.mha"), scan_stem("notes.txt")
    ('sub-01_T1w', 'label', 'notes.txt')
    """
    name = PurePath(path).name
    return name[: len(name) - len(ending_of(path))]


def is_gzipped(path):
    """Whether a scan of that name is compressed by gzip as a whole."""
    found = format_of(path)
    return found is not None and ending_of(path) in found.gzipped


def other_half(path):
    """Return the other file of a pair as it is named beside this one; None where a scan is one file."""
    found, ending = format_of(path), ending_of(path)
    if found is None:
        return None
    pairs = {**found.second_halves, **{first: second for second, first in found.second_halves.items()}}
    if ending not in pairs:
        return None
    wanted = (scan_stem(path) + pairs[ending]).lower()
    beside = (entry for entry in Path(path).parent.glob("*") if entry.name.lower() == wanted)
    return next(beside, None)


def is_second_half(path):
    """Whether a file is the second of a pair whose first lies beside it."""
    found = format_of(path)
    return found is not None and ending_of(path) in found.second_halves and other_half(path) is not None


def scan_pattern():
    """Return a regular expression for the ending of a scan's name, second files of a pair left out."""
    endings = sorted(scan_endings(halves=False), key=len, reverse=True)
    return rf"(?:{'|'.join(re.escape(ending) for ending in endings)})$"


def endings_in_words():
    """Return the endings as messages name them.

    Examples
    --------
    >>> endings_in_words()
    '.nii.gz, .nii, .hdr/.img, .hdr.gz/.img.gz, .mgz, .mgh, .nrrd or .mha'
    """
    second = {first: second for each in FORMATS for second, first in each.second_halves.items()}
    words = [f"{ending}/{second[ending]}" if ending in second else ending for ending in scan_endings(halves=False)]
    return f"{', '.join(words[:-1])} or {words[-1]}"
