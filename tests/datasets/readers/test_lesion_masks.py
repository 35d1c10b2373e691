"""Which masks of a session are its lesion: never one that names something else, never two opinions united."""

import re
from pathlib import Path

import pytest

from hf_lesionseg.datasets.readers.bids import BIDS

SCAN = "sub-01/anat/sub-01_T1w.nii.gz"


@pytest.fixture
def study(tmp_path):
    """Return a function that makes a person's scan and these masks, and reads them."""

    def read(*masks, entities=None, channels=("t1w",), scans=(SCAN,), tables=None, masks_from=None):
        for name in (*scans, *masks):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for name, text in (tables or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        records, rejected = BIDS(entities=entities or {}, masks=masks_from).find(tmp_path, channels)
        if records:
            return [Path(path).relative_to(tmp_path).as_posix() for path in records[0].masks], records[0]
        return rejected[0].reason

    return read


@pytest.mark.parametrize(
    "name",
    [
        "derivatives/hdbet/sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "derivatives/fmriprep/sub-01/anat/sub-01_T1w_brain_mask.nii.gz",
        "derivatives/hd-bet/sub-01/anat/sub-01_mask.nii.gz",
        "derivatives/synthstrip/sub-01/anat/sub-01_T1w_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_label-GM_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_label-thalamus_desc-manual_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-nonlesion_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-lesionFilled_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-perilesion_roi.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-lesionInverted_mask.nii.gz",  # as registration leaves lesions out
        "derivatives/x/sub-01/anat/sub-01_desc-inverseLesion_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_label-brain_desc-strokePatient_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_dseg.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T2w_seg.nii.gz",  # of the spinal cord, by the toolbox of this name
        "derivatives/x/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz",
    ],
)
def test_the_only_mask_is_no_lesion_where_it_names_something_else(study, name):
    reason = study(name)
    assert reason.startswith("no lesion mask in its session"), reason
    # and the option that the reason names makes it one, if that is what it is
    key, _, value = re.search(r"--entity (\w+=\w+)", reason)[1].partition("=")
    assert study(entities={key: value})[0] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/anat/sub-01_T1w_label-lesion_roi.nii.gz",
        "sub-01/anat/sub-01_mask.nii.gz",
        "sub-01/anat/sub-01_desc-manual_mask.nii.gz",
        "derivatives/lesions/sub-01/anat/sub-01_desc-rater1_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_label-L_desc-T1lesion_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_label-WMH_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_desc-tumor_dseg.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w_label-lesion_seg.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w_lesion.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_space-orig_desc-lesion_mask.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_space-T1w_desc-lesion_mask.nii.gz",
    ],
)
def test_what_names_a_lesion_or_nothing_is_taken(study, name):
    assert study(name)[0] == [name]


def test_an_entity_makes_any_mask_the_lesion(study):
    name = "derivatives/x/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    assert study(name, entities={"desc": "brain"})[0] == [name]


TABLE = "index\tname\n0\tbackground\n1\tgrey\n2\twhite\n4\tlesion left\n5\tlesion right\n"
DSEG = "derivatives/x/sub-01/anat/sub-01_dseg.nii.gz"


@pytest.mark.parametrize("place", ["derivatives/x/sub-01/anat/sub-01_dseg.tsv", "derivatives/x/dseg.tsv", "dseg.tsv"])
def test_the_table_of_a_segmentation_tells_which_labels_are_lesion(study, place):
    masks, record = study(DSEG, tables={place: TABLE})
    assert (masks, record.values) == ([DSEG], (4, 5))


@pytest.mark.parametrize(
    "name", ["normal appearing tissue outside lesion", "tissue around the lesion", "healthy, mirrored lesion", "brain"]
)
def test_a_label_is_no_lesion_for_the_word_alone(study, name):
    tables = {"dseg.tsv": f"index\tname\n1\t{name}\n4\tabnormality (stroke)\n"}
    assert study(DSEG, tables=tables)[1].values == (4,)


def test_a_table_without_lesion_speaks_for_itself(study):
    tables = {"derivatives/x/dseg.tsv": "index\tname\n1\tgrey\n2\twhite\n"}
    assert "dseg names grey, white and no lesion" in study(DSEG, tables=tables)
    assert "has no columns index and name" in study(DSEG, tables={"derivatives/x/dseg.tsv": "a\tb\n1\t2\n"})


def test_a_table_of_another_segmentation_is_not_asked(study):
    assert study(DSEG, tables={"derivatives/x/desc-aseg_dseg.tsv": TABLE}).startswith("no lesion mask")


@pytest.mark.parametrize(
    "parts",
    [
        ("sub-01_desc-lesion1_mask", "sub-01_desc-lesion2_mask", "sub-01_desc-lesion3_mask"),
        ("sub-01_label-lesion_mask", "sub-01_label-lesion2_mask"),
        ("sub-01_label-L_mask", "sub-01_label-R_mask"),
        ("sub-01_hemi-L_label-lesion_roi", "sub-01_hemi-R_label-lesion_roi"),
        ("sub-01_desc-lesionLeft_mask", "sub-01_desc-lesionRight_mask"),
    ],
)
def test_parts_are_united(study, parts):
    names = [f"derivatives/x/sub-01/anat/{part}.nii.gz" for part in parts]
    assert study(*names)[0] == sorted(names)


