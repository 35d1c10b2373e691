"""ISLES 2022 and 2024 in every layout that they are kept in, as small trees of real files."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.isles2022 import ISLES2022
from hf_lesionseg.datasets.readers.isles2024 import ISLES2024
from hf_lesionseg.errors import DataError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

AFFINE, NATIVE = np.diag([2.0, 2, 2, 1]), np.diag([0.5, 0.5, 5, 1])
PLAIN = {"train": 1}


def write(path, shape=(16, 18, 4), affine=AFFINE, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(len(path.name)).uniform(1, 100, shape).astype(np.float32)
    if mask:
        data = np.zeros(shape, np.uint8)
        data[4:8, 5:9, 1] = 1
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_2022(root, number, layout, skip=()):
    sub, ses = f"sub-strokecase{number:04d}", "ses-0001"
    stem = f"{sub}_{ses}"
    places = {
        "zenodo": {"dwi": f"{sub}/{ses}/dwi/{stem}_dwi", "adc": f"{sub}/{ses}/dwi/{stem}_adc",
                   "flair": f"{sub}/{ses}/anat/{stem}_FLAIR"},
        "github": {kind: f"rawdata/{sub}/{ses}/{stem}_{kind}" for kind in ("dwi", "adc", "flair")},
    }[layout]  # fmt: skip
    for kind in set(places) - set(skip):
        grid = ((40, 44, 3), NATIVE) if kind == "flair" else ((16, 18, 4), AFFINE)
        write(root / f"{places[kind]}.nii.gz", *grid)
    if "msk" not in skip:
        write(root / "derivatives" / sub / ses / f"{stem}_msk.nii.gz", mask=True)


def write_2024(root, sub, layout, *, maps=("tmax", "cbf", "cbv", "mtt")):
    """The forms of the README (``raw``: nothing on the CT's grid but the mask) and of the derivatives."""
    first, second = ("ses-0001", "ses-0002") if "case" in sub else ("ses-01", "ses-02")
    raw, derived = root / ("raw_data" if "case" in sub else "rawdata") / sub, root / "derivatives" / sub
    write(raw / first / f"{sub}_{first}_ncct.nii.gz")
    write(raw / first / f"{sub}_{first}_ctp.nii.gz", (8, 9, 2, 3), NATIVE)
    for kind in ("dwi", "adc"):
        write(raw / second / f"{sub}_{second}_{kind}.nii.gz", (30, 32, 3), NATIVE)
    native = ((16, 18, 4), AFFINE) if layout == "raw" else ((8, 9, 2), NATIVE)
    for kind in maps:
        write(raw / first / "perfusion-maps" / f"{sub}_{first}_{kind}.nii.gz", *native)
        if layout == "derivatives":
            write(derived / first / "perfusion-maps" / f"{sub}_{first}_space-ncct_{kind}.nii.gz")
    space = "_space-ncct" if layout == "derivatives" else ""
    write(derived / second / f"{sub}_{second}{space}_lesion-msk.nii.gz", mask=True)


@pytest.mark.parametrize("layout", ["zenodo", "github"])
def test_2022_as_on_zenodo_and_as_on_github(tmp_path, layout):
    root = tmp_path / "ISLES-2022"
    for number in (1, 9):
        write_2022(root, number, layout)
    (root / "derivatives" / "._sub-strokecase0001_ses-0001_msk.nii.gz").write_bytes(b"AppleDouble")
    records, rejected = ISLES2022().find(root, ("dwi", "adc", "flair"))
    assert rejected == []
    assert [(record.id, record.person) for record in records] == [
        ("sub-strokecase0001_ses-0001", "sub-strokecase0001"),
        ("sub-strokecase0009_ses-0001", "sub-strokecase0009"),
    ]
    assert set(records[0].images) == {"dwi", "adc", "flair"}
    dataset = prepare(ISLES2022(), root, tmp_path / "out", fractions=PLAIN, progress=False)
    assert (dataset.channel_names, dataset.cases[0].shape) == (("dwi", "adc"), (4, 2, 18, 16))
    assert dataset.cases[0].lesion_ml == pytest.approx(16 * 0.008)


def test_2022_flair_on_its_own_grid_is_told(tmp_path):
    write_2022(tmp_path / "in", 1, "github")
    processor = LesionImageProcessor(channel_names=("dwi", "adc", "flair"))
    with pytest.raises(DataError, match=r"flair.*register and resample all channels of a case onto one grid"):
        prepare(ISLES2022(), tmp_path / "in", tmp_path / "out", processor=processor, progress=False)


def test_2022_what_cannot_be_used_is_named_and_the_others_go_on(tmp_path):
    root = tmp_path / "in"
    for number in range(1, 6):
        write_2022(root, number, "github", skip={2: ("adc",), 3: ("msk",)}.get(number, ()))
    write(root / "derivatives" / "sub-strokecase0004" / "ses-0001" / "sub-strokecase0004_ses-0001_msk.nii.gz",
          (16, 18, 5), mask=True)  # fmt: skip
    write(root / "copy" / "sub-strokecase0005_ses-0001_dwi.nii.gz")
    write_2024(root, "sub-stroke0014", "derivatives")
    dataset = prepare(ISLES2022(), root, tmp_path / "out", fractions=PLAIN, progress=False)
    assert [case.id[:18] for case in dataset.cases] == ["sub-strokecase0001", "sub-strokecase0005"]
    reasons = {each["path"].rpartition("/")[2][:18]: each["reason"] for each in dataset.rejected}
    assert reasons["sub-strokecase0002"] == "has no adc; the processor asks for dwi, adc"
    assert reasons["sub-strokecase0003"] == "no lesion mask"
    assert "shape (16, 18, 5), but" in reasons["sub-strokecase0004"]
    assert reasons["sub-strokecase0005"] == "second copy of copy/sub-strokecase0005_ses-0001_dwi.nii.gz"
    assert "is named as in ISLES 2024: use `lesionseg prepare isles2024`" in reasons["sub-stroke0014_ses"]


@pytest.mark.parametrize("layout", ["raw", "derivatives"])
@pytest.mark.parametrize("sub", ["sub-stroke0014", "sub-strokecase0001"])
def test_2024_as_in_the_readme_and_on_the_ct(tmp_path, layout, sub):
    root = tmp_path / "in"
    write_2024(root, sub, layout)
    (record,), rejected = ISLES2024().find(root)
    assert rejected == []
    assert (record.id, record.person) == (sub, sub)
    assert set(record.images) == {"tmax", "cbf", "cbv", "mtt", "ncct", "ctp", "dwi", "adc"}
    wanted = "space-ncct" if layout == "derivatives" else "rawdata" if "case" not in sub else "raw_data"
    assert all(wanted in str(record.images[kind]) for kind in ("tmax", "cbf", "cbv", "mtt"))
    dataset = prepare(ISLES2024(), root, tmp_path / "out", fractions=PLAIN, progress=False)
    assert (dataset.channel_names, dataset.cases[0].shape) == (("tmax", "cbf", "cbv", "mtt"), (4, 4, 18, 16))
    assert dataset.cases[0].lesion_ml == pytest.approx(16 * 0.008)


def test_2024_the_mask_on_the_ct_is_taken(tmp_path):
    """Case 0142 came with a stray mask in native space, not compressed."""
    root = tmp_path / "in"
    write_2024(root, "sub-stroke0142", "derivatives")
    folder = root / "derivatives" / "sub-stroke0142" / "ses-02"
    write(folder / "sub-stroke0142_ses-02_lesion-msk.nii", (30, 32, 3), NATIVE, mask=True)
    native = write(folder / "sub-stroke0142_ses-02_lesion-msk.nii.gz", (30, 32, 3), NATIVE, mask=True)
    (record,), rejected = ISLES2024().find(root)
    assert (record.masks[0].name, rejected) == ("sub-stroke0142_ses-02_space-ncct_lesion-msk.nii.gz", [])
    # Also where neither name tells the space.
    record.masks[0].rename(native)
    (record,), _ = ISLES2024().find(root)
    assert record.masks[0].name == "sub-stroke0142_ses-02_lesion-msk.nii.gz"


def test_2024_what_cannot_be_used_is_named_and_the_others_go_on(tmp_path):
    root = tmp_path / "in"
    write_2024(root, "sub-stroke0001", "derivatives")
    write_2024(root, "sub-stroke0002", "derivatives", maps=("tmax", "cbv", "mtt"))
    write_2024(root, "sub-stroke0003", "derivatives")
    write(
        root / "derivatives/sub-stroke0003/ses-01/perfusion-maps/sub-stroke0003_ses-01_space-ncct_mtt.nii.gz", (9, 9, 4)
    )
    write_2022(root, 7, "github")
    dataset = prepare(ISLES2024(), root, tmp_path / "out", fractions=PLAIN, progress=False)
    assert [case.id for case in dataset.cases] == ["sub-stroke0001"]
    reasons = {each["path"].rpartition("/")[2].split("_")[0]: each["reason"] for each in dataset.rejected}
    assert reasons["sub-stroke0002"] == "has no cbf; the processor asks for tmax, cbf, cbv, mtt"
    assert "grid differ" in reasons["sub-stroke0003"]
    assert "is named as in ISLES 2022: use `lesionseg prepare isles2022`" in reasons["sub-strokecase0007"]


@pytest.mark.parametrize("find", [ISLES2022().find, ISLES2024().find])
def test_other_folders_are_refused(tmp_path, find):
    with pytest.raises(DataError, match="is not a folder; give the unpacked folder"):
        find(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no case of ISLES 202[24]; give the unpacked folder"):
        find(tmp_path)
    write(tmp_path / "case_1" / "SMIR.Brain.XX.O.CT_CBF.345562.nii")
    with pytest.raises(DataError, match="named as in ISLES 2018: use `lesionseg prepare isles2018`"):
        find(tmp_path)


def test_each_reader_knows_the_other_one(tmp_path):
    write_2022(tmp_path / "2022", 1, "github")
    write_2024(tmp_path / "2024", "sub-stroke0014", "raw")
    with pytest.raises(DataError, match="isles2022"):
        ISLES2024().find(tmp_path / "2022")
    with pytest.raises(DataError, match="isles2024"):
        ISLES2022().find(tmp_path / "2024")
