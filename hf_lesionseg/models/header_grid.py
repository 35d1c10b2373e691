"""Where the voxels of a NIfTI file lie, in mm, from what headers say and get wrong.

Two forms may place a volume, sform and qform, in one of three units; ``pixdim`` may give sizes of its own.
"""

import nibabel as nib
import numpy as np

from .volume_geometry import VolumeError, check_affine

_SPACE_UNITS = {1: "meter", 2: "mm", 3: "micron"}
_TIME_UNITS = {8: "sec", 16: "msec", 24: "usec", 32: "hz", 40: "ppm", 48: "rads"}
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
#: voxel sides, and the longest side of a whole scan, that a scanner for people can make; mm
_LARGEST_VOXEL = 200.0  # mm; what is larger would make planes that fill the memory
_PLAUSIBLE_VOXEL, _LONGEST_SCAN = (0.05, 50.0), 2500.0


def usable_affine(image, header, name):
    """Affine in mm, and warnings about the header that it comes from.

    Parameters
    ----------
    image : nibabel image
    header : nibabel.Nifti1Header or None
        As the file has it, none of nibabel's repairs applied; None where there is no NIfTI header.
    name : str
        Name of the file, for messages.

    Returns
    -------
    affine : numpy.ndarray of shape (4, 4)
        float64, never singular.
    warnings : tuple of str

    Raises
    ------
    VolumeError
        For a grid that is singular or has no size, or one that is not a scan's in the unit that the header gives.
    """
    if header is None:
        return checked_affine(image.affine, name), ()
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if not isinstance(image.dataobj, np.ndarray) and sform_code <= 0:
        _check_pixdim(header, name)
    affine, warnings = np.asarray(image.affine, np.float64), []
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    qform = qform_of(header)
    # ISLES 2018 and other old exports: identity sform while the voxel size stands in pixdim only
    if sform_code > 0 and np.array_equal(header.get_sform(), np.eye(4)) and not np.allclose(sizes, 1) and sizes.all():
        affine = qform if qform_code > 0 and qform is not None else np.diag([*sizes, 1.0])
        warnings.append(
            f"{name}: the sform is the identity but voxels measure {_triple(sizes)} mm; the voxel size is used and the "
            "header goes back untouched"
        )
    elif sform_code > 0 and qform_code > 0:
        warnings += _differing_forms(affine, qform, image.shape[:3], name)
    elif sform_code <= 0 and qform_code <= 0:
        warnings.append(
            f"{name}: the header gives no orientation; axes are taken as {''.join(nib.aff2axcodes(affine))}"
        )
    affine = checked_affine(affine, name)
    affine, odd_unit = _in_millimetres(affine, image.shape[:3], units_of(header)[0], name)
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-3:
        odd_unit += (f"{name}: the axes are sheared; some other tools refuse such a file",)
    return affine, (*warnings, *odd_unit)


def units_of(header):
    """Units of space and time of a header, by their names; "unknown" for codes that NIfTI does not have."""
    code = int(header["xyzt_units"])
    return _SPACE_UNITS.get(code & 7, "unknown"), _TIME_UNITS.get(code & 56, "unknown")


def qform_of(header):
    """Affine of the qform in the header's own unit, or None where its numbers make none.

    A negative voxel size counts as its absolute value, as in ITK and nibabel, and a ``pixdim[0]`` without a sign as 1.
    """
    repaired = header.copy()
    pixdim = np.asarray(header["pixdim"], np.float64)
    repaired["pixdim"][1:4] = np.abs(pixdim[1:4])
    if pixdim[0] not in (-1.0, 1.0):
        repaired["pixdim"][0] = 1.0
    try:
        with np.errstate(all="ignore"):
            qform = np.asarray(repaired.get_qform(), np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError):
        return None
    return qform if np.isfinite(qform).all() else None


