"""What is said where a file is not there, most of all where an address was given for one."""

import re

# Two letters or more before the colon: C:\scan.nii is a drive. pathlib makes one slash of two.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def describe_missing_file(path):
    """Say in one line that a file is missing, and what to do.

    Examples
    --------
    >>> describe_missing_file("https:/example.org/a.nii.gz")
    'https://example.org/a.nii.gz: is an address, not a file; download it, then give the file'
    """
    found = _ADDRESS.match(str(path))
    if found:
        address = f"{found[1]}://{str(path)[found.end() :]}"
        return f"{address}: is an address, not a file; download it, then give the file"
    return f"{path}: no such file; check the path"
