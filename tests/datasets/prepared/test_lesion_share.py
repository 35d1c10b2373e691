"""A lesion that fills most of the head is warned of; lesions as large as they get are not."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepared.lesion_share import share_warning
from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

SHAPE = (40, 48, 30)


def ball(radius):
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (x - 20) ** 2 + (y - 24) ** 2 + ((z - 15) * 1.3) ** 2 < radius**2


@pytest.mark.parametrize("offset", [0, -1024, 5000])
@pytest.mark.parametrize(("radius", "warned"), [(0, False), (8, False), (12, False), (16, True), (18, True)])
def test_share_of_the_tissue(tmp_path, offset, radius, warned):
    head = offset + np.where(ball(18), 400, 0) + np.random.default_rng(0).normal(0, 2, SHAPE)
    message = share_warning(head, ball(radius).astype(np.uint8), tmp_path / "mask.nii.gz")
    assert (message is not None) == warned
    if warned:
        assert "mask.nii.gz: covers" in message


def test_padding_of_ct_is_no_tissue(tmp_path):
    """Beside -3024 outside the field of view all air lies in the upper part of the range."""
    head = -1000 + np.where(ball(12), 1040, 0) + np.random.default_rng(0).normal(0, 5, SHAPE)
    head[:, :6] = -3024
    message = share_warning(head, ball(11).astype(np.uint8), tmp_path / "brain.nii.gz")
    assert message is not None
    assert "covers 7" in message
    assert share_warning(head, ball(5).astype(np.uint8), tmp_path / "lesion.nii.gz") is None


def test_it_is_a_warning_of_the_prepared_case(tmp_path):
    scan = np.where(ball(18), 400, 0).astype(np.int16)
    scan[ball(9)] = 500
    nib.save(nib.Nifti1Image(scan, np.eye(4)), tmp_path / "scan.nii.gz")
    nib.save(nib.Nifti1Image(ball(17).astype(np.uint8), np.eye(4)), tmp_path / "brain.nii.gz")
    record = CaseRecord("a", "a", {"t1w": tmp_path / "scan.nii.gz"}, (tmp_path / "brain.nii.gz",))
    data = prepare_cases([record], tmp_path / "out", LesionImageProcessor(), Origin("x", False), progress=False)
    assert "is this a lesion, or a mask of the brain?" in data.cases[0].warnings[0]
