"""Pancreas-CT in every form that it is kept in, each from DICOM files or NIfTI scans written here."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.pancreas_ct import PancreasCT
from hf_lesionseg.errors import DataError, UsageError

ROWS, COLUMNS, SLICES = 20, 24, 6
NBIA = "manifest-1599750808610/Pancreas-CT/PANCREAS_{0:04d}/11-24-2015-PANCREAS{0:04d}-Pancreas-18957/Pancreas-99667"
DOI = "DOI/PANCREAS_{0:04d}/1.2.826.0.1/1.2.826.0.2"
FLAT = "Pancreas-CT/PANCREAS_{0:04d}"
LABELS = "TCIA_pancreas_labels-02-05-2017"


def abdomen(number):
    """HU (row, column, slice) of an organ in fat in air, and the organ: no flip lies on it."""
    rng = np.random.default_rng(number)
    scan = np.full((ROWS, COLUMNS, SLICES), -1000)
    scan[2:18, 2:22] = rng.integers(-120, -80, (16, 20, SLICES))
    organ = np.zeros(scan.shape, np.uint8)
    organ[3:8, 5 : 12 + number % 4, 0:3] = 1
    organ[4:7, 14:17, 1] = 1
    scan[organ > 0] = rng.integers(80, 111, int(organ.sum()))
    return scan, organ


@pytest.fixture
def write_case(tmp_path, write_slice):
    """Write one case: DICOM in one of the forms, and its label by array index with an affine that is not the scan's."""

    def write(number, form=FLAT, *, z_step=1.5, names="1-{:03d}.dcm", label=lambda organ: organ, **settings):
        scan, organ = abdomen(number)
        folder = tmp_path / form.format(number)
        slope, intercept = settings.get("slope", 1), settings.get("intercept", -1024)
        for k in range(SLICES):
            stored = np.rint((scan[:, :, k] - intercept) / slope)
            # file names run against the slices: only InstanceNumber tells their order
            path = folder / names.format(SLICES - k)
            write_slice(path, stored, k + 1, (-100, -80, 300 + k * z_step), series=f"1.2.{number}", **settings)
        write_label(tmp_path, number, label(organ.transpose(1, 0, 2)))
        return folder, scan, organ

    return write


def write_label(folder, number, data):
    path = folder / LABELS / f"label{number:04d}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, -1, 1, 1])), path)
    return path


def prepare_all(tmp_path, reader=None, **settings):
    settings = {"fractions": {"train": 1}, "progress": False} | settings
    return prepare(reader or PancreasCT(), tmp_path, tmp_path / "out", **settings)


@pytest.mark.parametrize(
    ("form", "names"),
    [(NBIA, "1-{:03d}.dcm"), (DOI, "{:06d}.dcm"), (FLAT, "1-{:03d}.dcm"), (FLAT, "IM{:d}.DCM")],
)
@pytest.mark.parametrize("z_step", [1.5, -1.5])
def test_label_and_scan_meet_in_every_form(write_case, tmp_path, form, names, z_step):
    _, scan, organ = write_case(1, form, names=names, z_step=z_step)
    (case,) = prepare_all(tmp_path).cases
    assert case.id == "PANCREAS_0001"
    check = case.notes["label_check"]
    assert (check["verdict"], check["flip"]) == ("fits", "")
    assert check["overlaps"]["as documented"]["mean_hu"] == pytest.approx(scan[organ > 0].mean(), abs=0.01)

    written = nib.load(tmp_path / "out" / "source" / "PANCREAS_0001" / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), scan.transpose(1, 0, 2))
    np.testing.assert_allclose(
        written.affine, [[-0.7, 0, 0, 100], [0, -0.8, 0, 80], [0, 0, z_step, 300], [0, 0, 0, 1]], atol=1e-4
    )
    truth = case.truth()
    np.testing.assert_array_equal(truth.data, organ.transpose(1, 0, 2))
    np.testing.assert_allclose(truth.affine, written.affine, atol=1e-4)
    # what the network sees: from below to above, and bright under the label
    values, labels = case.planes()[:, 0], case.labels()
    assert (values[labels > 0] * 340 - 100).mean() == pytest.approx(scan[organ > 0].mean(), abs=0.5)
    sums = organ.sum((0, 1))
    np.testing.assert_array_equal(labels.sum((1, 2)), sums if z_step > 0 else sums[::-1])
    # columns of a plane run to the right, rows to the front: DICOM's last row is the back
    np.testing.assert_array_equal(labels[0 if z_step > 0 else -1], organ[::-1, ::-1, 0])


