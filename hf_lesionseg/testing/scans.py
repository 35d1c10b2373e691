"""Scans that the tests of the image processor share."""

import warnings

import nibabel as nib
import numpy as np

#: 0.45 x 0.45 x 5 mm, LAS, tilted: a clinical FLAIR
CLINICAL = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, 0.15, -0.05) @ np.diag([-0.45, 0.45, 5.0]), [60, -58, -40]
)


def atlas_scan(slices=4, seed=0):
    """A head-sized ellipse of 1 to 100 on the plane of ATLAS (197 x 233); float32."""
    x, y = np.ogrid[:197, :233]
    inside = ((x - 98) / 70) ** 2 + ((y - 116) / 88) ** 2 < 1
    noise = np.random.default_rng(seed).uniform(1, 100, (197, 233, slices))
    noise[98, 116] = 100
    return (noise * inside[..., None]).astype(np.float32)


def clinical_scan():
    """256 x 256 x 6, a head off the centre, intensities of a raw MR with noise in the air."""
    x, y = np.ogrid[:256, :256]
    inside = ((x - 140) / 80) ** 2 + ((y - 110) / 100) ** 2 < 1
    rng = np.random.default_rng(1)
    volume = np.where(inside[..., None], rng.uniform(300, 1800, (256, 256, 6)), rng.uniform(0, 20, (256, 256, 6)))
    return nib.Nifti1Image(volume.astype(np.float32), CLINICAL)


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)
