"""Slope and intercept of the values in a NIfTI file that are not numbers: taken as 0, as nifti1_io takes them."""

from functools import lru_cache

import nibabel as nib
import numpy as np


@lru_cache
def tolerant_class(kind):
    """The image class, but an intercept of NaN or Inf beside a usable slope counts as 0 instead of being refused.

    Parameters
    ----------
    kind : type
        Class of a NIfTI image, such as :class:`nibabel.Nifti1Image`; others are returned unchanged.
    """
    if not issubclass(kind, nib.Nifti1Pair):
        return kind

    class TolerantHeader(kind.header_class):
        def get_slope_inter(self):
            slope, intercept = float(self["scl_slope"]), float(self["scl_inter"])
            return super().get_slope_inter() if _is_usable(slope, intercept) else (slope, 0.0)

    return type(kind.__name__, (kind,), {"header_class": TolerantHeader, "__doc__": kind.__doc__})


def scaling_notes(header, name):
    """Warnings about a slope or intercept that is not a number.

    NaN is left out: it is how many programs say that there is no scaling.

    Parameters
    ----------
    header : nibabel.Nifti1Header or None
    name : str
        Name of the file.

    Returns
    -------
    tuple of str
    """
    if header is None:
        return ()
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope):
        return (f"{name}: the slope of its values is {slope:g}; values are read as they are stored",)
    if not _is_usable(slope, intercept):
        return (f"{name}: the intercept of its values is {intercept:g}; read as 0",)
    return ()


def _is_usable(slope, intercept):
    return slope == 0 or not np.isfinite(slope) or np.isfinite(intercept)