def test_converted_scans(tmp_path):
    for number, suffix in ((1, ".nii.gz"), (2, ".nii")):
        scan, organ = abdomen(number)
        path = tmp_path / "data" / f"PANCREAS_{number:04d}{suffix}"
        path.parent.mkdir(exist_ok=True)
        affine = np.diag([-0.7, 0.8, 1.5, 1])
        nib.save(nib.Nifti1Image(scan.transpose(1, 0, 2).astype(np.int16), affine), path)
        # converted as dcm2niix does, with y flipped, the second only
        write_label(tmp_path, number, organ.transpose(1, 0, 2)[:, :: -1 if number == 2 else 1])
    first, second = prepare_all(tmp_path).cases
    assert (first.notes["label_check"]["verdict"], first.notes["label_check"]["flip"]) == ("fits", "")
    assert (second.notes["label_check"]["verdict"], second.notes["label_check"]["flip"]) == ("fits when flipped", "y")
    np.testing.assert_array_equal(second.truth().data, abdomen(2)[1].transpose(1, 0, 2))
    np.testing.assert_allclose(second.truth().affine, affine, atol=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(2, -1024), (1, -1000), (0.5, -1024)])
def test_slope_and_intercept_are_applied(write_case, tmp_path, slope, intercept):
    _, scan, organ = write_case(1, slope=slope, intercept=intercept)
    (case,) = prepare_all(tmp_path).cases
    mean = case.notes["label_check"]["overlaps"]["as documented"]["mean_hu"]
    assert mean == pytest.approx(scan[organ > 0].mean(), abs=0.6)  # a slope of 2 rounds


def test_a_flipped_label_is_found_out_and_told(write_case, tmp_path):
    _, _, organ = write_case(1, label=lambda label: label[:, :, ::-1])
    write_case(2)
    dataset = prepare_all(tmp_path)
    check = dataset.cases[0].notes["label_check"]
    assert (check["verdict"], check["flip"]) == ("fits when flipped", "z")
    assert set(check["overlaps"]) == {"as documented", "y", "z", "y and z"}
    np.testing.assert_array_equal(dataset.cases[0].truth().data, organ.transpose(1, 0, 2))
    recorded = json.loads((tmp_path / "out" / "dataset.json").read_text())["cases"]
    assert [case["notes"]["label_check"]["verdict"] for case in recorded] == ["fits when flipped", "fits"]


def test_what_fails_fails_alone(write_case, tmp_path):
    for number in range(1, 7):
        _, _, organ = write_case(number)
    label = organ.transpose(1, 0, 2)
    (tmp_path / FLAT.format(2) / "1-003.dcm").unlink()
    write_label(tmp_path, 3, label[:, :, :-1])
    write_label(tmp_path, 4, np.roll(label, 9, axis=1))
    (tmp_path / FLAT.format(5) / "1-002.dcm").write_bytes(b"no DICOM")
    dataset = prepare_all(tmp_path)
    assert [case.id for case in dataset.cases] == ["PANCREAS_0001", "PANCREAS_0006"]
    reasons = {each["path"]: each["reason"] for each in dataset.rejected}
    assert set(reasons) == {FLAT.format(number) for number in (2, 3, 4, 5)}
    assert "slice 4 (InstanceNumber) is missing" in reasons[FLAT.format(2)]
    assert "label0003.nii.gz: shape (24, 20, 5), but the scan" in reasons[FLAT.format(3)]
    assert "label0004.nii.gz: does not lie on the organ of its scan: mean -" in reasons[FLAT.format(4)]
    assert "1-002.dcm: cannot be read as DICOM" in reasons[FLAT.format(5)]
    assert not (tmp_path / "out" / "source" / "PANCREAS_0004").exists()
    assert not list((tmp_path / "out").rglob(".partial*"))


