"""Every layout of ATLAS, on disk; the finder goes by names, the preparation opens the files."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.readers.atlas import ATLAS
from hf_lesionseg.errors import DataError

SHAPE = (8, 10, 4)
R2 = "space-MNI152NLin2009aSym"


def write_volume(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return path


def scan(path, seed=0):
    return write_volume(path, np.random.default_rng(seed).uniform(10, 90, SHAPE).astype(np.float32))


def mask(path, *voxels, value=1):
    data = np.zeros(SHAPE, np.uint8)
    for voxel in voxels or ((3, 4, 2),):
        data[voxel] = value
    return write_volume(path, data)


def r2_case(folder, person, session="ses-1", lesion=True, suffix=".nii.gz"):
    stem = f"{person}_{session}_{R2}"
    scan(folder / f"{stem}_T1w{suffix}")
    if lesion:
        mask(folder / f"{stem}_label-L_desc-T1lesion_mask{suffix}")


def found(source):
    records, rejected = ATLAS().find(source)
    return {record.id: record for record in records}, {each.path: each.reason for each in rejected}


def test_release_1_1_joins_lesions_and_keeps_time_points_of_a_person(tmp_path):
    base = tmp_path / "ATLAS_R1.1"
    (base / "Site1").mkdir(parents=True)
    (base / "ATLAS_Meta-Data_Release_1.1_standard_mni.csv").write_text("INDI Site ID\n")
    for time_point in ("t01", "t02"):
        folder = base / "Site1" / "031768" / time_point
        scan(folder / "031768_t1w_deface_stx.nii.gz")
        mask(folder / "031768_LesionSmooth_stx.nii.gz")
    mask(base / "Site1/031768/t01/031768_LesionSmooth_1_stx.nii.gz")
    mask(base / "Site1/031768/t01/031768_LesionSmooth_2_stx.nii.gz")
    scan(base / "Site9/032030/t01/032030_t1w_deface_stx.nii")
    mask(base / "Site9/032030/t01/032030_LesionSmooth_stx.nii")
    records, rejected = found(base)
    assert set(records) == {"031768_t01", "031768_t02", "032030_t01"}
    assert not rejected
    assert records["031768_t01"].person == records["031768_t02"].person == "031768"
    assert [len(records[case].masks) for case in sorted(records)] == [3, 1, 1]


def test_release_1_2(tmp_path):
    for time_point in ("t01", "t02"):
        case = f"c0003s0034{time_point}"
        folder = tmp_path / "standard_part1" / "c0003" / case
        scan(folder / f"{case}_t1w_stx.nii.gz")
        mask(folder / f"{case}_LesionSmooth_stx.nii.gz")
        mask(folder / f"{case}_LesionSmooth_1_stx.nii.gz")
    records, rejected = found(tmp_path)
    assert set(records) == {"c0003s0034t01", "c0003s0034t02"}
    assert {record.person for record in records.values()} == {"c0003s0034"}
    assert all(len(record.masks) == 2 for record in records.values())
    assert not rejected


def test_release_2_0_as_distributed(tmp_path):
    base = tmp_path / "ATLAS_2"
    write_volume(base / "MNI152NLin2009aSym.nii.gz", np.ones(SHAPE, np.float32))
    r2_case(base / "Training/R001/sub-r001s001/ses-1/anat", "sub-r001s001")
    r2_case(base / "Training/R001/sub-r001s002/ses-1/anat", "sub-r001s002", suffix=".nii")
    (base / "Training/R001/dataset_description.json").write_text("{}")
    r2_case(base / "Testing/R005/sub-r005s055/ses-1/anat", "sub-r005s055", lesion=False)
    records, rejected = found(base)
    assert set(records) == {"sub-r001s001_ses-1", "sub-r001s002_ses-1"}
    assert records["sub-r001s001_ses-1"].person == "sub-r001s001"
    (path, reason), *others = rejected.items()
    assert path.startswith("Testing/R005/sub-r005s055")
    assert reason == "no lesion mask"
    assert not others


def test_release_2_0_bidsified(tmp_path):
    r2_case(tmp_path / "data/train/derivatives/ATLAS/sub-r001s001/ses-1/anat", "sub-r001s001")
    r2_case(tmp_path / "data/test/derivatives/ATLAS/sub-r005s055/ses-1/anat", "sub-r005s055", lesion=False)
    records, rejected = found(tmp_path)
    assert set(records) == {"sub-r001s001_ses-1"}
    assert list(rejected.values()) == ["no lesion mask"]


def test_release_2_0_flattened_with_masks_beside_or_apart(tmp_path):
    r2_case(tmp_path / "flat", "sub-r001s001")
    r2_case(tmp_path / "flat", "sub-r001s002", session="ses-2")
    assert set(found(tmp_path / "flat")[0]) == {"sub-r001s001_ses-1", "sub-r001s002_ses-2"}

    scan(tmp_path / "apart/images" / f"sub-r001s003_ses-1_{R2}_T1w.nii.gz")
    lesion = mask(tmp_path / "apart/masks" / f"sub-r001s003_ses-1_{R2}_label-L_desc-T1lesion_mask.nii.gz")
    assert found(tmp_path / "apart")[0]["sub-r001s003_ses-1"].masks == (lesion,)


def test_release_2_0_in_two_spaces_takes_the_mask_of_the_scan(tmp_path):
    r2_case(tmp_path, "sub-r001s001")
    for name in ("T1w", "label-L_desc-T1lesion_mask"):
        path = tmp_path / f"sub-r001s001_ses-1_space-orig_{name}.nii.gz"
        (scan if name == "T1w" else mask)(path)
    records, rejected = found(tmp_path)
    record = records["sub-r001s001_ses-1"]
    assert [R2 in path.name for path in (record.images["t1w"], *record.masks)] == [True, True]
    assert list(rejected.values()) == [f"second copy of {record.images['t1w'].name}"]


def test_nnunet(tmp_path):
    for name in ("sub-r001s001_ses-1", "c0003s0034t01", "031768_t02", "ATLAS_007"):
        scan(tmp_path / "Dataset005_ATLAS/imagesTr" / f"{name}_0000.nii.gz")
        mask(tmp_path / "Dataset005_ATLAS/labelsTr" / f"{name}.nii.gz")
    scan(tmp_path / "Dataset005_ATLAS/imagesTs/ATLAS_100_0000.nii.gz")
    mask(tmp_path / "Dataset005_ATLAS/labelsTr/ATLAS_055.nii.gz")
    records, rejected = found(tmp_path)
    people = {case: record.person for case, record in records.items()}
    assert people == {
        "sub-r001s001_ses-1": "sub-r001s001",
        "c0003s0034t01": "c0003s0034",
        "031768_t02": "031768",
        "ATLAS_007": "ATLAS_007",
    }
    assert rejected == {
        "Dataset005_ATLAS/imagesTs/ATLAS_100_0000.nii.gz": "no lesion mask",
        "Dataset005_ATLAS/labelsTr/ATLAS_055.nii.gz": "lesion mask without a T1w scan",
    }


def test_hidden_and_appledouble_files_are_not_there(tmp_path):
    r2_case(tmp_path, "sub-r001s001")
    for path in list(tmp_path.iterdir()):
        (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    scan(tmp_path / "imagesTr" / "ATLAS_1_0000.nii.gz")
    mask(tmp_path / "labelsTr" / "ATLAS_1.nii.gz")
    (tmp_path / "imagesTr" / "._ATLAS_1_0000.nii.gz").write_bytes(b"")
    (tmp_path / "labelsTr" / "._ATLAS_1.nii.gz").write_bytes(b"")
    r2_case(tmp_path / "__MACOSX", "sub-r001s002")
    r2_case(tmp_path / ".Trash", "sub-r001s003")
    records, rejected = found(tmp_path)
    assert set(records) == {"sub-r001s001_ses-1", "ATLAS_1"}
    assert not rejected


def test_a_second_copy_is_rejected_and_its_mask_is_not_joined(tmp_path):
    r2_case(tmp_path / "a", "sub-r001s001")
    r2_case(tmp_path / "a", "sub-r001s001", suffix=".nii")
    r2_case(tmp_path / "b", "sub-r001s001")
    records, rejected = found(tmp_path)
    (record,) = records.values()
    assert len(record.masks) == 1
    assert len(rejected) == 2
    assert all(reason.startswith("second copy of a/") for reason in rejected.values())


def test_linked_folders_are_followed_once(tmp_path):
    r2_case(tmp_path / "store", "sub-r001s001")
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "data").symlink_to(tmp_path / "store")
    (tmp_path / "atlas" / "loop").symlink_to(tmp_path / "atlas")
    assert set(found(tmp_path / "atlas")[0]) == {"sub-r001s001_ses-1"}


def test_folders_without_atlas_name_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"is not a folder; give the unpacked folder"):
        ATLAS().find(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no T1w scan of ATLAS; give the unpacked folder"):
        ATLAS().find(tmp_path)
    write_volume(tmp_path / "brain.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(DataError, match=r"holds no T1w scan of ATLAS"):
        ATLAS().find(tmp_path)
    r2_case(tmp_path / "Testing", "sub-r005s055", lesion=False)
    with pytest.raises(DataError, match=r"none of its 1 scans.*give the Training folder"):
        prepare(ATLAS(), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def atlas_with_broken_cases(tmp_path):
    """Four good people, one of them twice, and five cases with something wrong."""
    base = tmp_path / "ATLAS"
    for person in ("031768", "031769", "031770"):
        folder = base / "Site1" / person / "t01"
        scan(folder / f"{person}_t1w_deface_stx.nii.gz")
        mask(folder / f"{person}_LesionSmooth_stx.nii.gz", (1, 1, 1), (3, 4, 2), value=255)
        mask(folder / f"{person}_LesionSmooth_1_stx.nii.gz", (3, 4, 2), (5, 5, 3))
    folder = base / "Site1/031768/t02"
    scan(folder / "031768_t1w_deface_stx.nii.gz")
    mask(folder / "031768_LesionSmooth_stx.nii.gz")
    r2_case(base / "extra", "sub-r001s004")

    r2_case(base / "broken", "sub-r001s010")
    whole = base / "broken" / f"sub-r001s010_ses-1_{R2}_T1w.nii.gz"
    whole.write_bytes(whole.read_bytes()[:200])
    r2_case(base / "broken", "sub-r001s011")
    write_volume(base / "broken" / f"sub-r001s011_ses-1_{R2}_label-L_desc-T1lesion_mask.nii.gz", np.ones((4, 4, 4)))
    r2_case(base / "broken", "sub-r001s012")
    (base / "broken" / f"sub-r001s012_ses-1_{R2}_T1w.nii.gz").write_bytes(gzip.compress(b"not a volume" * 100))
    r2_case(base / "broken", "sub-r001s013")
    write_volume(base / "broken" / f"sub-r001s013_ses-1_{R2}_T1w.nii.gz", np.zeros(SHAPE, np.float32))
    r2_case(base / "broken", "sub-r001s014", lesion=False)
    return base


def test_broken_cases_are_rejected_and_the_others_prepared(atlas_with_broken_cases, small_processor, tmp_path):
    output = tmp_path / "out"
    dataset = prepare(
        ATLAS(),
        atlas_with_broken_cases,
        output,
        processor=small_processor,
        fractions={"train": 2, "validation": 1, "test": 1},
        progress=False,
    )
    assert [case.id for case in dataset.cases] == [
        "031768_t01",
        "031768_t02",
        "031769_t01",
        "031770_t01",
        "sub-r001s004_ses-1",
    ]
    reasons = {each["path"].split("_")[0]: each["reason"] for each in dataset.rejected}
    assert set(reasons) == {f"broken/sub-r001s01{number}" for number in range(5)}
    assert reasons["broken/sub-r001s014"] == "no lesion mask"
    assert "(4, 4, 4)" in reasons["broken/sub-r001s011"]
    assert all(reason.strip() and "\n" not in reason for reason in reasons.values())
    assert not list((output / "cases").glob(".*"))

    # the union of (1,1,1), (3,4,2) and (3,4,2), (5,5,3), of masks that hold 255 and 1
    truth = dataset.cases[0].truth()
    assert sorted(map(tuple, np.argwhere(truth.data))) == [(1, 1, 1), (3, 4, 2), (5, 5, 3)]
    assert dataset.cases[0].lesion_ml == pytest.approx(0.003)
    assert json.loads((output / "cases/031768_t01/case.json").read_text())["images"] == {
        "t1w": "Site1/031768/t01/031768_t1w_deface_stx.nii.gz"
    }
    assert not PreparedDataset(output).synthetic
    home = [name for name, ids in dataset.splits().items() if "031768_t01" in ids]
    assert home == [name for name, ids in dataset.splits().items() if "031768_t02" in ids]
