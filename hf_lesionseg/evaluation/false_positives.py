"""Healthy scans: where those of a catalogue of heads lie, to see what a network marks in them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from ..imaging.scan_search import scans_below

__all__ = ["healthy_scans"]


def healthy_scans(catalogue, split: str, folders: Sequence[Path]) -> list[Path]:
    """Files of the real scans in one split of a catalogue, known by their checksums whatever they are called now.

    Parameters
    ----------
    catalogue : HeadCatalogue
    split : "fit", "choose" or "report"
    folders : where to look

    Raises
    ------
    DataError
        Where none of them is found.
    """
    wanted = {
        each["sha256"] for each in catalogue.record["anatomies"] if each["split"] == split and each["kind"] != "labels"
    }
    files = sorted(path for folder in folders for path in scans_below(folder))
    found = [path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() in wanted]
    if folders and not found:
        raise DataError(f"{folders[0]}: holds none of the catalogue's real scans of the split {split}")
    return found
