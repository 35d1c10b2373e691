"""Tissues of a real T1w scan: the brain found, its shading removed, and three classes with the ventricles apart."""

import contextlib
import io

import numpy as np
from scipy import ndimage as ndi

from ....errors import DataError
from .tissues import Tissue

__all__ = ["classify_brain", "correct_shading", "find_brain"]

#: Ventricles are looked for this deep in the brain, mm from its surface.
_DEEP = 22.0
_EXTRA = 'pip install "hf-lesionseg[heads]"'


def find_brain(volume: np.ndarray, affine: np.ndarray, name: str) -> np.ndarray:
    """Find the brain in a whole head by BET (Smith, Hum Brain Mapp 2002), as the library brainextractor has it.

    Parameters
    ----------
    volume : array (X, Y, Z), RAS+
    affine : (4, 4)
    name : of the file, for errors

    Returns
    -------
    bool array (X, Y, Z)

    Raises
    ------
    DataError
        Where the library is missing, or what it finds has not the size of a brain.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from brainextractor import BrainExtractor
    except ImportError as error:
        raise DataError(
            f"{name}: finding the brain of a whole head needs brainextractor: {_EXTRA}, or give masks with "
            "--brain-masks"
        ) from error
    import nibabel as nib

    with contextlib.redirect_stdout(io.StringIO()):  # it prints each of its thousand steps
        bet = BrainExtractor(img=nib.Nifti1Image(volume.astype(np.float32), affine))
        bet.run()
        mask = bet.compute_mask() > 0
    litres = mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1e6
    if not 0.7 < litres < 2.2:
        raise DataError(
            f"{name}: the brain that was found measures {litres:.2f} L; give a mask of it with --brain-masks"
        )
    return mask


def correct_shading(volume: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...], name: str) -> np.ndarray:
    """Remove slow changes of brightness by N4 (Tustison et al., IEEE TMI 2010) of SimpleITK.

    Returns
    -------
    float32 array like ``volume``
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise DataError(f"{name}: removing the shading of a scan needs SimpleITK: {_EXTRA}") from error
    step = 6  # in voxels: shading is slow, and the field is wanted within seconds
    image = sitk.GetImageFromArray(volume.astype(np.float32))
    image.SetSpacing([float(size) for size in spacing[::-1]])
    inside = sitk.GetImageFromArray(mask.astype(np.uint8))
    inside.SetSpacing(image.GetSpacing())
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([30, 20])
    n4.Execute(sitk.Shrink(image, [step] * 3), sitk.Shrink(inside, [step] * 3))
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).astype(np.float32))
    return volume.astype(np.float32) / np.clip(field, 0.2, 5.0)


def classify_brain(
    volume: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Tell CSF, grey and white matter apart by brightness, and ventricles from other CSF by their depth.

    Parameters
    ----------
    volume : float array (X, Y, Z), shading removed
    mask : bool array, the brain
    spacing : mm

    Returns
    -------
    tissues : uint8 array, AIR outside the mask
    means : brightness of CSF, cortex and white matter
    """
    smooth = ndi.gaussian_filter(volume, [0.5 / size for size in spacing])
    values = smooth[mask]
    low, high = np.percentile(values, (2, 98))
    means = np.array([low, (low + high) / 2, high], np.float64)
    values = values[:: max(1, values.size // 200_000)]
    for _ in range(40):
        nearest = np.abs(values[:, None] - means).argmin(1)
        means = np.array([values[nearest == index].mean() if (nearest == index).any() else means[index]
                          for index in range(3)])  # fmt: skip
    edges = (means[:2] + means[1:]) / 2
    classes = np.digitize(smooth, edges)
    tissues = np.where(mask, np.array([Tissue.CSF, Tissue.CORTEX, Tissue.WHITE], np.uint8)[classes], Tissue.AIR)
    depth = ndi.distance_transform_edt(mask, sampling=spacing)
    dark = tissues == Tissue.CSF
    centre = np.array(ndi.center_of_mass(mask))
    offset = [np.abs(np.arange(size) - middle) * step
              for size, middle, step in zip(mask.shape, centre, spacing, strict=True)]  # fmt: skip
    near = (offset[0][:, None, None] < 38) & (offset[1][None, :, None] < 65) & (offset[2][None, None, :] < 40)
    seeds = dark & near & (depth > _DEEP)
    parts, count = ndi.label(seeds)
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * float(np.prod(spacing))
    sizes[0] = 0
    ventricles = ndi.binary_dilation(np.isin(parts, np.flatnonzero(sizes > 150)), iterations=2, mask=dark & near)
    tissues[ventricles] = Tissue.VENTRICLE
    return tissues.astype(np.uint8), tuple(float(value) for value in means)
