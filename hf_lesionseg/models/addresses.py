"""What to say where an address was given for a file."""

import re

# Two letters or more before the colon: C:\scan.nii is a drive. pathlib makes one slash of two.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def describe_address(path):
    """Say in one line that an address is not a file, and what to do; None for what is no address.

    Examples
    --------
    >>> describe_address("https:/example.org/a.nii.gz")
    'https://example.org/a.nii.gz: is an address, not a file; download it, then give the file'
    """
    found = _ADDRESS.match(str(path))
    if found is None:
        return None
    address = f"{found[1]}://{str(path)[found.end() :]}"
    return f"{address}: is an address, not a file; download it, then give the file"
