"""IoU of the first stage's boxes, against numbers worked by hand."""

import numpy as np
import pytest

from hf_lesionseg.evaluation.regions import pairwise_iou, region_ious


def test_iou_by_hand():
    boxes = [[0, 0, 4, 4], [10, 10, 12, 12], [5, 5, 5, 9]]
    # 2 x 4 of 16 + 16 - 8; inside the first; nothing; a box turned inside out
    others = [[2, 0, 6, 4], [1, 1, 3, 2], [20, 20, 21, 21], [4, 4, 0, 0]]
    expected = [[8 / 24, 2 / 16, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(pairwise_iou(boxes, others), expected)
    assert pairwise_iou(boxes, []).shape == (3, 0)


def test_each_component_has_its_best_box_of_its_own_slice():
    labels = np.zeros((4, 16, 16), dtype=np.uint8)
    labels[0, 0:4, 0:4] = 1
    labels[0, 8:12, 8:16] = 1
    labels[2, 4:8, 4:8] = 1
    labels[3, 0:3, 0:3] = 1  # 9 pixels: no component
    labels[3, 10:13, 10:13] = labels[3, 13, 13] = 1  # 10, one of them at a corner: a component of 4 x 4
    regions = [
        (0, (0, 0, 4, 8), 0.9),  # half of the first component's
        (0, (0, 0, 4, 5), 0.5),  # 16 of 20, better
        (1, (4, 4, 8, 8), 0.9),  # right for slice 2, but of slice 1
        (3, (0, 0, 3, 3), 0.9),
        (3, (10, 10, 13, 13), 0.9),
    ]
    assert region_ious(labels, regions) == pytest.approx((0.8, 0, 0, 9 / 16))
    assert region_ious(labels, ()) == (0, 0, 0, 0)
    assert region_ious(np.zeros((3, 8, 8)), regions) == ()
