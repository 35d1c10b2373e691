"""ISLES 2018 in the layouts of both releases, as small trees of real files."""

import json
import warnings

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.isles2018 import ISLES2018, LeakageWarning
from hf_lesionseg.errors import DataError
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

SHAPE = (20, 18, 2)
SPACING = (0.9, 0.9, 12.0)
DTYPES = {"CT": np.int32, "CBF": np.uint16, "CBV": np.uint16, "MTT": np.float64, "Tmax": np.float64, "OT": np.uint8}


def volume(kind):
    rng = np.random.default_rng(sum(map(ord, kind)))
    if kind == "OT":
        data = np.zeros(SHAPE, np.uint8)
        data[5:9, 6:10, 0] = 1
        return data
    shape = (*SHAPE, 3) if kind == "4DPWI" else SHAPE
    return rng.uniform(1, 90, shape).astype(DTYPES.get(kind, np.int32))


def write(path, data, trapped=False):
    """Write a volume; ``trapped`` with an identity sform and a NaN slope as the first release has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not trapped:
        nib.save(nib.Nifti1Image(data, np.diag([*SPACING, 1.0])), path)
        return
    header = nib.Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header["pixdim"][1:4] = SPACING
    header.set_sform(np.eye(4), code=2)
    header["pixdim"][1:4] = SPACING
    header["scl_slope"] = np.nan
    header["descrip"] = b"FSL5.0"
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(header.binaryblock + b"\0\0\0\0" + data.tobytes(order="F"))


def write_case(folder, number, *, release=2, patient=None, skip=(), subfolders=True, ending=".nii", trapped=False):
    """One case: ``release`` 1 has the prefix MR and a DWI, 2 the prefix CT and none."""
    prefix = {1: "MR_", 2: "CT_"}[release]
    kinds = ["CT", "4DPWI", "CBF", "CBV", "MTT", "Tmax", *(["DWI"] if release == 1 else []), "OT"]
    for place, kind in enumerate(kinds):
        if kind in skip:
            continue
        name = kind if kind in ("CT", "OT") else prefix + kind
        stem = f"SMIR.Brain.XX.O.{name}.{339203 + 10 * number + place}"
        home = folder / stem if subfolders else folder
        write(home / f"{stem}{ending}", volume(kind), trapped)
        description = f"ISLES 2018 - {name} - {patient}" if patient and kind == "OT" else "nothing"
        (home / f"{stem}.json").write_text(json.dumps({"description": description}))


@pytest.fixture
def source(tmp_path):
    """Five cases of four patients as the later release has them, two without truth, and litter."""
    root = tmp_path / "ISLES2018"
    for number, patient in enumerate(["Train_1", "Train_40_A", "Train_40_B", "Train_7", "Train_9_A"], start=1):
        write_case(root / "TRAINING" / f"case_{number}", number, patient=patient)
    write_case(root / "TESTING" / "case_1", 70, skip=("OT",))
    write_case(root / "TESTING" / "case_2", 71, skip=("OT",))
    (root / "TRAINING" / ".DS_Store").write_bytes(b"Finder")
    litter = root / "__MACOSX" / "TRAINING" / "case_1" / "._SMIR.Brain.XX.O.CT_CBF.1.nii"
    litter.parent.mkdir(parents=True)
    litter.write_bytes(b"AppleDouble")
    return root


def test_cases_maps_and_patients(source):
    records, rejected = ISLES2018().find(source)
    assert [record.id for record in records] == [f"case_{number}" for number in range(1, 6)]
    assert [record.person for record in records] == ["Train_1", "Train_40", "Train_40", "Train_7", "Train_9"]
    first = records[1]
    assert {kind: path.parent.name.split(".")[4] for kind, path in first.images.items()} == {
        "ct": "CT", "ctp": "CT_4DPWI", "cbf": "CT_CBF", "cbv": "CT_CBV", "mtt": "CT_MTT", "tmax": "CT_Tmax",
    }  # fmt: skip
    assert first.masks[0].name.startswith("SMIR.Brain.XX.O.OT.")
    # SMIR takes submissions by the id of the MTT volume.
    assert first.notes == {"mtt_id": first.images["mtt"].name.split(".")[-2], "person_from": "json", "slab": "A"}
    assert [(each.path, each.reason) for each in rejected] == [
        ("TESTING/case_1", "no lesion mask"),
        ("TESTING/case_2", "no lesion mask"),
    ]


@pytest.mark.parametrize("options", [{}, {"subfolders": False}, {"ending": ".nii.gz"}], ids=str)
def test_the_first_release_has_another_prefix_and_a_dwi(tmp_path, options):
    write_case(tmp_path / "TRAINING" / "case_64", 64, release=1, patient="Train_40_A", **options)
    (record,), rejected = ISLES2018().find(tmp_path / "TRAINING", ("tmax", "cbf", "cbv", "mtt", "dwi"))
    assert rejected == []
    assert (record.id, record.person) == ("case_64", "Train_40")
    assert ".MR_DWI." in record.images["dwi"].name
    assert ".MR_4DPWI." in record.images["ctp"].name
    # The folder of the case itself is a source, too.
    ((alone,), _) = ISLES2018().find(tmp_path / "TRAINING" / "case_64")
    assert (alone.id, alone.images) == (record.id, record.images)


def test_prepared_from_headers_that_hide_the_spacing(tmp_path):
    """An identity sform, the voxel size in pixdim only: 16 voxels of 9.72 mm^3 are 0.15552 mL."""
    for number in (1, 2, 3):
        write_case(tmp_path / "in" / f"case_{number}", number, release=1, patient=f"Train_{number}", trapped=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakageWarning)
        dataset = prepare(ISLES2018(), tmp_path / "in", tmp_path / "out", progress=False)
    assert dataset.channel_names == ("tmax", "cbf", "cbv", "mtt")
    case = dataset.cases[0]
    assert case.shape == (2, 4, 18, 20)
    assert case.lesion_ml == pytest.approx(16 * np.prod(SPACING) / 1000, rel=1e-5)
    # The maps in the order asked for: each between its own percentiles.
    tmax = volume("Tmax")[:, :, 0].T
    assert np.corrcoef(case.pixel_values(0)[0].ravel(), tmax.ravel())[0, 1] > 0.99
    record = json.loads((case.folder / "case.json").read_text())
    assert any("the sform is the identity" in warning for warning in record["warnings"])
    assert set(dataset.splits()) == {"train", "validation", "test"}


def test_slabs_of_a_patient_stay_in_one_split(source, tmp_path):
    for seed in range(4):
        dataset = prepare(ISLES2018(), source, tmp_path / f"out{seed}", seed=seed, progress=False)
        homes = {case: name for name, cases in dataset.splits().items() for case in cases}
        assert homes["case_2"] == homes["case_3"]


def test_without_json_cases_count_as_people_and_a_warning_says_so(source, tmp_path):
    for path in source.rglob("*.json"):
        path.unlink()
    records, _ = ISLES2018().find(source)
    assert [record.person for record in records] == [record.id for record in records]
    with pytest.warns(
        LeakageWarning, match=r"patient of 5 cases is unknown \(case_1: SMIR.*OT.*json is missing, \.\.\.\)"
    ):
        prepare(ISLES2018(), source, tmp_path / "out", progress=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"description": 3}', '{"description": "a - b"}', '{"id": 4}'])
def test_a_json_that_does_not_tell_the_patient(source, content):
    next((source / "TRAINING" / "case_4").glob("*OT*/*.json")).write_text(content)
    records, _ = ISLES2018().find(source)
    assert [record.notes["person_from"] for record in records] == ["json", "json", "json", "case", "json"]
    assert records[3].person == "case_4"
    assert records[3].notes["person_unknown"].startswith("SMIR.Brain.XX.O.OT.")


def test_people_from_a_csv_file(source, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("\ufeffCase, Person\ncase_4,Train_1\n5,Train_1\n", encoding="utf-8")
    records, _ = ISLES2018(people=people).find(source)
    assert [record.person for record in records] == ["Train_1", "Train_40", "Train_40", "Train_1", "Train_1"]
    assert [record.notes["person_from"] for record in records] == ["json", "json", "json", "mapping", "mapping"]
    for content, message in (("case;person\n", "names no case"), ("id,who\n1,2\n", "columns case and person"),
                             ("case,person\ncase_1,\n", "'case_1' has no person")):  # fmt: skip
        people.write_text(content)
        with pytest.raises(DataError, match=message):
            ISLES2018(people=people).find(source)
    with pytest.raises(DataError, match=r"absent\.csv: cannot be read"):
        ISLES2018(people=tmp_path / "absent.csv").find(source)


def test_a_csv_file_that_names_one_slab_takes_the_others_along(source, tmp_path):
    """case_2 and case_3 are slabs of Train_40."""
    people = tmp_path / "people.csv"
    people.write_text("case,person\nCASE 2,P1\n")
    records, _ = ISLES2018(people=people).find(source)
    assert [record.person for record in records] == ["Train_1", "P1", "P1", "Train_7", "Train_9"]
    assert all("patient" not in record.notes for record in records)
    people.write_text("case,person\n2,P1\n3,P2\n")
    records, _ = ISLES2018(people=people).find(source)
    assert [record.person for record in records[1:3]] == ["P1", "P2"], "who names all of them may part them"


def test_a_csv_file_that_leaves_it_open_whose_a_slab_is(source, tmp_path):
    write_case(source / "TRAINING" / "case_6", 6, patient="Train_40_C")
    people = tmp_path / "people.csv"
    people.write_text("case,person\n2,P1\n3,P2\n")
    with pytest.raises(DataError, match=r"case_2 is P1 and case_3 is P2, .* both are Train_40, as case_6 is"):
        ISLES2018(people=people).find(source)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("case_1,P1\ncase_99,P2", r"99 is not a case of this folder, which holds case_\d and \d more"),
        ("Case1,P1\nfoo,P2\nbar,P3", r"bar, foo are not cases of this folder"),
        ("1,P1\ncase_1,P2", r"'case_1' has two people, P1 and P2"),
    ],
)
def test_lines_of_a_csv_file_that_cannot_be_meant(source, tmp_path, lines, message):
    people = tmp_path / "people.csv"
    people.write_text(f"case,person\n{lines}\n")
    with pytest.raises(DataError, match=rf"people\.csv: .*{message}"):
        ISLES2018(people=people).find(source)


def test_what_cannot_be_used_is_named_and_the_others_go_on(source, tmp_path):
    training = source / "TRAINING"
    for path in [*(training / "case_1").glob("*CBF*/*.nii"), *(training / "case_1").glob("*Tmax*/*.nii")]:
        path.unlink()
    write(training / "case_3" / "SMIR.Brain.XX.O.CT_MTT.99" / "SMIR.Brain.XX.O.CT_MTT.99.nii", volume("MTT"))
    write(training / "case_6" / "VSD.Brain.XX.O.MR_ADC.128027.nii", volume("CT"))
    write(training / "case_8" / "sub-strokecase0001_ses-0001_dwi.nii.gz", volume("CT"))
    write(next((training / "case_5").glob("*CBV*/*.nii")), (np.ones((20, 18, 3)) * [1, 2, 3]).astype(np.uint16))
    dataset = prepare(ISLES2018(), training, tmp_path / "out", fractions={"train": 1, "test": 1}, progress=False)
    assert [case.id for case in dataset.cases] == ["case_2", "case_4"]
    reasons = {each["path"].split("/")[0]: each["reason"] for each in dataset.rejected}
    assert reasons["case_1"] == "has no tmax and no cbf; the processor asks for tmax, cbf, cbv, mtt"
    assert reasons["case_3"].endswith("are both its MTT; keep one")
    assert "register and resample all channels of a case onto one grid" in reasons["case_5"]
    assert reasons["case_6"].endswith("is named as in ISLES 2015 to 2017, which no reader knows")
    assert reasons["case_8"].endswith("is named as in ISLES 2022: use `lesionseg prepare isles2022`")


def test_channels_that_the_processor_asks_for(source, tmp_path):
    processor = LesionImageProcessor(channel_names=("mtt", "ct"))
    dataset = prepare(ISLES2018(), source, tmp_path / "out", processor=processor, progress=False)
    assert (dataset.channel_names, dataset.cases[0].shape[1]) == (("mtt", "ct"), 2)
    with pytest.raises(DataError, match="has no channel 't1w'; choose among tmax, cbf"):
        ISLES2018().find(source, ("t1w",))
    records, rejected = ISLES2018().find(source, ("tmax", "dwi"))
    assert records == []
    assert {each.reason for each in rejected} == {"has no dwi; the processor asks for tmax, dwi", "no lesion mask"}


def test_other_folders_are_refused(source, tmp_path):
    with pytest.raises(DataError, match="is not a folder; give the unpacked TRAINING folder"):
        ISLES2018().find(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no case of ISLES 2018; give the unpacked"):
        ISLES2018().find(tmp_path / "ISLES2018" / "__MACOSX")
    write(tmp_path / "other" / "sub-stroke0001_ses-02_lesion-msk.nii.gz", volume("OT"))
    with pytest.raises(DataError, match="named as in ISLES 2024: use `lesionseg prepare isles2024`"):
        ISLES2018().find(tmp_path / "other")
    with pytest.raises(DataError, match=r"none of its 2 cases can be used, case_1: no lesion mask"):
        prepare(ISLES2018(), source / "TESTING", tmp_path / "out", progress=False)


def write_series(path, frames=30):
    """A head of 30 HU in air with a bolus of 60 HU on its way through, 1 s a frame."""
    x, y, _ = np.indices(SHAPE)
    head = ((x - 9.5) / 8) ** 2 + ((y - 8.5) / 7) ** 2 < 1
    time = np.maximum(np.arange(frames) - 6, 0) / 5
    bolus = 60 * time**3 * np.exp(3 * (1 - time))
    noise = np.random.default_rng(0).normal(0, 1, (*SHAPE, frames))
    data = np.where(head[..., None], 30 + bolus + noise, -1000).astype(np.int16)
    image = nib.Nifti1Image(data, np.diag([*SPACING, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1
    nib.save(image, path)


def test_frames_of_the_first_pass_are_made_of_the_series(source, tmp_path):
    """EGS-Net's inputs: eleven frames and two maxima of the 4-D file, and the maps beside it."""
    names = (*(f"ctp_{number:02d}" for number in range(11)), "cbf", "cbv", "mtt", "tmax", "pwimax_o", "pwimax_p")
    training = source / "TRAINING"
    for path in training.glob("case_*/*4DPWI*/*.nii"):
        write_series(path)
    write(next((training / "case_4").glob("*4DPWI*/*.nii")), volume("4DPWI"))  # three frames
    next((training / "case_5").glob("*4DPWI*/*.nii")).unlink()
    processor = LesionImageProcessor(channel_names=names, normalization="none")
    dataset = prepare(
        ISLES2018(), training, tmp_path / "out", processor=processor, fractions={"train": 1}, progress=False
    )
    assert [case.id for case in dataset.cases] == ["case_1", "case_2", "case_3"]
    reasons = {each["path"].split("/")[0]: each["reason"] for each in dataset.rejected}
    assert "3 frames" in reasons["case_4"]
    assert reasons["case_5"].startswith("has no ctp; the processor asks for ctp_00")
    pixels = dataset.cases[0].pixel_values(0)
    middle = pixels[:11, 9, 10]
    assert 80 < middle.max() < 95, "30 HU and a bolus of 60"
    assert np.argmax(middle) not in (0, 10)
    np.testing.assert_allclose(pixels[15, 9, 10], 90, atol=4)  # the maximum over all frames
    np.testing.assert_allclose(pixels[11], volume("CBF")[:, :, 0].T)
    np.testing.assert_allclose(pixels[14], volume("Tmax")[:, :, 0].T, rtol=1e-3)


def test_generated_cases_are_marked_synthetic(source, tmp_path):
    files = sorted((source / "TRAINING").glob("case_*/*OT*/*.json"))
    for number, path in enumerate(files):
        if number == 1:
            with pytest.raises(DataError, match="case_1 is generated and others are not"):
                prepare(ISLES2018(), source, tmp_path / "out", progress=False)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"synthetic": True}))
    dataset = prepare(ISLES2018(), source, tmp_path / "out", progress=False)
    assert (dataset.synthetic, dataset.name) == (True, "generated CT perfusion")
    assert {case.person for case in dataset.cases} == {"Train_1", "Train_40", "Train_7", "Train_9"}
