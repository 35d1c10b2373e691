"""The packaged network on heads that any clone can make: what must not change its masks does not.

Dice below is that of two masks of one head, not with its truth: these tests tell of steadiness, not of quality.
"""

import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

pytest.importorskip("nilearn", reason='made heads need nilearn: pip install "hf-lesionseg[synthetic]"')

from hf_lesionseg.datasets.synthetic.heads.template_heads import make_template_head
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.pipeline import LesionSegmentationPipeline

ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*axes)
]


@pytest.fixture(scope="module")
def segment():
    """The packaged network as a function from an image to its mask."""
    loaded = load_model("stroke-t1w", device="cpu")
    pipeline = LesionSegmentationPipeline(model=loaded.model, image_processor=loaded.processor, device="cpu")
    return lambda image: np.asarray(pipeline(image)["mask"]) > 0


@pytest.fixture(scope="module")
def heads():
    """Two heads with strokes above 20 mL, as float images of 2 mm."""
    found = []
    for index in (3, 8):
        scan, _, affine, record = make_template_head(0, index, minimum_ml=25, maximum_ml=120)
        assert record["lesion_ml"] > 20
        found.append(nib.Nifti1Image(scan.astype(np.float32), affine))
    return found


@pytest.fixture(scope="module")
def masks(segment, heads):
    found = [segment(head) for head in heads]
    assert all(mask.sum() * 8 / 1000 > 5 for mask in found), "the network finds these strokes"
    return found


def dice(first, second):
    return 2 * (first & second).sum() / max(1, first.sum() + second.sum())


def stored_as(image, codes):
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    return image.as_reoriented(turn)


def back(mask, image, like):
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.io_orientation(like.affine))
    return nib.orientations.apply_orientation(mask.astype(np.uint8), turn) > 0


@pytest.mark.parametrize(
    "codes",
    [pytest.param(codes, marks=() if codes in ("LAS", "PIR") else pytest.mark.slow) for codes in ORIENTATIONS],
)
def test_orientation_changes_no_voxel(codes, segment, heads, masks):
    turned = stored_as(heads[0], codes)
    assert nib.aff2axcodes(turned.affine) == tuple(codes)
    np.testing.assert_array_equal(back(segment(turned), turned, heads[0]), masks[0])


@pytest.mark.parametrize("factor", [pytest.param(0.01, marks=pytest.mark.slow), 1000.0])
def test_units_of_intensity_do_not_matter(factor, segment, heads, masks):
    for head, mask in zip(heads, masks, strict=True):
        scaled = nib.Nifti1Image(head.get_fdata(dtype=np.float32) * np.float32(factor), head.affine)
        assert dice(segment(scaled), mask) >= 0.999


@pytest.mark.slow
def test_left_and_right_are_alike(segment, heads, masks):
    for head, mask in zip(heads, masks, strict=True):
        mirrored = nib.Nifti1Image(head.get_fdata(dtype=np.float32)[::-1].copy(), head.affine)
        assert dice(segment(mirrored)[::-1], mask) >= 0.90


@pytest.mark.slow
@pytest.mark.parametrize(("size", "least"), [(0.7, 0.85), (1.0, 0.85), (1.5, 0.85), (3.0, 0.75)])
def test_voxel_size_hardly_matters(size, least, segment, heads, masks):
    for head, mask in zip(heads, masks, strict=True):
        other = nib.processing.resample_to_output(head, (size,) * 3, order=1)
        image = nib.Nifti1Image(segment(other).astype(np.float32), other.affine)
        returned = np.asarray(resample_from_to(image, head, order=1).dataobj) > 0.5
        assert dice(returned, mask) >= least


@pytest.mark.parametrize("scale", [pytest.param(1.01, marks=pytest.mark.slow), 0.95, 1.05])
def test_a_voxel_size_that_is_a_little_wrong_hardly_matters(scale, segment, heads, masks):
    for head, mask in zip(heads, masks, strict=True):
        affine = head.affine.copy()
        affine[:3] *= scale
        assert dice(segment(nib.Nifti1Image(head.get_fdata(dtype=np.float32), affine)), mask) >= 0.95
