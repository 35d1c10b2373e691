"""What `lesionseg segment` writes is scored by `lesionseg evaluate`, on every layout that `lesionseg prepare` reads."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.readers import atlas, bids, isles2018, isles2022, isles2024, nnunet, pancreas_ct
from hf_lesionseg.evaluation.matching import find_masks, find_truths, match_predictions
from hf_lesionseg.inference.case_input import parse_cases

AFFINE = np.diag([2.0, 2, 4, 1])
PEOPLE = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    generator = np.random.default_rng(0)
    scan = np.zeros((20, 24, 4), np.float32)
    scan[3:17, 3:21] = generator.uniform(40, 90, (14, 18, 4))
    mask = np.zeros(scan.shape, np.uint8)
    mask[6:9, 8:14, 1:3] = 1
    ct = np.full(scan.shape, -1000, np.int16)
    ct[3:17, 3:21] = 40
    ct[6:9, 8:14, 1:3] = 90
    for name, data in (("scan", scan), ("mask", mask), ("ct", ct)):
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def layout(volumes, tmp_path):
    """Return a function that lays out scans and masks by name below ``source``."""

    def lay(scans, masks, kind="scan"):
        for name, volume in (*((name, kind) for name in scans), *((name, "mask") for name in masks)):
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(volumes / f"{volume}.nii.gz", path)
        return tmp_path / "source"

    return lay


def segmented(inputs, folder, *, one_by_one=False):
    """Masks and records of these inputs under the names that `lesionseg segment` gives them."""
    for number, group in enumerate([[each] for each in inputs] if one_by_one else [inputs]):
        out = folder / f"p{number}" if one_by_one else folder
        out.mkdir(parents=True, exist_ok=True)
        for case in parse_cases(group):
            (out / f"{case.stem}_mask.nii.gz").touch()
            files = list(case.channels.values()) or (
                sorted(case.path.rglob("*.nii*")) if case.path.is_dir() else [case.path]
            )
            record = {"inputs": [{"channel": "x", "file": str(file)} for file in files]}
            (out / f"{case.stem}_record.json").write_text(json.dumps(record))
    return folder


def is_scored(predictions, prepared):
    """Whether each truth has its own prediction: that with the person's number in the same place."""
    truths = find_truths(prepared)
    files, _ = find_masks(predictions)
    matched, strangers = match_predictions(truths.cases, files)
    assert strangers == []
    assert sorted(matched) == sorted(truth.case for truth in truths.cases)
    assert len(set(matched.values())) == len(matched)
    return {case: path.relative_to(predictions).as_posix() for case, path in matched.items()}


def settings(**other):
    return {"progress": False, "fractions": {"train": 1}, **other}


def test_atlas_r1_with_two_time_points_of_equal_names(layout, tmp_path):
    places = [(f"03000{n}", time) for n in PEOPLE for time in (("t01", "t02") if n < 3 else ("t01",))]
    folders = [f"Site1/{person}/{time}/{person}" for person, time in places]
    source = layout(
        [f"{each}_t1w_deface_stx.nii.gz" for each in folders], [f"{each}_LesionSmooth_stx.nii.gz" for each in folders]
    )
    prepare(atlas.ATLAS(), source, tmp_path / "prepared", **settings())
    inputs = [f"{source}/{each}_t1w_deface_stx.nii.gz" for each in folders]
    scored = is_scored(segmented(inputs, tmp_path / "out", one_by_one=True), tmp_path / "prepared")
    assert [scored[f"{person}_{time}"].partition("/")[0] for person, time in places] == [
        f"p{n}" for n in range(len(places))
    ]


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        (
            "c3/c0003s003{n}t01/c0003s003{n}t01_t1w_stx.nii.gz",
            "c3/c0003s003{n}t01/c0003s003{n}t01_LesionSmooth_stx.nii.gz",
        ),
        (
            "R001/sub-r1s{n}/ses-1/anat/sub-r1s{n}_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz",
            "R001/sub-r1s{n}/ses-1/anat/sub-r1s{n}_ses-1_space-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz",
        ),
        ("imagesTr/a_{n}_0000.nii.gz", "labelsTr/a_{n}.nii.gz"),
    ],
)  # fmt: skip
def test_atlas(layout, tmp_path, scan, mask):
    source = layout([scan.format(n=n) for n in PEOPLE], [mask.format(n=n) for n in PEOPLE])
    prepare(atlas.ATLAS(), source, tmp_path / "prepared", **settings())
    is_scored(segmented([source / scan.format(n=n) for n in PEOPLE], tmp_path / "out"), tmp_path / "prepared")