@pytest.mark.parametrize(
    ("opinions", "remedy"),
    [
        (("x/sub-01_label-lesion_desc-rater1_mask", "x/sub-01_label-lesion_desc-rater2_mask"), "--entity desc=rater1"),
        (("x/sub-01_label-lesion_mask", "x/sub-01_label-lesion_desc-auto_mask"), "--entity desc=none"),
        (("x/sub-01_label-lesion_mask", "x/sub-01_label-lesion_roi"), "--entity suffix=mask"),
        (("x/sub-01_desc-T1lesion_mask", "x/sub-01_desc-T2lesion_mask"), "--entity desc=T1lesion"),
        (("x/sub-01_desc-lesionV1_mask", "x/sub-01_desc-lesionV2_mask"), "--entity desc=lesionV1"),
        (("manual/sub-01_label-lesion_mask", "network/sub-01_label-lesion_mask"), "--masks FOLDER"),
        (("x/sub-01_rater-1_label-lesion_mask", "x/sub-01_rater-2_label-lesion_mask"), "--entity rater=1"),
        (("x/sub-01_res-1_label-lesion_mask", "x/sub-01_res-2_label-lesion_mask"), "--entity res=1"),
        (("x/sub-01_label-stroke_mask", "x/sub-01_label-lesion_mask"), "--entity label="),
        (("x/sub-01_T1w_label-lesion_mask", "x/sub-01_FLAIR_label-lesion_mask"), "--entity on=t1w"),
    ],
)
def test_opinions_are_a_choice(study, opinions, remedy):
    names = [
        f"derivatives/{folder}/sub-01/anat/{name}.nii.gz"
        for folder, _, name in (each.partition("/") for each in opinions)
    ]
    scans = (SCAN, "sub-01/anat/sub-01_FLAIR.nii.gz")
    reason = study(*names, scans=scans, channels=("t1w", "flair"))
    assert isinstance(reason, str), reason
    assert remedy in reason
    if remedy.startswith("--entity") and not remedy.endswith("="):
        key, _, value = remedy.removeprefix("--entity ").partition("=")
        masks, _ = study(entities={key: value}, channels=("t1w",))
        assert len(masks) == 1
    if remedy == "--masks FOLDER":
        assert study(masks_from="derivatives/manual")[0] == [names[0]]


def test_an_entity_of_the_masks_does_not_exclude_the_scans(study):
    folder = "derivatives/x/sub-01/anat/sub-01_label-lesion_desc"
    masks, record = study(f"{folder}-rater1_mask.nii.gz", f"{folder}-rater2_mask.nii.gz", entities={"desc": "rater2"})
    assert masks == [f"{folder}-rater2_mask.nii.gz"]
    assert record.images["t1w"].name == "sub-01_T1w.nii.gz"


def test_one_key_may_choose_a_scan_and_a_mask(study):
    scans = (SCAN, "derivatives/prep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    folder = "derivatives/x/sub-01/anat/sub-01_desc"
    names = [f"{folder}-lesionAcute_mask.nii.gz", f"{folder}-lesionOld_mask.nii.gz"]
    masks, record = study(*names, scans=scans, entities={"desc": ("preproc", "lesionOld")})
    assert (masks, record.images["t1w"].name) == (names[1:], "sub-01_desc-preproc_T1w.nii.gz")


def test_the_whole_goes_before_its_parts_and_says_so(study):
    names = [f"derivatives/x/sub-01/anat/sub-01_desc-lesion{part}_mask.nii.gz" for part in ("Acute", "Chronic", "")]
    masks, record = study(*names)
    assert masks == names[2:]
    assert "took desc-lesion_mask of desc-lesionAcute_mask, " in record.notes["mask_choice"]
    assert "--entity desc=lesionAcute" in record.notes["mask_choice"]


def test_a_name_goes_before_a_folder(study):
    own = "derivatives/lesionseg/sub-01/anat/sub-01_T1w_mask.nii.gz"  # what this package writes
    assert study(own)[0] == [own]
    manual = "derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz"
    assert study(manual)[0] == [manual]


def test_probabilities_are_no_mask_and_are_named(study):
    reason = study("sub-01/anat/sub-01_label-lesion_probseg.nii.gz")
    assert "sub-01_label-lesion_probseg.nii.gz is not a BIDS name for a mask, but for probabilities: cut them" in reason


def test_two_forms_of_one_file_are_one(study):
    stem = "derivatives/x/sub-01/anat/sub-01_label-lesion_mask"
    masks, record = study(f"{stem}.nii", f"{stem}.nii.gz", scans=(SCAN, SCAN.removesuffix(".gz")))
    assert (masks, record.images["t1w"].name) == ([f"{stem}.nii.gz"], "sub-01_T1w.nii.gz")


def test_two_forms_of_a_mask_that_names_nothing(study):
    assert study("sub-01/anat/sub-01_mask.nii", "sub-01/anat/sub-01_mask.nii.gz")[0] == [
        "sub-01/anat/sub-01_mask.nii.gz"
    ]


def test_a_lesion_goes_before_other_pathology_and_before_what_names_nothing(study):
    folder = "derivatives/x/sub-01/anat/sub-01_"
    names = [f"{folder}{name}.nii.gz" for name in ("label-WMH_mask", "label-lesion_mask", "mask", "desc-brain_mask")]
    assert study(*names)[0] == names[1:2]
