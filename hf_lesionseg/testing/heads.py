"""Small heads that any machine can make: label maps, T1w scans with their brain masks, lesion masks in MNI space."""

import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np

__all__ = ["label_map", "write_head_files"]

SPACING = 5.0
SHAPE = (42, 50, 44)


def ellipsoid(centre, radii):
    """Distance of the voxels from a centre in units of the radii; 1 on the surface."""
    grid = np.meshgrid(*(np.arange(size) * SPACING for size in SHAPE), indexing="ij")
    middle = np.array(SHAPE) * SPACING / 2
    return np.sqrt(sum(((axis - m - c) / r) ** 2 for axis, m, c, r in zip(grid, middle, centre, radii, strict=True)))


def label_map(number=0):
    """Skin, bone, CSF, cortex, white matter, ventricles and cerebellum, as FreeSurfer and CHARM number them."""
    size = 1 + 0.02 * number
    labels = np.zeros(SHAPE, np.int32)
    for label, radii in ((511, (86, 104, 92)), (515, (80, 98, 86)), (24, (74, 92, 80)), (3, (70, 86, 75)),
                         (2, (60, 76, 65))):  # fmt: skip
        labels[ellipsoid((0, 0, 0), np.array(radii) * size) < 1] = label
    labels[ellipsoid((0, 5, 5), (18, 35, 16)) < 1] = 4
    labels[(ellipsoid((0, -45, -45), (40, 30, 25)) < 1) & (labels > 0) & (labels < 500)] = 8
    return labels


def affine():
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = -np.array(SHAPE) * SPACING / 2
    return matrix


def t1w(labels, rng):
    bright = {0: 0, 511: 150, 515: 15, 24: 30, 3: 75, 2: 110, 4: 28, 8: 80}
    values = np.vectorize(bright.get)(labels).astype(np.float32)
    return values + np.where(labels > 0, rng.normal(0, 2, labels.shape), 0).astype(np.float32)


def save(path, array, matrix=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine() if matrix is None else matrix), path)
    return path


MNI = np.array([[1.0, 0, 0, -90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])


def lesion_mask(centre, radius):
    """A ball of 1 mm voxels in MNI space."""
    mask = np.zeros((181, 217, 181), np.uint8)
    at = np.array(centre) - MNI[:3, 3]
    box = tuple(slice(int(c - radius), int(c + radius) + 2) for c in at)
    grid = np.meshgrid(*(np.arange(axis.start, axis.stop) for axis in box), indexing="ij")
    mask[box] = sum((axis - c) ** 2 for axis, c in zip(grid, at, strict=True)) < radius**2
    return mask


def write_head_files(root: Path) -> Path:
    """Write what ``lesionseg prepare heads`` takes.

    Six label maps in ``labels``, three heads in ``t1w`` with their brains in ``masks``, three stripped brains in
    ``stripped``, nine lesions in ``lesions.tar``; voxels of 5 mm, those of the lesions of 1 mm.
    """
    rng = np.random.default_rng(0)
    for number in range(6):
        save(root / "labels" / f"map_{number}.nii.gz", label_map(number).astype(np.int16))
    for number in range(3):
        labels = label_map(number + 6)
        brain = (labels > 0) & (labels < 500)
        scan = t1w(labels, rng)
        save(root / "t1w" / f"sub-{number}_T1w.nii.gz", scan.astype(np.int16))
        save(root / "masks" / f"sub-{number}_T1w_mask.nii.gz", brain.astype(np.uint8))
        save(root / "stripped" / f"sub-{number + 3}_T1w.nii.gz", np.where(brain, scan + 1, 0).astype(np.uint8))
    with tarfile.open(root / "lesions.tar", "w") as archive:
        for number in range(9):
            side = (-1) ** number
            mask = lesion_mask((side * (24 + number), -20 + 4 * number, 10 + number), 6 + 2 * number)
            path = save(root / f"sub-{number}_lesion.nii.gz", mask, MNI)
            archive.add(path, path.name)
            path.unlink()
    return root