@pytest.mark.parametrize(
    ("channel", "scan", "mask"),
    [
        ("t1w", "sub-{n}/anat/sub-{n}_T1w.nii.gz", "derivatives/lesions/sub-{n}/anat/sub-{n}_label-lesion_mask.nii.gz"),
        ("t1w", "sub-{n}/anat/sub-{n}_acq-x_run-1_T1w.nii.gz", "sub-{n}/anat/sub-{n}_T1w_label-lesion_roi.nii.gz"),
        (
            "t1w",
            "sub-1/ses-{n}/anat/sub-1_ses-{n}_T1w.nii.gz",
            "sub-1/ses-{n}/anat/sub-1_ses-{n}_desc-lesion_mask.nii.gz",
        ),
        (
            "t2w",
            "sub-M{n}/ses-1{n}/anat/sub-M{n}_ses-1{n}_acq-spc3p2_run-4_T2w.nii.gz",
            "derivatives/lesion_masks/sub-M{n}/ses-1{n}/anat/sub-M{n}_ses-1{n}_acq-spc3p2_run-4_T2w_desc-lesion_mask.nii.gz",
        ),
        (
            "dwi",
            "sub-{n}/dwi/sub-{n}_rec-TRACE_dwi.nii.gz",
            "derivatives/lesion_masks/sub-{n}/dwi/sub-{n}_space-TRACE_desc-lesion_mask.nii.gz",
        ),
    ],
)
@pytest.mark.parametrize("prepared", [True, False])
def test_bids(layout, tmp_path, channel, scan, mask, prepared):
    source = layout([scan.format(n=n) for n in PEOPLE], [mask.format(n=n) for n in PEOPLE])
    brain = mask.replace("lesion_", "brain_").replace("label-lesion", "label-brain").replace("_T2w", "")
    layout([], [brain.format(n=n) for n in PEOPLE])
    truths = source
    if prepared:
        truths = tmp_path / "prepared"
        one_person = {"fractions": {"train": 1}}
        prepare(bids.BIDS(channels=(channel,)), source, truths, **settings(**one_person))
    scored = is_scored(segmented([source / scan.format(n=n) for n in PEOPLE], tmp_path / "out"), truths)
    assert len(scored) == len(PEOPLE)


def test_bids_of_two_channels(layout, tmp_path):
    scans = [f"sub-{n}/anat/sub-{n}_{kind}.nii.gz" for n in PEOPLE for kind in ("T1w", "FLAIR")]
    source = layout(scans, [f"sub-{n}/anat/sub-{n}_label-lesion_mask.nii.gz" for n in PEOPLE])
    prepare(bids.BIDS(channels=("t1w", "flair")), source, tmp_path / "prepared", **settings())
    pair = "t1w={0}/sub-{1}/anat/sub-{1}_T1w.nii.gz,flair={0}/sub-{1}/anat/sub-{1}_FLAIR.nii.gz"
    inputs = [pair.format(source, n) for n in PEOPLE]
    is_scored(segmented(inputs, tmp_path / "out"), tmp_path / "prepared")
    is_scored(segmented([source / f"sub-{n}" for n in PEOPLE], tmp_path / "folders"), tmp_path / "prepared")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("prepared", [True, False])
def test_nnunet(layout, tmp_path, channels, prepared):
    scans = [f"imagesTr/case_{n:03d}_{channel:04d}.nii.gz" for n in PEOPLE for channel in range(channels)]
    source = layout(scans, [f"labelsTr/case_{n:03d}.nii.gz" for n in PEOPLE])
    truths = source / "labelsTr"
    if prepared:
        truths = tmp_path / "prepared"
        prepare(nnunet.NNUNet(), source, truths, **settings())
    stem = f"{source}/imagesTr/case_{{:03d}}_"
    inputs = [f"a={stem.format(n)}0000.nii.gz,b={stem.format(n)}0001.nii.gz" if channels > 1 else f"{stem.format(n)}0000.nii.gz" for n in PEOPLE]  # fmt: skip  # noqa: E501
    is_scored(segmented(inputs, tmp_path / "out"), truths)


@pytest.mark.parametrize("by_folder", [True, False])
def test_isles2018(layout, tmp_path, by_folder):
    kinds = ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")
    names = {(n, kind): f"case_{n}/SMIR.Brain.XX.O.{kind}.{n}0{i}/SMIR.Brain.XX.O.{kind}.{n}0{i}.nii.gz" for n in PEOPLE for i, kind in enumerate((*kinds, "OT"))}  # fmt: skip  # noqa: E501
    source = layout([names[n, kind] for n in PEOPLE for kind in kinds], [names[n, "OT"] for n in PEOPLE])
    with pytest.warns(isles2018.LeakageWarning):
        prepare(isles2018.ISLES2018(), source, tmp_path / "prepared", **settings())
    inputs = [source / f"case_{n}" for n in PEOPLE]
    if not by_folder:
        inputs = [",".join(f"{kind[3:].lower()}={source / names[n, kind]}" for kind in kinds) for n in PEOPLE]
    is_scored(segmented(inputs, tmp_path / "out", one_by_one=not by_folder), tmp_path / "prepared")


