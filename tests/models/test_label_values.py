"""What the values of masks, label maps and probabilities are taken for."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.models.label_values import as_labels, check_probabilities, in_words, read_labels
from hf_lesionseg.models.volume_geometry import VolumeError

SHAPE = (12, 10, 8)


def label_map(*labels, dtype=np.float32):
    """A map with a slab of two planes, 160 voxels, for each label."""
    data = np.zeros((2 * len(labels) + 2, 10, 8), dtype)
    for number, label in enumerate(labels):
        data[2 * number + 1 : 2 * number + 3] = label
    return data


@pytest.mark.parametrize("stored", [np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("labels", [(1, 2, 3, 7), (1, 2, 11), (2, 9, 24)])
def test_labels_survive_a_slope_and_an_intercept(tmp_path, stored, labels):
    """nibabel gives float data under an integer header a slope, and then reads 1.99997 or 2.004 for 2."""
    data = label_map(*labels)
    image = nib.Nifti1Image(data, np.eye(4))
    image.header.set_data_dtype(stored)
    nib.save(image, tmp_path / "labels.nii")
    read = nib.load(tmp_path / "labels.nii").get_fdata().astype(np.float32)
    if stored is not np.int32:
        assert not np.isin(2, read), "the file is no example of a slope"
    reading = read_labels(read, "labels.nii", values=(2,))
    np.testing.assert_array_equal(reading.mask, data == 2)
    assert reading.labels == dict.fromkeys(labels, 160)
    assert reading.notes == ()
    everything = read_labels(read, "labels.nii")
    np.testing.assert_array_equal(everything.mask, data > 0)


def test_background_that_an_intercept_made_a_trace_above_zero_is_background():
    data = label_map(1, 2) + np.float32(3e-7)
    reading = read_labels(data, "a.nii")
    np.testing.assert_array_equal(reading.mask, label_map(1, 2) > 0)
    assert reading.labels == {1: 160, 2: 160}
    assert not read_labels(np.full(SHAPE, 3e-7, np.float32), "a.nii").mask.any()


@pytest.mark.parametrize("mark", [1, 255, 254.99999994, 0.999, 0.5, 1 / 255, 1.5, 3, 14000])
def test_a_single_value_marks_the_lesion_whatever_it_is(mark):
    reading = read_labels(label_map(mark), "a.nii")
    assert reading.mask.sum() == 160
    assert reading.notes == ()
    np.testing.assert_array_equal(read_labels(label_map(-1, mark), "a.nii").mask, label_map(-1, mark) > 0)


def test_a_mask_of_255_in_signed_bytes_is_refused_and_no_empty_mask():
    data = label_map(1).astype(np.uint8) * 255
    with pytest.raises(VolumeError, match=r"a.nii: holds -1 \(160 voxels\) and nothing above 0"):
        read_labels(data.view(np.int8), "a.nii")
    with pytest.raises(VolumeError, match="-2 and -1"):
        read_labels(label_map(-1, -2), "a.nii")
    assert not read_labels(np.full(SHAPE, -3e-7, np.float32), "a.nii").mask.any()
    assert read_labels(data.view(np.int8), "a.nii", values=(1,)).notes == (
        "a.nii: label 1 occurs in no voxel; the mask holds -1",
    )


def test_masks_of_atlas_r1_are_read_as_they_always_were():
    """Its files hold 1, 254 and 255 beside each other, and as float64 with a slope: 0.9999999997671694."""
    data = label_map(0.9999999997671694, 1.9999999995343387, 252.99999994109385, 253.99999994, 254.9999999406282)
    reading = read_labels(data.astype(np.float32), "a.nii")
    np.testing.assert_array_equal(reading.mask, data > 0)
    assert reading.notes == ("a.nii: labels 1, 2, 253, 254 and 255 count as one",)


def test_labels_that_count_as_one_are_told_and_the_asked_for_is_taken_alone():
    data = label_map(1, 2, 5)
    reading = read_labels(data, "a.nii")
    assert reading.labels == {1: 160, 2: 160, 5: 160}
    assert reading.notes == ("a.nii: labels 1, 2 and 5 count as one",)
    chosen = read_labels(data, "a.nii", values=(1, 5))
    np.testing.assert_array_equal(chosen.mask, (data == 1) | (data == 5))
    assert chosen.notes == ()


def test_a_label_that_occurs_in_no_voxel_is_told():
    reading = read_labels(label_map(1, 2), "a.nii", values=(4,))
    assert not reading.mask.any()
    assert reading.notes == ("a.nii: label 4 occurs in no voxel; the mask holds 1 and 2",)
    assert read_labels(label_map(), "a.nii", values=(4, 5)).notes == (
        "a.nii: label 4 or 5 occurs in no voxel; the mask is empty",
    )


@pytest.mark.parametrize("fraction", [1.5, 0.5, 1.9, 2.1, 0.1])
def test_what_is_no_whole_number_is_no_label(fraction):
    data = label_map(1, 2)
    data[0, 0, :3] = fraction
    for options in ({"values": (2,)}, {"table": {1: "a", 2: "b"}}):
        with pytest.raises(VolumeError, match=rf"a\.nii: holds {fraction} \(3 voxels\), which is not a label.*order=0"):
            read_labels(data, "a.nii", **options)


def test_a_label_that_the_table_does_not_have_is_refused():
    table = {0: "background", 1: "pancreas", 2: "cancer"}
    assert read_labels(label_map(1, 2), "a.nii", table=table).mask.sum() == 320
    with pytest.raises(VolumeError, match=r"holds label 5 \(160 voxels\).*0 background, 1 pancreas, 2 cancer"):
        read_labels(label_map(1, 5), "a.nii", table=table)
    assert read_labels(label_map(1, 5), "a.nii", values=(5,), table=table).mask.sum() == 160


def scan(seed=0, dtype=np.float32, low=0, high=1000):
    return np.random.default_rng(seed).uniform(low, high, SHAPE).astype(dtype)


@pytest.mark.parametrize(
    "data",
    [
        scan(),
        scan(dtype=np.int16),
        scan(dtype=np.int16, low=-1000),
        scan(dtype=np.uint8, high=255),
        scan(low=-9, high=-1),
    ],
    ids=["float", "int16", "hounsfield", "uint8", "logits"],
)
@pytest.mark.parametrize("options", [{}, {"values": (2,)}, {"table": {1: "a"}}], ids=["mask", "label", "table"])
def test_an_image_is_no_mask(data, options):
    with pytest.raises(
        VolumeError, match=r"a\.nii: looks like an image, not a mask \(.* different values from"
    ) as error:
        read_labels(data.astype(np.float32), "a.nii", **options)
    assert "\n" not in str(error.value)


def test_a_few_grey_values_are_an_image_too_where_neighbours_differ():
    with pytest.raises(VolumeError, match="looks like an image"):
        read_labels(np.random.default_rng(0).integers(0, 16, SHAPE).astype(np.float32), "a.nii")


def test_probabilities_are_no_mask():
    blurred = np.clip(np.add.outer(np.linspace(-1, 1, 12), np.linspace(-1, 1, 80)), 0, 1).astype(np.float32)
    with pytest.raises(VolumeError, match=r"looks like probabilities, not a mask.*threshold, for example 0\.5"):
        read_labels(blurred, "a.nii")
    with pytest.raises(VolumeError, match=r"looks like an image, not a mask.*probabilities at a threshold"):
        read_labels(np.rint(blurred * 255), "a.nii")


def test_numbered_lesions_count_as_one_and_too_many_labels_are_refused():
    reading = read_labels(label_map(*range(1, 31)), "a.nii")
    assert reading.mask.sum() == 30 * 160
    assert reading.notes == ("a.nii: labels 1, 2, 3, 4, 5, 6 and 24 more count as one",)
    parcellation = label_map(*range(1, 113))
    with pytest.raises(
        VolumeError, match=r"112 different values from 1 to 112.*choose one of many labels with --label"
    ):
        read_labels(parcellation, "a.nii")
    assert read_labels(parcellation, "a.nii", values=(17,)).mask.sum() == 160


def test_fractions_of_a_few_kinds_count_with_a_warning():
    reading = read_labels(label_map(0.25, 0.75, 1), "a.nii")
    assert reading.mask.sum() == 480
    assert reading.warnings == ("a.nii: 160 voxels between 0 and 0.5 count as lesion; was this mask interpolated?",)
    assert read_labels(label_map(0.75, 1), "a.nii").warnings[0].startswith("a.nii: the values 0.75 and 1 count as one")


@pytest.mark.parametrize(
    ("values", "labels"), [((2, 5), (2, 5)), (["2"], (2,)), ((3.0, 3), (3,)), ([np.int64(4)], (4,))]
)
def test_label_values_are_whole_numbers(values, labels):
    assert as_labels(values) == labels


@pytest.mark.parametrize("values", [(1.9,), ("two",), (None,), (True,), (float("nan"),), (0,), ("0",), ()])
def test_other_label_values_are_refused(values):
    with pytest.raises(VolumeError, match="give the value of a label"):
        as_labels(values)


@pytest.mark.parametrize("highest", [1, 0.2, 0, 1.004])
def test_probabilities_pass(highest):
    check_probabilities(np.array([0, highest]), "p.nii")


@pytest.mark.parametrize(
    ("values", "remedy"),
    [((0, 255), "divide by 255"), ((0, 99.5), "divide by 100"), ((-4, 5), "sigmoid"), ((0, 900), "sigmoid")],
)
def test_what_cannot_be_probabilities_is_refused(values, remedy):
    with pytest.raises(VolumeError, match=rf"p\.nii: values from {values[0]} to {values[1]} cannot be prob.*{remedy}"):
        check_probabilities(np.array(values, np.float32), "p.nii")


def test_lists_in_sentences():
    assert in_words([]) == ""
    assert in_words([7]) == "7"
    assert in_words([1, 2], "or") == "1 or 2"
    assert in_words(range(7)) == "0, 1, 2, 3, 4, 5 and 6"
    assert in_words(range(8)) == "0, 1, 2, 3, 4, 5 and 2 more"
