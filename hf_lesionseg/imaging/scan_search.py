"""Find the scan files of a folder by their names."""

from pathlib import Path

from hf_lesionseg.models.scan_formats import ending_of, is_second_half


def scans_below(folder):
    """Return all scan files below a folder in a fixed order; of a pair the first file stands for both.

    Hidden files and Finder's litter (``._scan.nii.gz``, ``__MACOSX``) are passed over. A link to nothing is not: it is
    reported as such when it is read.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of pathlib.Path
    """
    folder = Path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if ending_of(path)
        and not path.is_dir()
        and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        and not is_second_half(path)
    )
