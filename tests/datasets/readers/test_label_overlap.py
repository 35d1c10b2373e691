"""Whether a label lies on its organ: phantoms of which the answer is known."""

import numpy as np
import pytest

from hf_lesionseg.datasets.readers.label_overlap import check_label

SHAPE = (40, 36, 12)


def phantom(mean=95.0, noise=20.0, seed=0):
    """An organ in fat, off the centre along all axes; liver-like tissue elsewhere; air around."""
    rng = np.random.default_rng(seed)
    scan = np.full(SHAPE, -1000.0)
    scan[3:37, 3:33] = -100
    scan[4:12, 6:30] = 110  # a liver
    organ = np.zeros(SHAPE, np.uint8)
    organ[16:28, 6:12, 1:4] = 1
    organ[24:30, 8:15, 2:5] = 1
    scan[organ > 0] = mean
    return scan + noise * rng.standard_normal(SHAPE), organ


def test_a_label_that_fits():
    scan, organ = phantom()
    check = check_label(scan, organ)
    assert (check.verdict, check.flip, check.remark) == ("fits", "", "")
    assert check.usable
    found = check.overlaps[""]
    assert found.mean_hu == pytest.approx(scan[organ > 0].mean(), rel=1e-5)
    assert found.soft_tissue == pytest.approx(np.mean((scan[organ > 0] >= 0) & (scan[organ > 0] <= 200)))
    assert found.contrast_hu > 150
    np.testing.assert_array_equal(check.apply(organ), organ)


@pytest.mark.parametrize(("flip", "axes"), [("y", (1,)), ("z", (2,)), ("y and z", (1, 2))])
def test_a_flipped_label_is_flipped_back(flip, axes):
    scan, organ = phantom()
    check = check_label(scan, np.flip(organ, axes))
    assert (check.verdict, check.flip) == ("fits when flipped", flip)
    np.testing.assert_array_equal(check.apply(np.flip(organ, axes)), organ)


def test_the_right_organ_wins_where_a_flip_lies_on_another_one():
    scan, organ = phantom()
    scan[14:32, 20:33, :7] = 95  # where the label lies if flipped along y and z
    check = check_label(scan, np.flip(organ, 2))
    assert (check.verdict, check.flip) == ("fits when flipped", "z")


def test_doubt_and_refusal():
    scan, organ = phantom(mean=40.0)
    doubtful = check_label(scan, organ)
    assert (doubtful.verdict, doubtful.flip) == ("doubtful", "")
    assert "look at it" in doubtful.remark
    assert check_label(scan, organ, (20, 60)).verdict == "fits"
    misplaced = check_label(scan, np.roll(organ, 8, axis=1))
    assert misplaced.verdict == "misplaced"
    assert not misplaced.usable


def test_a_label_on_another_organ_is_doubtful():
    scan, organ = phantom()
    scan[14:34, 3:33, 7:] = 100  # the mirrored place is in the midst of tissue of the same intensity
    check = check_label(scan, np.flip(organ, 2))
    assert (check.verdict, check.usable) == ("doubtful", True)
    assert "flipped along z it would stand out by" in check.remark


def test_no_foreground():
    scan, organ = phantom()
    check = check_label(scan, np.zeros_like(organ))
    assert (check.verdict, check.usable) == ("empty", True)
    assert check.to_dict()["overlaps"] == {}


def test_an_organ_cut_by_the_border():
    scan, organ = phantom()
    check = check_label(scan[20:, 8:, 2:], organ[20:, 8:, 2:])
    assert check.verdict == "fits"
