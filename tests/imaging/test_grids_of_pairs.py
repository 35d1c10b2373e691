"""Scan and mask on the same voxels, stored in another order or placed by another form."""

import itertools

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg import LesionImageProcessor
from hf_lesionseg.datasets.prepared.targets import read_target
from hf_lesionseg.errors import GridMismatchError
from hf_lesionseg.evaluation.scoring import read_prediction
from hf_lesionseg.imaging import read_mask, read_scan
from hf_lesionseg.models.grid_storage import bring_onto_grid
from hf_lesionseg.models.volume_geometry import VolumeError

CODES = ["".join(c) for order in itertools.permutations(("LR", "PA", "IS")) for c in itertools.product(*order)]
MOVED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.14, 0, 0), [2, 10, -20])


@pytest.fixture
def lesion(brain):
    truth = np.zeros(brain.shape, np.uint8)
    truth[3:6, 4:9, 2:5] = 1
    truth[8, 5, 6] = 1
    return truth


def stored_as(codes, array, affine):
    """An array turned to run along these axes, by nibabel."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    image = nib.Nifti1Image(array, affine).as_reoriented(turn)
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("codes", CODES)
def test_a_mask_in_any_of_48_orders_is_the_mask(save, brain, lesion, oblique, codes):
    scan = read_scan(save(brain, oblique))
    path = save(*stored_as(codes, lesion, oblique), name=f"{codes}.nii.gz")
    mask = read_mask(path, like=scan)
    np.testing.assert_array_equal(mask.data, lesion)
    np.testing.assert_array_equal(mask.affine, scan.affine)
    own = "".join(nib.aff2axcodes(oblique))
    assert bool(mask.warnings) == (codes != own)
    if codes != own:
        assert f"stored as {codes}, brought to the order {own}" in mask.warnings[0]


def test_predictions_targets_channels_and_maps_are_brought_over_too(save, brain, lesion, oblique):
    scan = read_scan(save(brain, oblique))
    truth = read_mask(save(lesion, oblique, name="truth.nii.gz"))
    turned = save(*stored_as("SPL", lesion, oblique), name="turned.nii.gz")
    np.testing.assert_array_equal(read_prediction(turned, truth), lesion > 0)
    image = save(*stored_as("SPL", brain, oblique), name="image.nii.gz")
    np.testing.assert_array_equal(read_target(image, scan).data, brain)
    both = LesionImageProcessor(channel_names=("a", "b"), normalization="none")
    with pytest.warns(UserWarning, match="channel b: its voxels are brought|image.nii.gz: its voxels are brought"):
        batch = both({"a": str(scan.path), "b": str(image)}, segmentation_maps=str(turned))
    np.testing.assert_array_equal(batch["pixel_values"][:, 0], batch["pixel_values"][:, 1])
    plain = both({"a": brain, "b": brain}, segmentation_maps=lesion, affine=scan.affine)
    np.testing.assert_array_equal(batch["labels"], plain["labels"])


def test_rounded_affines_are_brought_over_and_shifted_ones_are_not(brain, oblique):
    data, affine = stored_as("PIL", brain, oblique)
    for error in (0, 1e-8, 1e-5, 1e-3):
        moved = bring_onto_grid(data, affine + np.full((4, 4), error) * np.eye(4, k=1), brain.shape, oblique)
        np.testing.assert_array_equal(moved, brain)
    for shift in ([1, 0, 0], [0, 0, 0.2]):
        away = affine @ nib.affines.from_matvec(np.eye(3), shift)
        assert bring_onto_grid(data, away, brain.shape, oblique) is None
    assert bring_onto_grid(data, affine @ np.diag([1, 1, 1.1, 1]), brain.shape, oblique) is None
    assert bring_onto_grid(data[:-1], affine, brain.shape, oblique) is None


def two_forms(save, array, sform, qform, name):
    path = save(array, sform, name=name)
    image = nib.Nifti1Image(array, sform)
    image.set_sform(sform, 2)
    image.set_qform(qform, 1)
    image.to_filename(path)
    return path


def test_a_scan_moved_by_its_sform_alone(save, brain, lesion, oblique):
    """The mask was drawn by the qform: resampling, as was advised, would take the lesion off its place."""
    scan = read_scan(two_forms(save, brain, MOVED @ oblique, oblique, "moved.nii.gz"))
    path = save(lesion, oblique, name="mask.nii.gz")
    with pytest.raises(GridMismatchError) as error:
        read_mask(path, like=scan)
    text = str(error.value)
    assert text.startswith(f"{path}: lies up to")
    assert f"agree by its sform and the qform of {scan.path}" in text
    assert f"copy the header of {scan.path} onto it" in text
    assert "resample_from_to" not in text
    # what is advised makes the pair right
    image = nib.load(path)
    other = nib.load(scan.path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), other.affine, other.header), path)
    np.testing.assert_array_equal(read_mask(path, like=scan).data, lesion)


def test_a_prediction_on_the_moved_header_and_a_truth_that_is_not(save, lesion, oblique):
    prediction = two_forms(save, lesion, MOVED @ oblique, oblique, "prediction.nii.gz")
    truth = read_mask(save(lesion, oblique, name="truth.nii.gz"))
    with pytest.raises(GridMismatchError, match=r"by its qform and the sform of .*truth\.nii\.gz.*copy the header"):
        read_prediction(prediction, truth)


def test_channels_that_differ_by_their_form_only(save, brain, oblique):
    moved = two_forms(save, brain, MOVED @ oblique, oblique, "moved.nii.gz")
    still = save(brain, oblique, name="still.nii.gz")
    with pytest.raises(VolumeError, match=r"moved\.nii\.gz: shape .* and grid differ .*copy the header of"):
        LesionImageProcessor(channel_names=("a", "b"))({"a": str(still), "b": str(moved)})


def test_what_agrees_by_no_form_is_to_be_resampled(save, brain, lesion, oblique):
    scan = read_scan(two_forms(save, brain, MOVED @ oblique, oblique, "moved.nii.gz"))
    path = save(lesion, MOVED @ MOVED @ oblique, name="mask.nii.gz")
    with pytest.raises(GridMismatchError, match=r"lies up to .* mm from .*resample it onto that grid"):
        read_mask(path, like=scan)
