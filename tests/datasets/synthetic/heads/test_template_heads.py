"""Heads around nilearn's template: whole, the same for the same numbers, and prepared like any other data."""

import json

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg import LesionImageProcessor
from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.synthetic.heads.template_heads import SCANNERS, TemplateHeads, make_template_head
from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.training.recipe import load_recipe

SHARES = {"train": 1, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def processor():
    return LesionImageProcessor(**load_recipe("clci-net-heads-finetune").processor)


@pytest.fixture(scope="module")
def head():
    return make_template_head(0, 1, minimum_ml=20)


def at(head, point):
    """Median brightness around a point of the template's space, relative to white matter."""
    scan, _, affine, _ = head
    voxel = np.rint(np.linalg.inv(affine)[:3] @ [*point, 1]).astype(int)
    near = tuple(slice(max(0, i - 1), i + 2) for i in voxel)
    return float(np.median(scan[near])) / 800


def test_it_is_a_head_and_not_a_brain(head):
    scan, _truth, affine, _ = head
    assert nib.aff2axcodes(affine) == ("R", "A", "S")
    assert scan.dtype == np.int16
    assert (scan[:, :, -3:] == 0).all(), "air above"
    assert (scan[:, :, 2] > 0).mean() > 0.1, "a neck below"
    assert at(head, (0, 30, 110)) == 0
    profile = scan[scan.shape[0] // 2, scan.shape[1] // 2, ::-1] / 800  # from above: air, scalp, skull, brain
    (inside,) = np.nonzero(profile > 0.9)
    scalp = inside[0]
    assert profile[scalp : scalp + 8].min() < 0.35, "the skull is dark"
    assert at(head, (33, 66, -36)) < 0.4, "an eye"
    assert at(head, (0, 95, 30)) == 0, "nothing before the forehead"
    assert at(head, (0, 90, -48)) > 0.2, "a nose"


def test_the_stroke_lies_in_the_brain_and_is_darker(head):
    scan, truth, _affine, record = head
    assert truth.shape == scan.shape
    assert record["lesion_ml"] == pytest.approx(truth.sum() * 0.008)
    assert record["lesion_ml"] >= 20
    mirrored = truth[::-1] > 0
    assert np.median(scan[truth > 0]) < 0.9 * np.median(scan[mirrored & (truth == 0)])


def test_the_same_numbers_give_the_same_bytes(head):
    scan, truth, _affine, record = make_template_head(0, 1, minimum_ml=20)
    assert scan.tobytes() == head[0].tobytes()
    assert truth.tobytes() == head[1].tobytes()
    assert record == head[3]
    assert make_template_head(0, 2, minimum_ml=20)[0].tobytes() != scan.tobytes()


def test_a_low_field_scanner_is_flat_noisy_and_thick(head):
    scan, truth, affine, _record = make_template_head(0, 1, minimum_ml=20, scanner="low-field")
    assert set(SCANNERS) == {"ordinary", "low-field"}
    assert affine[2, 2] == 6
    assert truth.sum() * 0.024 == pytest.approx(head[3]["lesion_ml"], rel=0.05), "the same stroke"
    corner = scan[:8, :8, -3:] / 800
    assert 0.05 < corner.mean() < 0.2, "noise in air"
    first, wide = (np.array([0, 0, 0, 1]) @ each.T for each in (head[2], affine))
    assert wide[2] - first[2] == pytest.approx(2.0), "the first slice's centre lies two voxels of 2 mm further up"


def test_an_unknown_scanner_is_refused():
    with pytest.raises(UsageError, match="scanner 'mri' is unknown; use ordinary or low-field"):
        make_template_head(0, 0, scanner="mri")


def test_prepared_with_splits_and_only_with_its_own_settings(tmp_path, processor):
    dataset = prepare(
        TemplateHeads(count=3, scanner="low-field"), None, tmp_path / "heads", processor=processor, fractions=SHARES
    )
    assert dataset.synthetic
    assert dataset.num_channels == 3
    assert {name: len(ids) for name, ids in dataset.splits().items()} == dict.fromkeys(SHARES, 1)
    source = tmp_path / "heads" / "source"
    assert json.loads((source / "dataset_description.json").read_text())["Synthetic"] is True
    (case,) = dataset.select("test")
    assert case.notes["scanner"] == "low-field"
    with pytest.raises(DataError, match="other settings"):
        prepare(
            TemplateHeads(count=3, scanner="low-field", seed=1),
            None,
            tmp_path / "heads",
            processor=processor,
            fractions=SHARES,
        )
    with pytest.raises(UsageError, match="scanner"):
        prepare(TemplateHeads(count=3, scanner="pet"), None, tmp_path / "others", processor=processor, fractions=SHARES)
