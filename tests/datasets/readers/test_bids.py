"""BIDS data sets as people keep them: derivatives, sessions, spaces, several masks, several runs."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers.bids import BIDS
from hf_lesionseg.errors import DataError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_masks_in_derivatives_and_beside_the_scans(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_label-lesion_mask.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-lesion2_roi.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-lesion1_roi.nii.gz",
        "derivatives/manual/sub-01/ses-2/anat/sub-01_ses-2_desc-brain_mask.nii.gz",
        "sub-02/anat/sub-02_T1w.nii",
        "sub-02/anat/sub-02_label-L_mask.nii.gz",
        "sub-03/anat/sub-03_T1w.nii.gz",
        "sub-03/anat/sub-03_mask.nii.gz",  # names no lesion, but is the only one
        "sub-03/anat/._sub-03_T1w.nii.gz",
        "sub-04/anat/sub-04_T1w.nii.gz",
        "derivatives/manual/sub-05/anat/sub-05_label-lesion_mask.nii.gz",
    )
    records, rejected = BIDS().find(tmp_path)
    assert [(record.id, record.person) for record in records] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02", "sub-02"),
        ("sub-03", "sub-03"),
    ]
    assert [path.name for path in records[1].masks] == [
        "sub-01_ses-2_desc-lesion1_roi.nii.gz",
        "sub-01_ses-2_desc-lesion2_roi.nii.gz",
    ]
    assert [(case.path, case.reason.partition(" (")[0]) for case in rejected] == [
        ("sub-04/anat/sub-04_T1w.nii.gz", "no lesion mask in its session"),
        (
            "derivatives/manual/sub-05/anat/sub-05_label-lesion_mask.nii.gz",
            "mask without a scan of these channels",
        ),
    ]


def test_a_mask_goes_with_the_scan_in_its_space(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/prep/sub-01/anat/sub-01_space-MNI_T1w.nii.gz",
        "derivatives/prep/sub-01/anat/sub-01_space-MNI_label-lesion_mask.nii.gz",
    )
    records, _ = BIDS().find(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_space-MNI_T1w.nii.gz"
    touch(tmp_path, "derivatives/prep/sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    _, rejected = BIDS().find(tmp_path)
    assert "several spaces (MNI, None" in rejected[0].reason
    records, _ = BIDS(entities={"space": "MNI"}).find(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_space-MNI_T1w.nii.gz"
    records, _ = BIDS(entities={"space": "none"}).find(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_T1w.nii.gz"


def test_several_runs_are_a_choice(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_run-1_T1w.nii.gz",
        "sub-01/anat/sub-01_run-2_T1w.nii.gz",
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
    )
    _, rejected = BIDS().find(tmp_path)
    assert "has several t1w scans" in rejected[0].reason
    assert "run=1" in rejected[0].reason
    records, _ = BIDS(entities={"run": "2"}).find(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_run-2_T1w.nii.gz"


@pytest.mark.parametrize(
    ("channel", "scans", "mask", "expected"),
    [
        # ARC
        (
            "t2w",
            ("acq-spc3p2_run-4_T2w", "acq-tse_run-5_T2w", "acq-tfl3p2_run-3_T1w"),
            "acq-spc3p2_run-4_T2w_desc-lesion_mask",
            "acq-spc3p2_run-4_T2w",
        ),
        # SOOP
        ("dwi", ("rec-TRACE_dwi", "rec-ADC_dwi"), "space-TRACE_desc-lesion_mask", "rec-TRACE_dwi"),
        # fMRIPrep
        ("t1w", ("T1w",), "T1w_label-lesion_roi", "T1w"),
        ("t1w", ("T1w", "space-MNI_T1w"), "space-T1w_label-lesion_mask", "T1w"),
        ("t1w", ("T1w", "space-MNI_T1w"), "space-orig_label-lesion_mask", "T1w"),
        ("t1w", ("T1w", "space-MNI_T1w"), "space-MNI_label-lesion_mask", "space-MNI_T1w"),
        ("flair", ("FLAIR", "space-T1w_FLAIR"), "space-T1w_label-lesion_mask", "space-T1w_FLAIR"),
        ("flair", ("FLAIR", "space-T1w_FLAIR"), "T1w_label-lesion_mask", "space-T1w_FLAIR"),
        ("t1w", ("run-01_T1w", "run-02_T1w"), "run-2_label-lesion_mask", "run-02_T1w"),
        ("t1w", ("acq-a_T1w",), "label-lesion_mask", "acq-a_T1w"),
        ("t1w", ("acq-spc_T1w",), "acq-tse_T2w_label-lesion_mask", "acq-spc_T1w"),
    ],
)
def test_the_scan_of_a_mask(tmp_path, channel, scans, mask, expected):
    touch(tmp_path, *(f"sub-01/anat/sub-01_{scan}.nii.gz" for scan in scans))
    touch(tmp_path, f"derivatives/lesion_masks/sub-01/anat/sub-01_{mask}.nii.gz")
    records, rejected = BIDS().find(tmp_path, (channel,))
    assert records, rejected
    assert records[0].images[channel].name == f"sub-01_{expected}.nii.gz"


def test_scans_registered_to_the_mask_go_before_those_that_were_not(tmp_path):
    touch(tmp_path, *(f"sub-01/anat/sub-01_{scan}.nii.gz" for scan in ("T1w", "FLAIR", "space-T1w_FLAIR")))
    touch(tmp_path, "sub-01/anat/sub-01_space-T1w_label-lesion_mask.nii.gz")
    records, _ = BIDS().find(tmp_path, ("t1w", "flair"))
    names = [path.name for path in records[0].images.values()]
    assert names == ["sub-01_T1w.nii.gz", "sub-01_space-T1w_FLAIR.nii.gz"]


@pytest.mark.parametrize(
    ("scans", "mask", "reason"),
    [
        (("run-2_T1w",), "run-1_label-lesion_mask", "its lesion mask belongs to run-1, which has no t1w scan"),
        (("T1w",), "space-MNI_label-lesion_mask", "has no t1w scan in the space of its mask (MNI); found: T1w"),
        (("T1w",), "space-FLAIR_label-lesion_mask", "has no t1w scan in the space of its mask (FLAIR)"),
        (("acq-a_T1w", "acq-b_T1w"), "label-lesion_mask", "--entity acq=a or --entity acq=b"),
    ],
)
def test_a_mask_without_its_scan(tmp_path, scans, mask, reason):
    touch(tmp_path, *(f"sub-01/anat/sub-01_{scan}.nii.gz" for scan in scans))
    touch(tmp_path, f"sub-01/anat/sub-01_{mask}.nii.gz")
    records, rejected = BIDS().find(tmp_path)
    assert records == []
    assert reason in rejected[0].reason


def test_a_raw_scan_beside_its_derivative(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        "derivatives/lesions/sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "derivatives/fmriprep/sub-02/anat/sub-02_desc-preproc_T1w.nii.gz",
        "derivatives/fmriprep/sub-02/anat/sub-02_label-lesion_roi.nii.gz",
    )
    records, _ = BIDS().find(tmp_path)
    assert [record.images["t1w"].name for record in records] == ["sub-01_T1w.nii.gz", "sub-02_desc-preproc_T1w.nii.gz"]
    records, _ = BIDS(entities={"desc": "preproc"}).find(tmp_path)
    assert {record.images["t1w"].name for record in records} == {
        "sub-01_desc-preproc_T1w.nii.gz",
        "sub-02_desc-preproc_T1w.nii.gz",
    }


def test_an_entity_of_one_channel_does_not_exclude_the_other(tmp_path):
    for name in ("acq-a_T1w", "acq-b_T1w", "FLAIR", "label-lesion_mask"):
        touch(tmp_path, f"sub-01/anat/sub-01_{name}.nii.gz")
    records, _ = BIDS(entities={"acq": "b"}).find(tmp_path, ("t1w", "flair"))
    names = [path.name for path in records[0].images.values()]
    assert names == ["sub-01_acq-b_T1w.nii.gz", "sub-01_FLAIR.nii.gz"]


def test_what_lies_in_sourcedata_is_the_last_choice(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sourcedata/raw/sub-01/anat/sub-01_T1w.nii.gz",
        "sourcedata/raw/sub-02/anat/sub-02_T1w.nii.gz",
        *(f"sub-0{n}/anat/sub-0{n}_label-lesion_mask.nii.gz" for n in (1, 2)),
    )
    records, _ = BIDS().find(tmp_path)
    assert [path.images["t1w"].relative_to(tmp_path).parts[0] for path in records] == ["sub-01", "sourcedata"]


def test_the_grid_of_a_mask_is_that_of_its_scan(tmp_path):
    for n in (1, 2):
        touch(tmp_path, *(f"sub-01_space-MNI_res-{n}_{kind}.nii" for kind in ("T1w", "label-lesion_mask")))
    records, rejected = BIDS().find(tmp_path)
    assert "--entity res=1 or --entity res=2" in rejected[0].reason
    records, _ = BIDS(entities={"res": "2"}).find(tmp_path)
    assert records[0].images["t1w"].name == "sub-01_space-MNI_res-2_T1w.nii"


def test_one_session_that_only_the_scan_or_only_the_mask_names(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_ses-1_label-lesion_mask.nii.gz",
        "sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz",
        "sub-03/ses-2/anat/sub-03_ses-2_T1w.nii.gz",
        "sub-03/anat/sub-03_label-lesion_mask.nii.gz",  # of which of the two?
    )
    records, rejected = BIDS().find(tmp_path)
    assert [record.id for record in records] == ["sub-01_ses-1", "sub-02_ses-1"]
    assert len(rejected) == 3


def test_near_misses_are_named_and_what_there_is_instead(tmp_path):
    touch(tmp_path, "sub_01_T1w.nii.gz", "sub-02/anat/sub-02_FLAIR.nii.gz", "sub-03/anat/sub-03_T2w.nii.gz")
    with pytest.raises(
        DataError, match=r"1 FLAIR, 1 T2w: choose with --channels flair.*sub_01_T1w\.nii\.gz does not follow BIDS"
    ):
        BIDS().find(tmp_path)
    (tmp_path / "sub_01_T1w.nii.gz").rename(tmp_path / "x.nii.gz")
    touch(tmp_path, "sub-01/anat/T1w.nii.gz")
    with pytest.raises(DataError, match=r"sub-01/anat/T1w\.nii\.gz does not follow BIDS"):
        BIDS().find(tmp_path)
    touch(tmp_path, "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/anat/sub-02_T1w_label-lesion.nii.gz")
    _, rejected = BIDS().find(tmp_path)
    assert "sub-02_T1w_label-lesion.nii.gz is not a BIDS name for a mask" in rejected[0].reason


def test_a_name_of_a_person_that_is_cut_in_two_is_named(tmp_path):
    touch(tmp_path, "sub-A_1/anat/sub-A_1_T1w.nii.gz")
    with pytest.raises(DataError, match=r"sub-A_1_T1w\.nii\.gz does not follow BIDS") as error:
        BIDS().find(tmp_path)
    assert "--channels" not in str(error.value)


def test_an_entity_that_nothing_has(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    with pytest.raises(DataError, match="no scan or mask has label=stroke; found: label=lesion"):
        BIDS(entities={"label": "stroke"}).find(tmp_path)
    with pytest.raises(DataError, match="no scan or mask has run=1; found: no run at all"):
        BIDS(entities={"run": "1"}).find(tmp_path)
    with pytest.raises(DataError, match="nowhere: is not a folder of masks"):
        BIDS(masks="nowhere").find(tmp_path)


def test_all_channels_are_wanted(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-01/dwi/sub-01_dwi.nii.gz",
        "sub-01/dwi/sub-01_label-lesion_mask.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "sub-02/anat/sub-02_label-lesion_mask.nii.gz",
    )
    records, rejected = BIDS().find(tmp_path, ("flair", "dwi"))
    assert {channel: path.name for channel, path in records[0].images.items()} == {
        "flair": "sub-01_FLAIR.nii.gz",
        "dwi": "sub-01_dwi.nii.gz",
    }
    assert rejected[0].reason == "has no dwi scan"


def test_what_is_no_bids(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        BIDS().find(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no BIDS scan named like sub-01_\*?_?t1w\.nii\.gz"):
        BIDS().find(tmp_path)
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    with pytest.raises(DataError, match=r"none of its 1 sessions can be used, .*no lesion mask"):
        prepare(BIDS(), tmp_path, tmp_path / "out")


def test_prepared_by_person(tmp_path):
    generator = np.random.default_rng(0)
    for person in range(1, 5):
        for session in (1, 2):
            folder = tmp_path / "study" / f"sub-{person:02d}" / f"ses-{session}" / "anat"
            folder.mkdir(parents=True)
            scan = generator.uniform(10, 60, (20, 18, 4)).astype(np.float32)
            lesion = np.zeros(scan.shape, np.uint8)
            lesion[4 : 8 + person, 3:8, 1:3] = 1
            stem = folder / f"sub-{person:02d}_ses-{session}"
            nib.save(nib.Nifti1Image(scan, np.eye(4)), f"{stem}_T1w.nii.gz")
            nib.save(nib.Nifti1Image(lesion, np.eye(4)), f"{stem}_label-lesion_mask.nii.gz")
    (tmp_path / "study" / "dataset_description.json").write_text('{"Name": "My study", "License": "CC0"}')
    dataset = prepare(BIDS(), tmp_path / "study", tmp_path / "out", progress=False)
    assert (dataset.name, dataset.licence, len(dataset.cases)) == ("My study", "CC0", 8)
    for split in dataset.splits():
        people = [case.person for case in dataset.select(split)]
        assert len(people) == 2 * len(set(people))  # both sessions of each
    (tmp_path / "study" / "dataset_description.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset_description\.json: cannot be read"):
        prepare(BIDS(), tmp_path / "study", tmp_path / "other")


def test_volumes_of_the_labels_that_a_table_names_and_of_one_rater(tmp_path):
    head = np.random.default_rng(0).uniform(100, 500, (20, 18, 6)).astype(np.float32)
    tissue = np.where(head > 300, 2, 1).astype(np.uint8)
    tissue[4:8, 3:8, 1:3] = 4
    raters = [np.zeros(head.shape, np.uint8) for _ in range(2)]
    raters[0][4:8, 3:8, 1:3] = raters[1][6:11, 3:8, 1:3] = 1
    affine = np.diag([5.0, 5, 5, 1])

    def save(name, data):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), tmp_path / name)

    for person in ("sub-1", "sub-2", "sub-3"):
        for study in ("tissue", "raters"):
            save(f"{study}/{person}/anat/{person}_T1w.nii.gz", head)
        save(f"tissue/derivatives/seg/{person}/anat/{person}_dseg.nii.gz", tissue)
        for number, mask in enumerate(raters, 1):
            stem = f"raters/derivatives/r/{person}/anat/{person}_label-lesion_desc-rater{number}"
            save(f"{stem}_mask.nii.gz", mask)
    (tmp_path / "tissue/dseg.tsv").write_text("index\tname\n1\tgrey\n2\twhite\n4\tlesion\n")
    dataset = prepare(BIDS(), tmp_path / "tissue", tmp_path / "out1", progress=False)
    assert [case.lesion_ml for case in dataset.cases] == pytest.approx([40 * 0.125] * 3)
    with pytest.raises(DataError, match="not parts of one"):
        prepare(BIDS(), tmp_path / "raters", tmp_path / "out2", progress=False)
    dataset = prepare(BIDS(entities={"desc": "rater2"}), tmp_path / "raters", tmp_path / "out2", progress=False)
    assert [case.lesion_ml for case in dataset.cases] == pytest.approx([50 * 0.125] * 3)
