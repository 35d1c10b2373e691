"""Batches, back-off and skipped slices, on networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from hf_lesionseg.errors import LesionSegError, ModelError, UsageError
from hf_lesionseg.inference.slices import predict_slices, slices_with_tissue
from hf_lesionseg.models.outputs import LesionSegmenterOutput


class Doubling(nn.Module):
    """Logit = 2 x first channel + 1; keeps the sizes of its batches; can run out of memory, or give NaN."""

    def __init__(self, room=10_000, error=torch.OutOfMemoryError, nan_above=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.room, self.error, self.nan_above, self.batches = room, error, nan_above, []

    device = property(lambda self: self.weight.device)
    dtype = property(lambda self: self.weight.dtype)

    def forward(self, pixel_values):
        self.batches.append(len(pixel_values))
        if len(pixel_values) > self.room:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        logits = self.weight * pixel_values[:, :1] + 1
        if self.nan_above is not None:
            logits = logits.where(pixel_values[:, :1] < self.nan_above, torch.nan)
        return LesionSegmenterOutput(logits=logits)


def volume(slices=7, channels=1):
    return np.random.default_rng(0).random((slices, channels, 6, 5), dtype=np.float32)


def expected(pixel_values):
    return 1 / (1 + np.exp(-(2 * pixel_values[:, 0] + 1)))


def test_every_slice_gets_its_own_probability():
    model = Doubling()
    pixel_values = volume()
    result = predict_slices(model, pixel_values, batch_size=3)
    np.testing.assert_allclose(result.probability, expected(pixel_values), rtol=1e-6)
    assert result.probability.dtype == np.float32
    assert model.batches == [3, 3, 1]
    assert (result.slices_total, result.slices_skipped, result.batch_size, result.warnings) == (7, 0, 3, ())


def test_slices_without_tissue_are_background_and_not_computed():
    model = Doubling()
    pixel_values = volume()
    pixel_values[[0, 3]] = 0
    pixel_values[5] = -1.5  # what z-scores make of an empty background
    result = predict_slices(model, pixel_values)
    assert sum(model.batches) == 4
    assert result.slices_skipped == 3
    assert (result.probability[[0, 3, 5]] == 0).all()
    np.testing.assert_allclose(result.probability[[1, 2, 4, 6]], expected(pixel_values)[[1, 2, 4, 6]], rtol=1e-6)


class Generating(Doubling):
    """Makes an image on the way: its first channel, halved."""

    def forward(self, pixel_values):
        output = super().forward(pixel_values)
        output.generated_dwi = pixel_values[:, :1] / 2
        return output


def test_no_image_is_generated_of_slices_without_tissue():
    pixel_values = volume()
    pixel_values[[0, 3]] = 0
    made = predict_slices(Generating(), pixel_values, batch_size=2, keep_generated=True).generated_dwi
    assert np.isnan(made[[0, 3]]).all()
    np.testing.assert_array_equal(made[[1, 2, 4, 5, 6]], pixel_values[[1, 2, 4, 5, 6], 0] / 2)
    assert predict_slices(Generating(), pixel_values).generated_dwi is None


class Boxes(Doubling):
    """Has a first stage, which finds a box from each pixel above 0.9 to the slice's corner."""

    def forward(self, pixel_values):
        output = super().forward(pixel_values)
        images, rows, columns = torch.nonzero(pixel_values[:, 0] > 0.9, as_tuple=True)
        corner = torch.tensor([5.0, 6.0]).expand(len(rows), 2)
        output.boxes = torch.cat([torch.stack([columns, rows], dim=1).float(), corner], dim=1).flip(0)
        output.box_indices = images.flip(0)
        output.scores = pixel_values[images, 0, rows, columns].flip(0)
        return output


def test_regions_belong_to_their_slices_whatever_the_batches():
    pixel_values = np.zeros((6, 1, 6, 5), dtype=np.float32)
    pixel_values[[1, 2, 4, 5], 0, 0, 0] = 0.5  # tissue; 0 and 3 are skipped
    pixel_values[2, 0, 3, 1] = 0.95
    pixel_values[5, 0, [1, 4], 2] = 0.92
    for batch_size in (1, 2, 4):
        result = predict_slices(Boxes(), pixel_values, batch_size=batch_size)
        assert {(index, box) for index, box, _ in result.regions} == {
            (2, (1.0, 3.0, 5.0, 6.0)),
            (5, (2.0, 1.0, 5.0, 6.0)),
            (5, (2.0, 4.0, 5.0, 6.0)),
        }
        assert [region.slice_index for region in result.regions] == [2, 5, 5]
        assert result.regions[0].score == pytest.approx(0.95)
        assert result.slices_without_region == 2
    room = predict_slices(Boxes(room=1), pixel_values, batch_size=4)
    assert set(room.regions) == set(result.regions)


