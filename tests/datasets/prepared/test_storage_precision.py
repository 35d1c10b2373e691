"""Half precision costs prepared slices no more than its own rounding."""

import numpy as np
import pytest

from hf_lesionseg.datasets.prepared.storage_precision import as_stored


def tissue(scale=1.0, offset=0.0):
    values = np.zeros((3, 1, 40, 40), np.float32)
    values[:, :, 8:32, 8:32] = offset + scale * np.random.default_rng(0).uniform(0.2, 1.0, (3, 1, 24, 24))
    return values


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1.0, 0.0, np.float16),  # normalised to 0..1
        (3.0, -2.0, np.float16),  # z-scores
        (1500.0, 0.0, np.float16),  # a raw scan
        (0.02, 0.75, np.float32),  # soft tissue of CT that was normalised by its bone and air
        (50.0, 40_000.0, np.float32),
        (1e-6, 0.0, np.float32),  # ADC in mm2/s as it comes
        (1e-9, 0.0, np.float32),
        (1e6, 0.0, np.float32),  # beyond 65504
    ],
)
def test_half_precision_only_where_tissues_stay_apart(scale, offset, expected):
    values = tissue(scale, offset)
    stored = as_stored(values)
    assert stored.dtype == expected
    inside = values != 0
    spread = np.ptp(values[inside])
    assert np.abs(stored.astype(np.float32) - values)[inside].max() <= max(spread, 2 * scale) / 400


def test_outliers_do_not_take_the_place_of_tissue():
    values = tissue(0.02, 0.75)
    values[0, 0, 8, 8:10] = 300.0
    assert as_stored(values).dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0])
def test_slices_of_one_value(value):
    assert as_stored(np.full((1, 1, 8, 8), value, np.float32)).dtype == np.float16
