"""Surface distances against cases worked by hand, distance transforms, and MONAI."""

import math
import time

import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.errors import GridMismatchError
from hf_lesionseg.evaluation.surface import surface_distances, surface_points

SPACING = (0.9, 0.9, 5.0)
AFFINE = np.diag([*SPACING, 1.0])


def blocks(shape=(16, 14, 6)):
    """A true block of 4 x 4 x 2 voxels; predicted one column less along x, and one far voxel."""
    truth, prediction = np.zeros((2, *shape), np.uint8)
    truth[4:8, 4:8, 2:4] = 1
    prediction[4:7, 4:8, 2:4] = 1
    prediction[4, 4, 5] = 255
    return prediction, truth


def by_distance_transform(prediction, truth, spacing):
    """The same definition another way: EDT of the whole volume, float64."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction != 0, truth != 0)]
    there = ndimage.distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]
    back = ndimage.distance_transform_edt(~edges[0], sampling=spacing)[edges[1]]
    pooled = np.concatenate([there, back])
    return max(pooled), max(np.percentile(there, 95), np.percentile(back, 95)), pooled.mean()


def test_worked_by_hand():
    """All voxels of blocks this flat are surface: 25 predicted and 32 true ones."""
    found = surface_distances(*blocks(), AFFINE)
    # The far voxel lies two slices of 5 mm above the block; the missing column one voxel of 0.9 mm beside it.
    assert found.hd_mm == pytest.approx(10)
    assert found.assd_mm == pytest.approx((10 + 8 * 0.9) / (25 + 32))
    # 24 of 25 predicted distances are 0 and one 10: rank 0.95 * 24 = 22.8 is 0; 8 of 32 true ones are 0.9.
    assert found.hd95_mm == pytest.approx(0.9)


def test_the_inside_of_a_lesion_is_no_surface():
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[2:7, 2:7, 2:7] = 1
    assert len(surface_points(mask, np.eye(4))) == 5**3 - 3**3
    # At the border of the scan as anywhere else: a full volume has its faces for a surface.
    assert len(surface_points(np.ones((4, 4, 4), np.uint8), np.eye(4))) == 4**3 - 2**3


def test_surface_of_a_shell_against_itself_filled():
    """Shell and solid share the outer surface; the shell's inner one is 1 to 2 voxels from it."""
    solid = np.zeros((11, 11, 11), np.uint8)
    solid[1:10, 1:10, 1:10] = 1
    shell = solid.copy()
    shell[4:7, 4:7, 4:7] = 0
    found = surface_distances(solid, solid, np.eye(4))
    assert (found.hd_mm, found.hd95_mm, found.assd_mm) == (0, 0, 0)
    # The voxels around the hole that touch it by a face lie at 2 from the outer surface: 3 -> 1.
    assert surface_distances(shell, solid, np.eye(4)).hd_mm == 2.0


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_distance_transforms(seed):
    random = np.random.default_rng(seed)
    noise = random.normal(size=(2, 20, 18, 9))
    prediction, truth = (ndimage.gaussian_filter(each, 1.5) > 0.12 for each in noise)
    found = surface_distances(prediction, truth, AFFINE)
    expected = by_distance_transform(prediction, truth, SPACING)
    assert (found.hd_mm, found.hd95_mm, found.assd_mm) == pytest.approx(expected, rel=1e-12)


def test_agrees_with_monai():
    monai = pytest.importorskip("monai.metrics", reason="the second library is MONAI: pip install monai")
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(7)
    prediction, truth = (ndimage.gaussian_filter(each, 1.5) > 0.1 for each in random.normal(size=(2, 20, 18, 9)))
    found = surface_distances(prediction, truth, AFFINE)
    batch = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": SPACING}
    hd = monai.compute_hausdorff_distance(*batch, **options).item()
    hd95 = monai.compute_hausdorff_distance(*batch, percentile=95, **options).item()
    assd = monai.compute_average_surface_distance(*batch, symmetric=True, **options).item()
    assert (found.hd_mm, found.hd95_mm, found.assd_mm) == pytest.approx((hd, hd95, assd), rel=1e-5)


def test_world_coordinates_whatever_the_axes():
    """Turned, flipped, moved: the same mm. Sheared voxels: the distance of the points, not of the indices."""
    prediction, truth = blocks()
    expected = surface_distances(prediction, truth, AFFINE)
    oblique = np.eye(4)
    oblique[:3, :3] = [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, -1]]
    oblique[:3, 3] = [40, -3, 11]
    turned = surface_distances(prediction, truth, oblique @ AFFINE)
    assert (turned.hd_mm, turned.hd95_mm, turned.assd_mm) == pytest.approx(
        (expected.hd_mm, expected.hd95_mm, expected.assd_mm)
    )
    shear = np.eye(4)
    shear[0, 1] = 1.0  # one step along y is (1, 1, 0) mm
    one, other = np.zeros((2, 3, 5, 1), np.uint8)
    one[0, 0, 0] = other[0, 3, 0] = 1
    assert surface_distances(one, other, shear).hd_mm == pytest.approx(3 * math.sqrt(2))


@pytest.mark.parametrize("empty", [(0,), (1,), (0, 1)])
def test_without_a_surface_there_is_no_distance(empty):
    masks = list(blocks())
    for index in empty:
        masks[index] = np.zeros_like(masks[index])
    found = surface_distances(*masks, AFFINE)
    assert math.isnan(found.hd_mm)
    assert math.isnan(found.hd95_mm)
    assert math.isnan(found.assd_mm)


def test_shapes_and_probabilities_are_refused():
    with pytest.raises(GridMismatchError):
        surface_distances(np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 5), np.uint8), np.eye(4))
    with pytest.raises(TypeError, match="threshold"):
        surface_distances(np.zeros((4, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.eye(4))


def test_a_whole_brain_takes_seconds_not_minutes():
    """A lesion of 180 mL on ATLAS's grid and a prediction with a false alarm far from it: about 0.5 s."""
    shape = (197, 233, 189)
    x, y, z = (axis.astype(np.float32) for axis in np.indices(shape, sparse=True))
    truth = (x - 60) ** 2 + (y - 120) ** 2 + (z - 90) ** 2 < 35**2
    prediction = (x - 65) ** 2 + (y - 118) ** 2 + (z - 90) ** 2 < 36**2
    prediction[185:190, 215:220, 170:175] = True
    start = time.process_time()
    found = surface_distances(prediction, truth, np.eye(4))
    assert time.process_time() - start < 10
    assert found.hd_mm > 100