@pytest.mark.parametrize("by_folder", [True, False])
def test_isles2022(layout, tmp_path, by_folder):
    stems = [f"sub-strokecase000{n}/ses-0001/dwi/sub-strokecase000{n}_ses-0001" for n in PEOPLE]
    masks = [f"derivatives/sub-strokecase000{n}/ses-0001/sub-strokecase000{n}_ses-0001_msk.nii.gz" for n in PEOPLE]
    source = layout([f"{stem}_{kind}.nii.gz" for stem in stems for kind in ("dwi", "adc")], masks)
    prepare(isles2022.ISLES2022(), source, tmp_path / "prepared", **settings())
    inputs = [f"dwi={source}/{stem}_dwi.nii.gz,adc={source}/{stem}_adc.nii.gz" for stem in stems]
    if by_folder:
        inputs = [source / f"sub-strokecase000{n}" for n in PEOPLE]
    segmented(inputs, tmp_path / "out")
    is_scored(tmp_path / "out", tmp_path / "prepared")
    is_scored(tmp_path / "out", source / "derivatives")


def test_isles2024(layout, tmp_path):
    kinds = ("tmax", "cbf", "cbv", "mtt")
    home = "derivatives/sub-stroke000{n}/ses-0{s}/sub-stroke000{n}_ses-0{s}_"
    scans = [f"{home.format(n=n, s=1)}space-ncct_{kind}.nii.gz" for n in PEOPLE for kind in kinds]
    source = layout(scans, [f"{home.format(n=n, s=2)}lesion-msk.nii.gz" for n in PEOPLE])
    prepare(isles2024.ISLES2024(), source, tmp_path / "prepared", **settings())
    inputs = [
        ",".join(f"{kind}={source}/{home.format(n=n, s=1)}space-ncct_{kind}.nii.gz" for kind in kinds) for n in PEOPLE
    ]
    segmented(inputs, tmp_path / "out")
    is_scored(tmp_path / "out", tmp_path / "prepared")
    is_scored(tmp_path / "out", source)


def test_pancreas_ct(layout, tmp_path):
    source = layout(
        [f"data/PANCREAS_000{n}.nii.gz" for n in PEOPLE], [f"labels/label000{n}.nii.gz" for n in PEOPLE], "ct"
    )
    prepare(pancreas_ct.PancreasCT(), source, tmp_path / "prepared", **settings())
    is_scored(
        segmented([source / f"data/PANCREAS_000{n}.nii.gz" for n in PEOPLE], tmp_path / "out"), tmp_path / "prepared"
    )


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        ("case0{n}/mask.nii.gz", "case0{n}_mask.nii.gz"),
        ("case0{n}/mask.nii.gz", "case0{n}/flair_mask.nii.gz"),
        ("case0{n}/lesion.nii.gz", "p/case0{n}/scan_mask.nii.gz"),
        ("x/case0{n}/scan_truth.nii.gz", "case0{n}/scan_mask.nii.gz"),
        ("case0{n}.nii.gz", "case0{n}/T1w_mask.nii.gz"),
        ("sub-{n}/ses-1/anat/mask.nii.gz", "sub-{n}_ses-1_T1w_mask.nii.gz"),
        ("sub-{n}/ses-1/anat/lesion.nii.gz", "sub-{n}/ses-1/T1w_mask.nii.gz"),
        ("sub-1/ses-{n}/mask.nii.gz", "sub-1/ses-{n}/anat/flair_mask.nii.gz"),
        ("case0{n}.nii.gz", "case0{n}_0000_mask.nii.gz"),
        ("case0{n}_mask.nii.gz", "case0{n}.nii.gz"),
        ("sub-{n}_label-lesion_mask.nii.gz", "sub-{n}_ses-1_acq-x_T1w_mask.nii.gz"),
    ],
)
@pytest.mark.parametrize("people", [(1,), (1, 2, 3)])
def test_plain_folders(tmp_path, truths, predictions, people):
    touch(tmp_path / "truths", *(truths.format(n=n) for n in people))
    touch(tmp_path / "out", *(predictions.format(n=n) for n in people))
    scored = is_scored(tmp_path / "out", tmp_path / "truths")
    assert [str(n) in path for n, path in zip(people, scored.values(), strict=True)] == [True] * len(people)


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        (("sub-1_ses-1_label-lesion_mask",), ("sub-1_ses-2_T1w_mask",)),  # another day
        (("sub-1_run-1_label-lesion_mask",), ("sub-1_run-2_T1w_mask",)),
        (("sub-1_label-lesion_mask",), ("sub-1_run-1_T1w_mask", "sub-1_run-2_T1w_mask")),  # which of the two?
        (("sub-1_ses-1_label-lesion_mask", "sub-1_ses-2_label-lesion_mask"), ("sub-1_T1w_mask",)),
        (("a",), ("b_mask",)),
        (("scan_0001",), ("scan_0002_mask",)),
    ],
)
def test_what_does_not_belong_together_is_not_paired(tmp_path, truths, predictions):
    touch(tmp_path / "truths", *(f"{name}.nii.gz" for name in truths))
    touch(tmp_path / "out", *(f"{name}.nii.gz" for name in predictions))
    matched, strangers = match_predictions(find_truths(tmp_path / "truths").cases, find_masks(tmp_path / "out")[0])
    assert matched == {}
    assert len(strangers) == len(predictions)