def test_no_region_is_told_from_no_first_stage():
    nothing = predict_slices(Boxes(), volume() * 0.5)
    assert (nothing.regions, nothing.slices_without_region) == ((), 7)
    without = predict_slices(Doubling(), volume())
    assert (without.regions, without.slices_without_region) == (None, None)


def test_one_channel_with_tissue_is_enough():
    pixel_values = np.zeros((3, 2, 4, 4), dtype=np.float32)
    pixel_values[1, 1, 2, 2] = 1
    assert slices_with_tissue(pixel_values).tolist() == [1]


def test_a_volume_without_tissue_never_reaches_the_network():
    model = Doubling()
    result = predict_slices(model, np.zeros((4, 1, 3, 3), dtype=np.float32))
    assert model.batches == []
    assert result.slices_skipped == 4
    assert not result.probability.any()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_out_of_memory_halves_the_batch_and_says_so(error):
    model = Doubling(room=2, error=error)
    pixel_values = volume(slices=9)
    result = predict_slices(model, pixel_values, batch_size=8)
    np.testing.assert_allclose(result.probability, expected(pixel_values), rtol=1e-6)
    assert model.batches == [8, 4, 2, 2, 2, 2, 1]
    assert result.batch_size == 2
    assert result.warnings == (
        "memory ran out with 8 slices at once; went on with 4",
        "memory ran out with 4 slices at once; went on with 2",
    )


def test_out_of_memory_for_one_slice_is_an_error_with_a_remedy():
    with pytest.raises(LesionSegError, match=r"memory of cpu is too small for one slice of 6x5; .*narrower network"):
        predict_slices(Doubling(room=0), volume(), batch_size=4)


def test_other_runtime_errors_are_not_taken_for_lack_of_memory():
    class Broken(Doubling):
        def forward(self, pixel_values):
            raise RuntimeError("expected 3 channels")

    with pytest.raises(RuntimeError, match="expected 3 channels"):
        predict_slices(Broken(), volume())


def test_nan_is_an_error_and_never_background():
    pixel_values = volume()
    pixel_values[4, 0, 2, 2] = 9
    with pytest.raises(ModelError, match="NaN for slice 4; its weights are damaged"):
        predict_slices(Doubling(nan_above=8), pixel_values, batch_size=3)
    with pytest.raises(ModelError, match="NaN for slice 4; use precision float32"):
        predict_slices(Doubling(nan_above=8), pixel_values, precision="bfloat16")


def test_logits_of_another_size_are_refused():
    class Strided(Doubling):
        def forward(self, pixel_values):
            return LesionSegmenterOutput(logits=pixel_values[..., ::2, ::2])

    with pytest.raises(ModelError, match=r"logits of \(3, 3\) for slices of \(6, 5\)"):
        predict_slices(Strided(), volume())


def test_precision_is_autocast():
    class Convolution(Doubling):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, pixel_values):
            logits = self.convolution(pixel_values)
            self.seen = logits.dtype
            return LesionSegmenterOutput(logits=logits)

    model = Convolution()
    exact = predict_slices(model, volume())
    assert model.seen == torch.float32
    cast = predict_slices(model, volume(), precision="bfloat16")
    assert model.seen == torch.bfloat16
    assert cast.probability.dtype == np.float32
    np.testing.assert_allclose(cast.probability, exact.probability, atol=0.02)


def test_deterministic_is_on_inside_and_restored_after():
    class Asking(Doubling):
        def forward(self, pixel_values):
            self.asked = torch.are_deterministic_algorithms_enabled()
            return super().forward(pixel_values)

    model = Asking()
    predict_slices(model, volume(), deterministic=True)
    assert model.asked
    assert not torch.are_deterministic_algorithms_enabled()
    predict_slices(model, volume())
    assert not model.asked


def test_progress_counts_the_slices_that_are_computed():
    pixel_values = volume()
    pixel_values[2] = 0
    seen = []
    predict_slices(Doubling(), pixel_values, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 6), (6, 6)]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"precision": "int8"}])
def test_wrong_options(wrong):
    with pytest.raises(UsageError):
        predict_slices(Doubling(), volume(), **wrong)
