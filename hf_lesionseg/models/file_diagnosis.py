"""Names what is there instead of a scan or weights: a pointer, a broken link, an address, half a download.

Libraries report the symptom ("header too large", "not gzip"); what helps is what the file is and how to get the real
one.
"""

import errno
import gzip
import json
import os
import re
import stat
import zlib
from contextlib import suppress
from pathlib import Path

_HEAD = 1024
# Two letters or more before the colon: C:\scan.nii is a drive. pathlib makes one slash of two.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_GZIP = b"\x1f\x8b"
#: First bytes of a header, its length in either byte order: NIfTI-1 and Analyze, NIfTI-2.
NIFTI_LENGTHS = tuple(length.to_bytes(4, order) for length in (348, 540) for order in ("little", "big"))
#: Beginning of a file -> what it is, and what to do.
_SIGNATURES = (
    (b"\x89PNG", "a PNG picture", "give the NIfTI scan that it was made from"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the NIfTI scan that it was made from"),
    (b"PK\x03\x04", "a zip archive", "unpack it and give its content"),
    (b"BZh", "compressed by bzip2", "unpack it (bunzip2)"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it (unzstd)"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and give its content"),
    (b"%PDF", "a PDF", "give the file itself"),
    (b"\x93NUMPY", "a NumPy array, which has no voxel size", "save it as NIfTI with the affine of its scan"),
    (b"NRRD", "an NRRD file", "give it a name that ends in .nrrd"),
    (b"ObjectType", "a MetaImage", "give it a name that ends in .mha"),
    (b"\x89HDF", "an HDF5 file (also MINC 2)", "convert it to .nii.gz (MINC: mnc2nii)"),
    (b"CDF", "a MINC file", "convert it to .nii.gz (mnc2nii)"),
)
_NAMED = {
    (".nhdr",): ("is the header of an NRRD file in two parts", "save it as one .nrrd file, or as .nii.gz"),
    (".mhd",): ("is the header of a MetaImage in two parts", "save it as one .mha file, or as .nii.gz"),
    (".mnc",): ("is a MINC file", "convert it to .nii.gz (mnc2nii)"),
    (".dcm", ".ima"): ("is one DICOM slice", "convert its whole series to NIfTI: dcm2niix -z y -o OUT FOLDER"),
    (".npy", ".npz"): ("is a NumPy array, which has no voxel size", "save it as NIfTI with the affine of its scan"),
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"): ("is a picture", "give the NIfTI scan that it was made from"),
    (".part", ".partial", ".incomplete", ".crdownload", ".download"): (
        "is an unfinished download",
        "wait for it, or download it again",
    ),
}


def why_not_there(path):
    """Say why a file cannot be opened: missing, a link to nothing, or not readable by whoever runs this.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str or None
        What it is and what to do, to stand behind the file's name; None for a file or folder that opens.
    """
    path = Path(path)
    try:
        path.stat()
    except OSError as error:
        return _why_no_entry(path, error)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return f"exists, but you may not read it{_owner_of(path)}; {_open_up(path)}"
    return None


def describe_address(path):
    """Say in one line that an address is not a file, and what to do; None for anything else.

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


def what_is_denied(path):
    """As :func:`why_not_there`, for a file that is there and may not be read; None for one that is missing."""
    reason = why_not_there(path)
    return reason if reason is not None and "you may not" in reason else None


def what_is(path):
    """Say what a file is that cannot be what it was given for, by its links, permissions, first bytes and name.

    Parameters
    ----------
    path : path-like
        Given as a scan, or as weights or a configuration.

    Returns
    -------
    str or None
        What it is and what to do, to stand behind the file's name; None where nothing is known against it.
    """
    path = Path(path)
    reason = why_not_there(path)
    if reason is not None:
        return reason
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return None
    if not stat.S_ISREG(mode):
        return "is not an ordinary file but a pipe or a device; give a file"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        return f"cannot be read ({error.strerror or error}); copy it to another disk"
    if not head:
        return "is empty (0 bytes); copy or download it again"
    # voxels, as of an .img, may begin with anything
    if head[:4] in NIFTI_LENGTHS or path.name.lower().endswith((".img", ".img.gz")):
        return _pointer(head) or _by_name(path)
    inner = _unpacked(path) if head.startswith(_GZIP) else None
    return _pointer(head) or _by_content(head) or _inside_gzip(inner) or _by_name(path)


def what_weights_are(path):
    """As :func:`what_is` for a ``.safetensors`` file, which may also be cut off.

    Returns
    -------
    str or None
    """
    path = Path(path)
    reason = what_is(path)
    if reason is not None:
        return reason
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, size))
    if header.startswith(b"\x80"):
        length = size
    if size < 8 or (length > size - 8 and length < 100_000_000 and header[:1] == b"{"):
        return f"is cut off within its header (it has {size} bytes); download or copy it again"
    try:
        entries = json.loads(header)
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "is not a safetensors file; download it again, or convert the weights to safetensors"
    if size < 8 + length + end:
        return f"is cut off: {size} of {8 + length + end} bytes are there; download or copy it again"
    return None


def what_model_folder_is(folder):
    """Say what a folder without ``config.json`` is that was given as a network, and which one to give.

    Returns
    -------
    str or None
    """
    folder = Path(folder)
    reason = why_not_there(folder)
    if reason is not None:
        return reason
    if not folder.is_dir():
        place = f" ({folder.parent})" if is_file(folder.parent / "config.json") else ""
        return f"is a file; give the folder that holds the network{place}"
    if (folder / "training_state.json").is_file():
        return f"is a checkpoint of training, to resume from; {_network_of_checkpoint(folder)}"
    if any(folder.glob("step_*/training_state.json")):
        return f"holds checkpoints of training, to resume from; {_network_of_checkpoint(folder / 'step')}"
    if any(folder.glob("checkpoints/step_*/training_state.json")):
        return (
            "is a training run that was not validated yet, so that it has no network; go on with "
            "--resume-from-checkpoint latest"
        )
    if (folder / "dataset.json").is_file() and (folder / "cases").is_dir():
        return "holds prepared data, not a network; train one on them, or give that"
    snapshots = sorted(folder.glob("snapshots/*/config.json"))
    if snapshots:
        return f"is a folder of the Hub's cache; give the network's id, or {snapshots[-1].parent}"
    members = sorted(folder.glob("fold-*/config.json"))
    if members:
        return f"holds folds that are not an ensemble yet; give one ({members[0].parent}), or run `lesionseg ensemble`"
    inside = sorted(folder.glob("*/config.json"))
    return f"has no config.json, but {inside[0].parent} has; give that" if inside else None


def _network_of_checkpoint(folder):
    for place in (folder.parent.parent, folder / "best"):
        if (place / "config.json").is_file():
            return f"give the network of that run: {place}"
    return "that run has no network before its first validation"


def is_folder(path):
    """Whether there is a folder; False also where nobody can tell, for want of permission."""
    with suppress(OSError):
        return Path(path).is_dir()
    return False


def is_file(path):
    """Whether there is a file; False also where nobody can tell, for want of permission."""
    with suppress(OSError):
        return Path(path).is_file()
    return False


def dicom_files_in(folder, limit=200):
    """List DICOM files below a folder, by their mark rather than their name; looks at ``limit`` files at most."""
    found, looked = [], 0
    for path in sorted(Path(folder).rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        looked += 1
        if looked > limit:
            break
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                found.append(path)
    return found


def channels_first(shape):
    """Whether a 4-D shape is that of an array as PyTorch and MONAI keep it, channels before space.

    Examples
    --------
    >>> channels_first((1, 240, 240, 155)), channels_first((4, 240, 240, 155)), channels_first((240, 240, 155, 4))
    (True, True, False)
    """
    if len(shape) != 4 or shape[3] == 1:
        return False
    return shape[0] == 1 or (shape[0] <= 8 and all(length > 8 for length in shape[1:]))


def _why_no_entry(path, error):
    if error.errno == errno.EACCES:
        return f"cannot be reached, since you may not enter a folder above it; {_open_up(path)}"
    if path.is_symlink():
        target = path.readlink()
        if "annex/objects" in target.as_posix():
            return (
                "is a link of git-annex (DataLad) whose content is not here; fetch it: datalad get "
                f"{path.name} (or git annex get)"
            )
        looped = " which leads to itself" if error.errno == errno.ELOOP else ", which is not there"
        return f"is a link to {target}{looped}; copy the file itself, or mend the link"
    if error.errno == errno.ENAMETOOLONG:
        return "has a name that is too long for this system; check the path"
    return "no such file; check the path"


def _owner_of(path):
    try:
        found = path.stat()
        return f" (it is {path.owner()}'s, with permissions {stat.filemode(found.st_mode)})"
    except (OSError, KeyError, NotImplementedError):
        return ""


def _open_up(path):
    return f"ask its owner for `chmod -R a+rX {path.parent}`, or copy it to a place of your own"


def _pointer(head):
    """Text that version control keeps in place of a large file, or a page that came instead of a download."""
    text = head.decode("utf-8", "replace").strip()
    if text.startswith(("version https://git-lfs", "version https://hawser")):
        size = re.search(r"^size (\d+)", text, re.MULTILINE)
        of = f" of {int(size[1]) / 1e6:.1f} MB" if size else ""
        return f"is a Git LFS pointer, not the file{of} itself; run `git lfs pull` there, or download it again"
    if re.match(r"/annex/objects/\S+", text):
        return "is a pointer of git-annex (DataLad), not the file itself; run `datalad get` on it (or git annex get)"
    if text[:9].lower().startswith(("<!doctype", "<html")):
        return "is a web page, not the file: the download needs a login or another address; download it again"
    if text.startswith("<?xml") and "<Error>" in text:
        return "is the error message of a server, not the file; download it again"
    return None


def _by_content(head):
    if head[128:132] == b"DICM":
        return "is one DICOM slice; convert its whole series to NIfTI: dcm2niix -z y -o OUT FOLDER"
    for signature, what, remedy in _SIGNATURES:
        if head.startswith(signature):
            return f"is {what}; {remedy}"
    if not head.strip(b"\0"):
        return "begins with zeros only, as after a download or copy that was cut off; download or copy it again"
    return "is a tar archive; unpack it and give its content" if head[257:262] == b"ustar" else None


def _unpacked(path):
    """The first bytes inside a gzip file; None where it does not unpack."""
    try:
        with gzip.open(path) as file:
            return file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return None


def _inside_gzip(inner):
    if not inner:
        return None
    if inner.startswith(_GZIP):
        return "is compressed twice (gzip in gzip); unpack it once (gunzip) and keep the name"
    found = _pointer(inner) or _by_content(inner)
    return None if found is None else f"is compressed, and its content {found}"


def _by_name(path):
    name = path.name.lower()
    for endings, (what, remedy) in _NAMED.items():
        if name.endswith(endings):
            return f"{what.format(path.suffix)}; {remedy.format(name=path.name, stem=path.stem)}"
    return None
