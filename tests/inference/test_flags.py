"""Each flag is raised on a scan that is doubtful by one thing alone, and none on a scan like those of training."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg import LesionImageProcessor
from hf_lesionseg.inference import segment_cases
from hf_lesionseg.inference.flags import _MEASURES, FLAGS, Evidence, find_flags, sentences

SHAPE = (60, 70, 48)


def head(shape=SHAPE):
    """An ellipsoid of 0..100, skull-stripped."""
    places = np.indices(shape)
    middle = np.array(shape) / 2
    inside = sum(((p - m) / (m - 4)) ** 2 for p, m in zip(places, middle, strict=True)) < 1
    return np.where(inside, np.random.default_rng(0).uniform(40, 100, shape), 0).astype(np.float32)


def raised(sizes=(3.0, 3.0, 3.0), *, mask_share=0.0, grid=None, factor=1.0, codes=None, **settings):
    image = nib.Nifti1Image(head() * np.float32(factor), np.diag([*sizes, 1]))
    if codes:
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
        image = image.as_reoriented(turn)
    processor = LesionImageProcessor(**settings)
    geometry = processor(image)["geometry"][0]
    data = np.asarray(image.dataobj)
    mask = np.zeros(data.size, np.uint8)
    mask[np.flatnonzero(data)[: int(mask_share * np.count_nonzero(data))]] = 1
    sizes = nib.affines.voxel_sizes(image.affine)
    scan = SimpleNamespace(
        path="scan.nii.gz", data=data, shape=data.shape, spacing=tuple(sizes), voxel_ml=float(np.prod(sizes)) / 1000
    )
    evidence = Evidence(geometry, scan, mask.reshape(data.shape), processor, SimpleNamespace(training_grid=grid))
    return {each["name"]: each for each in find_flags(evidence)}


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("settings", [{}, {"normalization": "fixed-range"}, {"training_spacing": (3.0, 3.0)}])
@pytest.mark.parametrize("codes", [None, "PIR"])
def test_a_scan_like_those_of_training_raises_none(settings, codes):
    assert raised(grid=(3.0, 3.0, 3.0), mask_share=0.1, codes=codes, **settings) == {}
    assert raised((3.1, 2.9, 4.0), grid=(3.0, 3.0, 3.0), **settings) == {}


def test_every_row_has_its_measure_and_a_name_of_its_own():
    names = [flag.name for flag in FLAGS]
    assert len(set(names)) == len(names)
    assert set(names) == set(_MEASURES)
    assert {flag.severity for flag in FLAGS} == {"note", "warning"}


@pytest.mark.parametrize(
    ("name", "given", "value", "words"),
    [
        ("normalization-fallback", {"normalization": "fixed-range", "factor": 40.0}, 1, "channel t1w"),
        ("planes-resampled", {"sizes": (3.3, 3.3, 3.0), "training_spacing": (3.0, 3.0)}, 1.1, "3.3 x 3.3 mm"),
        ("spacing-far-from-training", {"sizes": (1.0, 1.0, 3.0), "grid": (3.0, 3.0, 3.0)}, 3, "factor of 3"),
        ("spacing-far-from-training", {"sizes": (3.0, 3.0, 6.0), "grid": (3.0, 3.0, 3.0)}, 2, "factor of 2"),
        ("slices-across-gaps", {"sizes": (9.0, 3.0, 3.0)}, 3, "3 x 9 mm"),
        ("tissue-too-small", {"sizes": (0.6, 0.6, 0.6)}, 37.2, "less than any head"),
        ("tissue-too-large", {"sizes": (30.0, 30.0, 30.0)}, 1860, "more than a scanner holds"),
        ("lesion-too-large", {"mask_share": 0.5}, 0.5, "50% of all tissue"),
    ],
)
def test_one_doubt_one_flag(name, given, value, words):
    found = raised(**given)
    assert list(found) == [name]
    assert found[name]["value"] == pytest.approx(value, rel=0.03)
    assert words in found[name]["sentence"]
    assert found[name]["sentence"].startswith("scan.nii.gz: ")
    assert "\n" not in found[name]["sentence"]


def test_a_network_may_know_a_range_of_voxel_sizes():
    ranges = ([0.5, 2.0], [0.5, 2.0], [1.0, 6.0])
    assert "spacing-far-from-training" not in raised((1.0, 1.0, 5.0), grid=ranges)
    found = raised((4.0, 4.0, 3.0), grid=ranges)["spacing-far-from-training"]
    assert found["value"] == pytest.approx(2)
    assert "0.5 to 2 x 0.5 to 2 mm, 1 to 6 mm apart" in found["sentence"]


def test_sagittal_slices_read_axially_whatever_the_order_of_the_file():
    """As 1 mm in the sagittal plane and 9 mm from one to the next: the axial network sees pixels of 1 x 9 mm."""
    for codes in (None, "PIR", "ASL"):
        assert raised((9.0, 1.0, 1.0), codes=codes)["slices-across-gaps"]["value"] == pytest.approx(9)
    assert "slices-across-gaps" not in raised((1.0, 1.0, 9.0))
    assert "slices-across-gaps" not in raised((9.0, 1.0, 1.0), slice_axis="sagittal")


def test_what_the_reader_told_already_is_not_told_twice():
    found = list(raised(normalization="fixed-range", factor=40.0, mask_share=0.6).values())
    assert [each["name"] for each in found] == ["normalization-fallback", "lesion-too-large"]
    assert sentences(found) == [found[1]["sentence"]]


def test_flags_stand_in_record_outcome_and_console(loaded, write_head, tmp_path, capsys):
    import json

    from hf_lesionseg.cli.segment import _tell

    image = nib.load(write_head().path)
    path, out = tmp_path / "small.nii.gz", tmp_path / "out"
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([0.5, 0.5, 0.5, 1])), path)
    (outcome,) = segment_cases([path], loaded, out).outcomes
    assert [flag["name"] for flag in outcome.flags] == ["tissue-too-small"]
    record = json.loads((out / "small_record.json").read_text())
    assert record["flags"] == list(outcome.flags)
    assert outcome.flags[0]["sentence"] in record["warnings"]
    _tell(outcome)
    assert f"warning: small: {path}: the tissue is" in capsys.readouterr().err