def forms_of(header, affine):
    """The forms of a header that are set and usable, in the unit of ``affine``, by name.

    Parameters
    ----------
    header : nibabel.Nifti1Header or None
    affine : array (4, 4)
        Affine in mm that was read from this header.
    """
    if header is None:
        return {}
    forms = {}
    if int(header["sform_code"]) > 0:
        forms["sform"] = np.asarray(header.get_sform(), np.float64)
    if int(header["qform_code"]) > 0 and (qform := qform_of(header)) is not None:
        forms["qform"] = qform
    # both are in the header's unit: the one that was used tells the factor to mm
    factor = min(
        (1.0, *_MM_PER_UNIT.values()),
        key=lambda each: min((np.abs(form * _scaling(each) - affine).max() for form in forms.values()), default=0.0),
    )
    return {name: form * _scaling(factor) for name, form in forms.items() if np.isfinite(form).all()}


def checked_affine(affine, name):
    """Return the affine as float64, or raise :class:`VolumeError` with the file's name; see :func:`check_affine`."""
    try:
        return check_affine(affine)
    except VolumeError as error:
        raise VolumeError(f"{name}: {error}") from error


def _differing_forms(sform, qform, shape, name):
    if qform is None:
        return [f"{name}: the qform is not an orientation; the sform is used"]
    corner = np.append(np.asarray(shape) - 1, 1)
    shift = max(np.abs((qform - sform) @ point)[:3].max() for point in (corner, np.eye(4)[3]))
    smallest = np.linalg.norm(sform[:3, :3], axis=0).min()
    return (
        [f"{name}: qform and sform differ by up to {shift:.3g} mm; the sform is used"]
        if (shift > 0.1 * smallest)
        else []
    )


def _in_millimetres(affine, shape, unit, name):
    """Convert metres and micrometres where that makes the sizes a scan's; many headers name a unit by mistake."""
    factor = _MM_PER_UNIT.get(unit)
    if factor is None:
        sizes = nib.affines.voxel_sizes(affine)
        if sizes.max() > _LARGEST_VOXEL:
            raise VolumeError(
                f"{name}: no scan of a person has voxels of {_triple(sizes)} mm; correct the voxel size in the header"
            )
        return affine, ()
    converted = affine * _scaling(factor)
    sizes, true_sizes = (nib.affines.voxel_sizes(each) for each in (affine, converted))
    if _is_plausible(true_sizes, shape):
        return converted, (
            f"{name}: the header gives lengths in {unit}; voxels of {_triple(sizes)} {unit} are read as "
            f"{_triple(true_sizes)} mm",
        )
    if _is_plausible(sizes, shape):
        return affine, (
            f"{name}: the header gives lengths in {unit}, but voxels of {_triple(true_sizes)} mm make no scan; read as "
            f"{_triple(sizes)} mm, correct the unit in the header",
        )
    raise VolumeError(
        f"{name}: the header gives lengths in {unit}, and voxels measure neither {_triple(true_sizes)} nor "
        f"{_triple(sizes)} mm in any scan of a person; correct unit and voxel size in the header"
    )


def _is_plausible(sizes, shape):
    low, high = _PLAUSIBLE_VOXEL
    return low <= sizes.min() and sizes.max() <= high and (sizes * np.asarray(shape)).max() <= _LONGEST_SCAN


def _scaling(factor):
    """Factors of an affine's entries by which its lengths change, its last row stays."""
    return np.array([[factor]] * 3 + [[1.0]])


def _check_pixdim(header, name):
    sizes = np.asarray(header["pixdim"][1:4], np.float64)
    # nibabel would read 0 as 1 mm, and every volume in mL would be plausible and wrong
    if not np.isfinite(sizes).all() or (sizes == 0).any():
        raise VolumeError(f"{name}: voxel size {_triple(sizes)} mm in the header; set pixdim to the scan's own")


def _triple(sizes):
    return " x ".join(f"{size:.4g}" for size in sizes)
