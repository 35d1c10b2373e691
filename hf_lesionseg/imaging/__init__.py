"""NIfTI files in and out: read and checked, written aside and renamed."""

from .atomic import replace_folder_aside, write_aside
from .scan import Scan, read_mask, read_scan
from .writing import write_mask, write_volume

__all__ = [
    "Scan",
    "read_mask",
    "read_scan",
    "replace_folder_aside",
    "write_aside",
    "write_mask",
    "write_volume",
]
