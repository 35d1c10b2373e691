"""What a reader finds: one scan of one person with its lesion files, or a file that it cannot use."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CaseRecord:
    """One case as it lies on disk.

    Attributes
    ----------
    id : str
        Unique in its data set; a file name without anything that a file system would mind.
    person : str
        Cases of one person never come into different splits.
    images : dict of str to Path
        Channel name -> file.
    masks : list of Path
        Lesion files; the truth is their union.
    """

    id: str
    person: str
    images: dict[str, Path]
    masks: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Rejected:
    """A file or case that was left out, and why."""

    path: str
    reason: str
