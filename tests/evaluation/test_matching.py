"""Which files become which case."""

import re

import pytest

from hf_lesionseg.errors import DataError
from hf_lesionseg.evaluation.matching import (
    TruthCase,
    case_name,
    find_masks,
    find_scans_by_case,
    find_truths,
    is_prepared,
    match_predictions,
    person_name,
)


@pytest.fixture
def touch(tmp_path):
    """Make empty files: matching looks at names only."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("a.nii.gz", "a"),
        ("a.nii", "a"),
        ("a_mask.nii.gz", "a"),
        ("a_lesion_mask.nii.gz", "a"),
        ("a_Truth.NII.GZ", "a"),
        ("a_probability.nii.gz", "a"),
        ("patient 7 ä_mask.nii.gz", "patient 7 ä"),
        ("mask.nii.gz", "mask"),
        ("case.1_mask.nii.gz", "case.1"),
        ("c0003s0034t01_t1w_stx.nii.gz", "c0003s0034t01_t1w_stx"),
        # what `lesionseg segment` writes for an ATLAS R2.0 scan, and ATLAS's own mask
        ("sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w_mask.nii.gz", "sub-r001s001_ses-1"),
        ("sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz", "sub-r001s001_ses-1"),
        # ISLES 2022 and 2024
        ("sub-strokecase0001_ses-0001_msk.nii.gz", "sub-strokecase0001_ses-0001"),
        ("sub-stroke0014_ses-02_space-ncct_lesion-msk.nii.gz", "sub-stroke0014_ses-02"),
        ("sub-01_ses-1_run-2_dwi.nii.gz", "sub-01_ses-1_run-2"),
    ],
)
def test_case_names(name, case):
    assert case_name(f"some_mask/{name}") == case


@pytest.mark.parametrize(
    ("case", "person"),
    [
        ("sub-r001s001_ses-1", "sub-r001s001"),
        ("c0003s0034t01", "c0003s0034"),
        ("c0003s0034t02_t1w_stx", "c0003s0034"),
        ("patient_7", "patient_7"),
    ],
)
def test_people(case, person):
    assert person_name(case) == person


def test_in_a_bids_folder_only_the_masks_are_truths(touch):
    folder = touch(
        "sub-1/ses-1/anat/sub-1_ses-1_space-MNI_T1w.nii.gz",
        "sub-1/ses-1/anat/sub-1_ses-1_space-MNI_label-L_desc-T1lesion_mask.nii.gz",
        "sub-2/ses-1/anat/sub-2_ses-1_space-MNI_T1w.nii.gz",
        "sub-2/ses-1/anat/sub-2_ses-1_space-MNI_label-L_desc-T1lesion_mask.nii.gz",
    )
    found = find_truths(folder)
    assert [(truth.case, truth.person) for truth in found.cases] == [("sub-1_ses-1", "sub-1"), ("sub-2_ses-1", "sub-2")]
    assert all(truth.path.name.endswith("lesion_mask.nii.gz") for truth in found.cases)
    # Left aside, and told so.
    assert [path.name[-10:] for path in found.ignored] == ["T1w.nii.gz"] * 2


def test_of_the_masks_of_a_session_only_the_lesion_is_a_truth(touch):
    folder = touch(
        "sub-1_T1w.nii.gz",
        "sub-1_desc-brain_mask.nii.gz",
        "sub-1_dseg.nii.gz",
        "sub-1_desc-lesionAcute_mask.nii.gz",
        "sub-1_desc-lesion_mask.nii.gz",
        "sub-2_label-GM_mask.nii.gz",
        "sub-3_mask.nii.gz",
    )
    (folder / "dseg.tsv").write_text("index\tname\n1\tgrey\n2\tlesion\n")
    found = find_truths(folder)
    assert {truth.case: truth.path.name for truth in found.cases} == {
        "sub-1": "sub-1_desc-lesion_mask.nii.gz",
        "sub-3": "sub-3_mask.nii.gz",
    }
    assert {"sub-1_desc-brain_mask.nii.gz", "sub-2_label-GM_mask.nii.gz"} <= {path.name for path in found.ignored}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("desc-rater1_label-lesion_mask", "desc-rater2_label-lesion_mask"),
            "not parts of one.*give a folder with one of",
        ),
        (
            ("desc-lesion1_mask", "desc-lesion2_mask"),
            "parts of one lesion; give a folder that `lesionseg prepare` made",
        ),
        (("desc-brain_mask",), "name something other than a lesion"),
    ],
)
def test_truths_that_no_rule_chooses(touch, names, message):
    with pytest.raises(DataError, match=message):
        find_truths(touch(*(f"sub-1/anat/sub-1_{name}.nii.gz" for name in names)))


def test_where_no_name_says_mask_every_scan_is_one(touch):
    masks, ignored = find_masks(touch("a.nii.gz", "deep/b.nii", "notes.txt"))
    assert sorted(masks) == ["a", "b"]
    assert ignored == []


def test_hidden_files_and_finder_litter_are_passed_over(touch):
    folder = touch("a.nii.gz", "._a.nii.gz", ".hidden/a.nii.gz", "__MACOSX/a.nii.gz")
    masks, _ = find_masks(folder)
    assert list(masks.values()) == [folder / "a.nii.gz"]


def test_probabilities_are_taken_when_asked_for(touch):
    folder = touch("a_mask.nii.gz", "a_probability.nii.gz")
    assert find_masks(folder)[0]["a"].name == "a_mask.nii.gz"
    assert find_masks(folder, probabilities=True)[0]["a"].name == "a_probability.nii.gz"


def test_two_files_of_one_case_are_an_error(touch):
    folder = touch("site1/a_mask.nii.gz", "site2/a_mask.nii.gz")
    with pytest.raises(DataError, match=r"site1.a_mask\.nii\.gz and site2.a_mask\.nii\.gz are both case a"):
        find_masks(folder)


@pytest.mark.parametrize("files", [(), ("notes.txt",)])
def test_an_empty_folder_is_an_error(touch, files):
    with pytest.raises(DataError, match="no scan in this folder"):
        find_truths(touch(*files))


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        find_masks(tmp_path / "nowhere")
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(DataError, match="is a file; give a folder of scans"):
        find_masks(tmp_path / "a.nii.gz")


def test_predictions_are_found_by_every_name_of_a_truth(tmp_path):
    truths = [
        TruthCase("c0003s0034t01", "c0003s0034", tmp_path, frozenset({"c0003s0034t01", "c0003s0034t01_t1w_stx"})),
        TruthCase("b", "b", tmp_path, frozenset({"b"})),
    ]
    files = {name: tmp_path / f"{name}_mask.nii.gz" for name in ("c0003s0034t01_t1w_stx", "stranger")}
    matched, strangers = match_predictions(truths, files)
    assert matched == {"c0003s0034t01": tmp_path / "c0003s0034t01_t1w_stx_mask.nii.gz"}
    assert strangers == ["stranger_mask.nii.gz"]


def test_two_predictions_of_one_truth_are_an_error(tmp_path):
    truth = TruthCase("a", "a", tmp_path, frozenset({"a", "a_t1w"}))
    with pytest.raises(DataError, match="both belong to case a"):
        match_predictions([truth], {name: tmp_path / f"{name}.nii.gz" for name in ("a", "a_t1w")})


def test_scans_for_the_background_are_not_masks(touch):
    scans = find_scans_by_case(touch("a_mask.nii.gz", "a.nii.gz", "b_probability.nii.gz"))
    assert {case: path.name for case, path in scans.items()} == {"a": "a.nii.gz"}


def test_an_nnunet_folder_is_not_a_prepared_one(touch):
    assert not is_prepared(touch("dataset.json", "labelsTr/a.nii.gz"))
    assert is_prepared(touch("dataset.json", "cases/a/truth.nii.gz"))


@pytest.mark.parametrize(
    ("predictions", "truths"),
    [
        (["sub-01_run-1_T1w_mask", "sub-01_run-2_T1w_mask"], ["sub-01_run-02_roi", "sub-01_run-01_roi"]),
        (["BraTS-GLI-00001-000"], ["BraTS-GLI-00001-000-seg"]),
        (["case-01-mask", "case-02-mask"], ["case-02-lesion", "case-01-lesion"]),
    ],
)
def test_names_with_hyphens_and_leading_zeros(tmp_path, predictions, truths):
    for folder, names in (("p", predictions), ("t", truths)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.nii.gz").touch()
    matched, strangers = match_predictions(find_truths(tmp_path / "t").cases, find_masks(tmp_path / "p")[0])
    assert len(matched) == len(truths)
    assert not strangers
    assert all(re.findall(r"[1-9]", case)[-1] in path.name for case, path in matched.items())


def test_scans_beside_a_truth_named_by_a_hyphen_are_left_aside(tmp_path):
    for word in ("seg", "t1c", "t1n", "t2f"):
        (tmp_path / f"BraTS-GLI-00001-000-{word}.nii.gz").touch()
    assert [truth.path.name for truth in find_truths(tmp_path).cases] == ["BraTS-GLI-00001-000-seg.nii.gz"]
