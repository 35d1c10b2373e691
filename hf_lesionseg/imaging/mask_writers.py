"""Which function writes a mask, by the ending of the file's name."""

import importlib

from hf_lesionseg.errors import OutputError
from hf_lesionseg.models.scan_formats import FORMATS, format_of


def mask_writer(path):
    """Return ``write(path, mask, like)`` of the format that a file is named after.

    Raises
    ------
    OutputError
        Masks are not written in that format.
    """
    write = getattr(format_of(path), "write", None)
    if write is None:
        endings = ", ".join(ending for each in FORMATS if each.write for ending in each.endings)
        raise OutputError(f"{path}: masks are not written in this format; give a name that ends in one of {endings}")
    return write if callable(write) else getattr(importlib.import_module("hf_lesionseg.imaging"), write)
