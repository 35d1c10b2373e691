import json

import numpy as np
import pytest

from hf_lesionseg.inference.lesions import find_lesions


def test_lesions_of_known_boxes_by_hand():
    mask = np.zeros((10, 12, 8), dtype=np.uint8)
    mask[1:3, 2:5, 4] = 1  # 6 voxels
    mask[6:9, 7:11, 1:4] = 1  # 36 voxels
    # 2 x 3 x 4 mm voxels, x to the left, origin elsewhere.
    affine = np.array([[-2, 0, 0, 50], [0, 3, 0, -20], [0, 0, 4, 7], [0, 0, 0, 1]], dtype=float)
    lesions, labels = find_lesions(mask, affine, voxel_ml=0.024)

    assert [lesion.id for lesion in lesions] == [1, 2]
    large, small = lesions
    assert (large.n_voxels, small.n_voxels) == (36, 6)
    assert large.volume_ml == pytest.approx(0.864)
    assert (large.box_start, large.box_stop) == ((6, 7, 1), (9, 11, 4))
    assert large.centroid_voxel == pytest.approx((7, 8.5, 2))
    assert large.centroid_mm == pytest.approx((50 - 14, -20 + 25.5, 7 + 8))
    assert small.centroid_mm == pytest.approx((50 - 3, -20 + 9, 7 + 16))
    assert labels[7, 8, 2] == 1
    assert labels[1, 2, 4] == 2
    assert ((labels > 0) == (mask > 0)).all()


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    mask = np.zeros((4, 4, 4))
    mask[1, 1, 1] = mask[2, 2, 2] = 1
    lesions, _ = find_lesions(mask, np.eye(4), 0.001)
    assert [lesion.n_voxels for lesion in lesions] == [2]
    mask[1, 1, 1] = 0
    mask[0, 0, 0] = 1
    assert len(find_lesions(mask, np.eye(4), 0.001)[0]) == 2


def test_centroid_follows_an_oblique_affine():
    mask = np.zeros((5, 5, 5))
    mask[3, 1, 2] = 1
    angle = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = 10, 20, 30
    (lesion,), _ = find_lesions(mask, affine, 0.001)
    expected = (3 * np.cos(angle) - np.sin(angle) + 10, 3 * np.sin(angle) + np.cos(angle) + 20, 32)
    assert lesion.centroid_mm == pytest.approx(expected)


def test_an_empty_mask_has_no_lesion():
    lesions, labels = find_lesions(np.zeros((3, 4, 5)), np.eye(4), 0.001)
    assert lesions == []
    assert labels.shape == (3, 4, 5)


def test_what_a_lesion_writes_is_plain_json():
    mask = np.zeros((3, 3, 3))
    mask[1, 1, 1] = 1
    (lesion,), _ = find_lesions(mask, np.eye(4), 0.001)
    assert json.loads(json.dumps(lesion.to_dict())) == {
        "id": 1,
        "volume_ml": 0.001,
        "n_voxels": 1,
        "centroid_mm": [1, 1, 1],
        "centroid_voxel": [1, 1, 1],
        "box_voxel": {"start": [1, 1, 1], "stop": [2, 2, 2]},
    }
