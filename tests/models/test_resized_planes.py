"""MS-DCNN's way: whole planes to 160 x 160, and the mask back on the scan's grid by the same affine."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.volume_geometry import SliceGeometry
from hf_lesionseg.training.recipe import load_recipe

# Oblique by some degrees, left to right, anisotropic voxels of 0.9 x 0.8 x 6 mm: a scan as they come.
TURN = np.array([[np.cos(0.1), np.sin(0.1), 0], [-np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = TURN @ np.diag([-0.9, 0.8, 6.0])
AFFINE[:3, 3] = [110, -90, 20]
SHAPE = (256, 240, 3)


def ellipse_mm(affine, shape, centre, radii):
    """Voxels whose world coordinates lie in an ellipse around ``centre``, in the slice nearest to it."""
    voxels = np.stack(np.indices(shape), axis=-1)
    offset = nib.affines.apply_affine(affine, voxels) - centre
    inside = (offset[..., 0] / radii[0]) ** 2 + (offset[..., 1] / radii[1]) ** 2 <= 1
    return inside & (np.abs(offset[..., 2]) < 3)


@pytest.fixture
def truth():
    return ellipse_mm(AFFINE, SHAPE, nib.affines.apply_affine(AFFINE, (150, 100, 1)), (18.0, 26.0))


def processor(**settings):
    return LesionImageProcessor(size={"height": 160, "width": 160}, resize=True, normalization="none", **settings)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_known_ellipse_comes_back_where_it_was(truth):
    scan = nib.Nifti1Image(np.where(truth, 60.0, 30.0).astype(np.float32), AFFINE)
    batch = processor()(scan, return_tensors="np")
    assert batch["pixel_values"].shape == (3, 1, 160, 160)
    (geometry,) = batch["geometry"]
    probability = processor().restore_probability((batch["pixel_values"][:, 0] - 30) / 30, geometry)
    assert probability.shape == SHAPE
    mask = processor(median_filter=3).mask_from_probability(probability, geometry) > 0
    assert dice(mask, truth) > 0.985
    places = [nib.affines.apply_affine(AFFINE, np.argwhere(each).mean(axis=0)) for each in (mask, truth)]
    np.testing.assert_allclose(places[0], places[1], atol=0.1)  # mm, an eighth of a voxel
    assert mask.sum() == pytest.approx(truth.sum(), rel=0.01)


def test_pixels_are_those_of_the_affine(truth):
    """A pixel of the network's plane is 256/160 voxels of the file's, from edge to edge: computed by hand."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.float32)[:, None, None], SHAPE)
    batch = processor()(nib.Nifti1Image(np.ascontiguousarray(ramp), AFFINE), return_tensors="np")
    plane = batch["pixel_values"][0, 0]
    (geometry,) = batch["geometry"]
    assert geometry.plane_spacing == pytest.approx((240 * 0.8 / 160, 256 * 0.9 / 160))
    # columns run from the left of RAS+, which is the end of this file's first axis
    expected = 255 - ((np.arange(160) + 0.5) * 256 / 160 - 0.5)
    np.testing.assert_allclose(plane[80, 3:-3], expected[3:-3], atol=0.07)  # of a kernel on 1.6 pixels: by its phase
    assert np.mean(plane[80, 3:-3] - expected[3:-3]) == pytest.approx(0, abs=2e-3), "no shift"
    np.testing.assert_allclose(plane[3:-3, 80], plane[80, 80], atol=1e-3)
    assert SliceGeometry.from_dict(geometry.to_dict()) == geometry


def test_a_plane_that_is_stretched_is_told(truth):
    """230.4 x 192 mm, by hand, to as many pixels each; a square field of view of other pixels is not stretched."""
    scan = nib.Nifti1Image(truth.astype(np.float32) + 1, AFFINE)
    with pytest.warns(UserWarning, match=r"pixels of 1\.20 x 1\.44 mm .* stretches it by 20 %"):
        processor()(scan)
    square = nib.Nifti1Image(truth[:200].astype(np.float32) + 1, np.diag([0.96, 0.8, 6, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor()(square)


def test_labels_and_logits_take_the_same_way(truth):
    scan = nib.Nifti1Image(np.random.default_rng(0).uniform(1, 90, SHAPE).astype(np.float32), AFFINE)
    batch = processor()(scan, segmentation_maps=nib.Nifti1Image(truth.astype(np.uint8), AFFINE), return_tensors="pt")
    logits = torch.where(batch["labels"][:, None] > 0, 9.0, -9.0)
    (result,) = processor().post_process_segmentation(logits, batch["geometry"])
    assert result["mask"].shape == SHAPE
    assert dice(result["mask"] > 0, truth) > 0.97
    (filtered,) = processor().post_process_segmentation(logits, batch["geometry"], median_filter=5)
    assert dice(filtered["mask"] > 0, truth) > 0.97
    assert (filtered["mask"] != result["mask"]).any()


def test_the_recipe_of_ms_dcnn_resizes_and_filters():
    chosen = LesionImageProcessor(**load_recipe("ms-dcnn-isles2018").processor)
    assert (chosen.resize, chosen.size, chosen.training_spacing) == (True, {"height": 160, "width": 160}, None)
    assert chosen.median_filter == 3
    assert LesionImageProcessor(**load_recipe("egs-net-isles2018").processor).median_filter == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": True}, "needs size"),
        ({"resize": 1, "size": {"height": 16, "width": 16}}, "give true or false"),
        (
            {"resize": True, "size": {"height": 16, "width": 16}, "training_spacing": (1, 1)},
            "excludes training_spacing",
        ),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"resize=.*{message}"):
        LesionImageProcessor(**settings)