def test_what_the_names_rule_out(write_case, tmp_path):
    for number in (1, 2, 25):
        write_case(number)
    write_label(tmp_path, 70, np.zeros((2, 2, 2), np.uint8))
    write_label(tmp_path, 8, np.zeros((2, 2, 2), np.uint8))
    (tmp_path / LABELS / "label0002.nii.gz").unlink()
    shutil.copytree(tmp_path / LABELS, tmp_path / "copy" / LABELS)
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), tmp_path / "PANCREAS_0001.nii.gz")
    cases, rejected = PancreasCT().find(tmp_path)
    assert [case.id for case in cases] == ["PANCREAS_0001"]
    assert cases[0].label == tmp_path / LABELS / "label0001.nii.gz"
    withdrawn = "withdrawn in 2020: the same scan as PANCREAS_0002"
    assert [(each.path, each.reason) for each in rejected] == [
        (f"copy/{LABELS}/label0001.nii.gz", "second copy of PANCREAS_0001"),
        ("PANCREAS_0001.nii.gz", "second copy of PANCREAS_0001"),
        (FLAT.format(2), "scan without a label"),
        (f"{LABELS}/label0008.nii.gz", "label without a scan"),
        (f"copy/{LABELS}/label0008.nii.gz", "label without a scan"),
        (FLAT.format(25), withdrawn),
        (f"{LABELS}/label0025.nii.gz", withdrawn),
        (f"copy/{LABELS}/label0025.nii.gz", withdrawn),
        (f"{LABELS}/label0070.nii.gz", withdrawn),
        (f"copy/{LABELS}/label0070.nii.gz", withdrawn),
    ]


def test_of_two_series_the_one_with_the_labels_slices(write_case, write_slice, tmp_path):
    folder, _, _ = write_case(1, NBIA)
    scout = folder.parent / "Scout-1"
    for k in range(2):
        write_slice(scout / f"1-{k}.dcm", np.zeros((4, 4)), k + 1, (0, 0, k), series="9.9")
    (case,) = prepare_all(tmp_path).cases
    assert case.notes["label_check"]["verdict"] == "fits"
    write_label(tmp_path, 1, np.ones((COLUMNS, ROWS, 5), np.uint8))
    with pytest.raises(DataError, match=r"label0001\.nii\.gz: has 5 slices, but the series of PANCREAS_0001 have 6, 2"):
        prepare_all(tmp_path)


def test_a_case_without_foreground_is_prepared(write_case, tmp_path):
    write_case(1, label=np.zeros_like)
    (case,) = prepare_all(tmp_path).cases
    assert (case.lesion_ml, case.notes["label_check"]["verdict"]) == (0, "empty")


def test_a_second_run_converts_nothing_again_but_what_changed(write_case, tmp_path):
    for number in (1, 2):
        write_case(number)
    prepare_all(tmp_path)
    folder = tmp_path / "out" / "source"
    before = {case: (folder / case / "scan.nii.gz").stat().st_mtime_ns for case in ("PANCREAS_0001", "PANCREAS_0002")}
    write_case(2, slope=2)
    with (tmp_path / FLAT.format(2) / "1-001.dcm").open("ab") as file:
        file.write(b"\0" * 8)
    dataset = prepare_all(tmp_path)
    after = {case: (folder / case / "scan.nii.gz").stat().st_mtime_ns for case in before}
    assert after["PANCREAS_0001"] == before["PANCREAS_0001"]
    assert after["PANCREAS_0002"] > before["PANCREAS_0002"]
    slice_file = tmp_path / FLAT.format(1) / "1-001.dcm"
    slice_file.write_bytes(slice_file.read_bytes()[:-2] + b"\1\1")  # of the same size
    prepare_all(tmp_path)
    assert (folder / "PANCREAS_0001" / "scan.nii.gz").stat().st_mtime_ns > after["PANCREAS_0001"]
    wide = prepare_all(tmp_path, PancreasCT(hu_range=(0, 300)))
    assert wide.cases[0].notes["label_check"]["hu_range"] == [0, 300]
    assert dataset.cases[0].notes["label_check"]["hu_range"] == [60, 130]


@pytest.mark.parametrize("name", ["check.json", "label.nii.gz", "scan.nii.gz"])
def test_a_converted_case_that_a_stop_of_the_machine_damaged_is_converted_again(write_case, tmp_path, name):
    write_case(1)
    whole = prepare_all(tmp_path).cases[0].lesion_ml
    (tmp_path / "out" / "source" / "PANCREAS_0001" / name).write_bytes(b"")
    assert prepare_all(tmp_path).cases[0].lesion_ml == whole
    assert (tmp_path / "out" / "source" / "PANCREAS_0001" / name).stat().st_size > 0


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder; give the folder that holds PANCREAS_0001"):
        PancreasCT().find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no scan of Pancreas-CT"):
        PancreasCT().find(tmp_path)
    (tmp_path / "PANCREAS_0001.nii.gz").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"none of its 1 files can be used, PANCREAS_0001\.nii\.gz: scan without a label"
    ):
        prepare_all(tmp_path)


def test_without_pydicom_the_command_is_told(write_case, tmp_path, monkeypatch):
    import sys

    write_case(1)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UsageError, match=r'pip install "hf-lesionseg\[dicom\]"'):
        prepare_all(tmp_path)
