"""Which axis is time: on whole heads, on brains without skull, and where slices are as many as frames."""

import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.perfusion.case import draw_patient, draw_slabs, scan_slab
from hf_lesionseg.datasets.synthetic.perfusion.phantom import draw_phantom
from hf_lesionseg.datasets.synthetic.template import load_template
from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging.perfusion.arterial_input import brain_mask
from hf_lesionseg.imaging.perfusion.series import read_perfusion_series
from hf_lesionseg.imaging.perfusion.time_axis import find_time_axis

ORDERS = {0: (3, 0, 1, 2), 1: (0, 3, 1, 2), 2: (0, 1, 3, 2), 3: (0, 1, 2, 3)}


@pytest.fixture(scope="module", params=[2, 8], ids="{} slices".format)
def head(request):
    """A generated head (64, 64, Z, 40), HU."""
    rng = np.random.default_rng([0, request.param, 1])
    patient = draw_patient(rng, load_template(2))
    slab = draw_slabs(rng, patient, 1, request.param)[0]
    return scan_slab(np.random.default_rng([0, request.param, 2]), patient, slab, 64).series[..., :40]


@pytest.mark.parametrize("axis", ORDERS)
def test_time_is_found_on_any_axis(head, axis):
    noise = 12 * np.random.default_rng(0).standard_normal(head.shape, np.float32)
    brain = brain_mask(head[..., :4].mean(axis=-1))[..., None]
    for data in (head, head + noise, np.where(brain, head, 0)):
        assert find_time_axis(data.transpose(ORDERS[axis])) == axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_with_time_elsewhere_is_refused_with_the_way_to_mend_it(head, save, axis):
    path = save(head.transpose(ORDERS[axis]), name="turned.nii")
    with pytest.raises(ScanError, match=rf"{path.name}.* is the .*numpy\.moveaxis\(data, {axis}, 3\)"):
        read_perfusion_series(path)
    mended = read_perfusion_series(save(np.moveaxis(head.transpose(ORDERS[axis]), axis, 3), name="mended.nii"))
    np.testing.assert_array_equal(mended.data, head)


@pytest.mark.parametrize("slices", [1, 8])
@pytest.mark.parametrize("noise", [0, 5])
def test_slices_that_are_all_alike_are_no_time(slices, noise):
    phantom = draw_phantom(size=64, num_slices=slices, num_frames=45, noise_hu=noise)
    assert find_time_axis(phantom.data) == 3
    assert find_time_axis(np.where(phantom.brain[..., None], phantom.data, 0)) == 3


def test_slices_are_not_taken_for_time_where_there_are_few_frames(head, save):
    assert find_time_axis(head[..., 10:13]) == 3
    with pytest.raises(ScanError, match="3 frames, but a first pass of contrast needs 6"):
        read_perfusion_series(save(head[..., 10:13]))
