"""What goes out lies exactly where the scan lies, with the scan's own header."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import GridMismatchError, OutputError
from hf_lesionseg.imaging import read_mask, read_scan, write_mask, write_volume

GEOMETRY = ("qform_code", "sform_code", "pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y")
GEOMETRY += ("qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units", "dim", "descrip", "intent_code", "aux_file")
CODES = [
    "".join(codes)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for codes in itertools.product(*order)
]  # fmt: skip


def assert_same_place(written, scan_path, header_bytes):
    assert nib.load(written).affine.tobytes() == nib.load(scan_path).affine.tobytes()
    assert nib.load(written).shape == nib.load(scan_path).shape
    assert header_bytes(written, *GEOMETRY) == header_bytes(scan_path, *GEOMETRY)


def axis_affine(codes):
    """An affine with these axis codes, anisotropic and not centred."""
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), (12, 14, 9))
    return np.array([[0.9, 0, 0, -31.5], [0, 1.2, 0, 20.25], [0, 0, 3.1, -7], [0, 0, 0, 1]]) @ np.linalg.inv(turn)


def test_there_are_48_codes():
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES)
def test_all_axis_codes(save, brain, header_bytes, tmp_path, codes):
    path = save(brain, axis_affine(codes), codes=(1, 2))
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == codes
    scan = read_scan(path)
    mask = scan.data > 80
    written = write_mask(tmp_path / "mask.nii.gz", mask, like=scan)
    assert_same_place(written, path, header_bytes)
    np.testing.assert_array_equal(np.asanyarray(nib.load(written).dataobj), mask)


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2), (4, 1)])
@pytest.mark.parametrize("kind", ["oblique", "left-handed", "sheared", "identity"])
def test_any_affine_and_form_codes(save, brain, oblique, header_bytes, tmp_path, kind, codes):
    affine = oblique
    if kind == "left-handed":
        affine[:3, 1] *= -1
    elif kind == "sheared":
        affine[0, 1] += 0.4
    elif kind == "identity":
        affine = np.eye(4)
    path = save(brain, affine, qform_code=codes[0], sform_code=codes[1])
    scan = read_scan(path)
    assert_same_place(write_mask(tmp_path / "mask.nii.gz", scan.data > 80, like=scan), path, header_bytes)


def test_header_that_nibabel_would_repair_goes_back_untouched(save, brain, header_bytes, tmp_path):
    rows = {"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]}
    odd = {"pixdim": [0.5, -2, 3, 4, 9, 8, 7, 6], "descrip": b"FSL5.0", "xyzt_units": 0}
    path = save(brain, scl_slope=np.nan, sform_code=2, qform_code=0, **rows, **odd)
    scan = read_scan(path)
    assert_same_place(write_mask(tmp_path / "mask.nii.gz", scan.data > 80, like=scan), path, header_bytes)


def test_values_are_described_anew(save, brain, tmp_path):
    stored = (brain * 10).astype(np.int16)
    path = save(stored, scl_slope=0.1, scl_inter=-4, cal_max=900)
    scan = read_scan(path)
    header = nib.load(write_mask(tmp_path / "mask.nii.gz", scan.data > 5, like=scan)).header
    assert header.get_data_dtype() == np.uint8
    assert header["bitpix"] == 8
    assert (header["cal_min"], header["cal_max"]) == (0, 1)
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").get_fdata(), scan.data > 5)


def test_extension_travels_along(tmp_path, brain):
    image = nib.Nifti1Image(brain, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"scanner three"))
    nib.save(image, tmp_path / "scan.nii.gz")
    scan = read_scan(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(scan.data, brain)
    written = nib.load(write_mask(tmp_path / "mask.nii.gz", brain > 50, like=scan))
    assert [entry.get_content().rstrip(b"\0") for entry in written.header.extensions] == [b"scanner three"]
    np.testing.assert_array_equal(written.get_fdata(), brain > 50)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_byte_order_and_version_travel_along(tmp_path, brain, oblique, kind):
    image = kind(brain, oblique, kind.header_class(endianness=">"))
    image.header.set_data_dtype(np.float32)
    nib.save(image, tmp_path / "scan.nii")
    scan = read_scan(tmp_path / "scan.nii")
    for written in (
        nib.load(write_volume(tmp_path / "map.nii", brain / 100, like=scan)),
        nib.load(write_mask(tmp_path / "mask.nii", brain > 50, like=scan)),
    ):
        assert type(written) is kind
        assert written.header.endianness == ">"
        assert written.affine.tobytes() == nib.load(tmp_path / "scan.nii").affine.tobytes()
    np.testing.assert_array_equal(nib.load(tmp_path / "map.nii").get_fdata(dtype=np.float32), brain / np.float32(100))
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").get_fdata(), brain > 50)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Spm99AnalyzeImage])
def test_mask_of_a_pair_is_one_file(save, brain, tmp_path, kind):
    scan = read_scan(save(brain, np.diag([-2.0, 3, 4, 1]), name="pair.img", kind=kind))
    written = nib.load(write_mask(tmp_path / "mask.nii.gz", brain > 50, like=scan))
    assert type(written) is nib.Nifti1Image
    np.testing.assert_allclose(written.affine, scan.affine, atol=1e-5)
    np.testing.assert_array_equal(written.get_fdata(), brain > 50)


def test_single_volume_of_four_axes_comes_back_in_three(save, brain, tmp_path):
    path = save(brain[..., None])
    scan = read_scan(path)
    written = nib.load(write_mask(tmp_path / "mask.nii.gz", scan.data > 50, like=scan))
    assert written.shape == brain.shape
    assert written.affine.tobytes() == nib.load(path).affine.tobytes()


def test_same_mask_same_bytes(save, brain, tmp_path):
    scan = read_scan(save(brain))
    first = write_mask(tmp_path / "first.nii.gz", brain > 50, like=scan).read_bytes()
    assert write_mask(tmp_path / "second.nii.gz", np.asfortranarray(brain > 50), like=scan).read_bytes() == first
    assert first[3:8] == bytes(5)  # no name and no time of writing in the gzip header
    assert gzip.decompress(first)[:4] == (348).to_bytes(4, "little")


def test_round_trip_through_read_mask(save, brain, tmp_path):
    scan = read_scan(save(brain))
    written = write_mask(tmp_path / "new folder" / "маска 1.nii.gz", (brain > 50).astype(np.float32), like=scan)
    np.testing.assert_array_equal(read_mask(written, like=scan).data, brain > 50)


def test_another_shape_is_refused(save, brain, tmp_path):
    scan = read_scan(save(brain))
    with pytest.raises(GridMismatchError, match=r"shape \(14, 12, 9\) on the grid of"):
        write_mask(tmp_path / "mask.nii.gz", brain.transpose(1, 0, 2) > 50, like=scan)
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.parametrize("values", [2.0, 0.5, np.nan, -1.0])
def test_a_mask_is_zero_and_one(save, brain, tmp_path, values):
    scan = read_scan(save(brain))
    with pytest.raises(OutputError, match="give 0 and 1"):
        write_mask(tmp_path / "mask.nii.gz", np.where(brain > 50, values, 0), like=scan)


def test_probabilities_are_no_mask(save, brain, tmp_path):
    """Least 0 and most 1, but between them a mask would hold 0 where the probability is 0.9."""
    scan = read_scan(save(brain))
    with pytest.raises(OutputError, match="give 0 and 1, and nothing between"):
        write_mask(tmp_path / "mask.nii.gz", brain / brain.max(), like=scan)
    assert not (tmp_path / "mask.nii.gz").exists()


def test_other_suffix_is_refused(save, brain, tmp_path):
    scan = read_scan(save(brain))
    with pytest.raises(OutputError, match=r"\.nii or \.nii\.gz"):
        write_mask(tmp_path / "mask.mgz", brain > 50, like=scan)
