"""Scans to pixel_values and logits back to masks, on the ATLAS grid and on grids that are nothing like it."""

import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from transformers.image_processing_utils import BaseImageProcessor

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.outputs import LesionSegmenterOutput
from hf_lesionseg.models.volume_geometry import VolumeError
from hf_lesionseg.testing.scans import atlas_scan, clinical_scan, quietly


def logits_of(mask):
    return (torch.as_tensor(mask, dtype=torch.float32)[:, None] - 0.5) * 20


# ------------------------------------------------------------------------------------------ the recipe of the paper


def test_clci_recipe_equals_the_public_arithmetic():
    volume = atlas_scan()
    lesion = volume > 90
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = LesionImageProcessor.clci_net_recipe()(volume, segmentation_maps=lesion, return_tensors="pt")
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["labels"].dtype == torch.int64
    expected = volume.transpose(2, 1, 0)[:, 5:229, 11:187] / np.float32(100)
    np.testing.assert_array_equal(batch["pixel_values"][:, 0].numpy(), expected)
    np.testing.assert_array_equal(batch["labels"].numpy(), lesion.transpose(2, 1, 0)[:, 5:229, 11:187])
    (geometry,) = batch["geometry"]
    assert geometry.normalization == ({"channel": "t1w", "method": "fixed-range", "low": 0.0, "high": 100.0},)
    assert geometry.warnings == ()


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "IRP"])
def test_clci_recipe_whatever_the_axes_of_the_file(codes):
    canonical = nib.Nifti1Image(atlas_scan(), np.eye(4))
    image = canonical.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(codes))
    )
    processor = LesionImageProcessor.clci_net_recipe()
    batch = processor(image, return_tensors="pt")
    assert torch.equal(batch["pixel_values"], processor(canonical, return_tensors="pt")["pixel_values"])
    lesion = torch.zeros(4, 224, 176)
    lesion[2, 100:120, 30:50] = 1  # slice 2 from below, 105 mm from the back, 41 mm from the left
    (result,) = processor.post_process_segmentation(logits_of(lesion), batch["geometry"])
    assert result["mask"].shape == image.shape
    world = nib.affines.apply_affine(image.affine, np.argwhere(result["mask"]))
    np.testing.assert_allclose(world.min(axis=0), (41, 105, 2), atol=1e-6)
    np.testing.assert_allclose(world.max(axis=0), (60, 124, 2), atol=1e-6)


def test_clci_recipe_on_a_clinical_grid():
    image = clinical_scan()
    processor = LesionImageProcessor.clci_net_recipe()
    with pytest.warns(UserWarning, match=r"not on the range 0 to 100 of this network; normalised by percentiles"):
        batch = processor(image, return_tensors="pt")
    assert batch["pixel_values"].shape == (6, 1, 224, 176)
    assert batch["pixel_values"].min() == 0
    assert batch["pixel_values"][:, 0, 112, 88].mean() == pytest.approx(0.5, abs=0.2)
    (geometry,) = batch["geometry"]
    assert geometry.normalization[0]["instead_of"] == "fixed-range"
    np.testing.assert_allclose(geometry.plane_spacing, 1.0, rtol=0.01)
    # a bright head comes back where it was
    head = batch["pixel_values"][:, 0] > 0.1
    (result,) = processor.post_process_segmentation(logits_of(head), batch["geometry"])
    truth = np.asarray(image.dataobj) >= 300
    overlap = 2 * (result["mask"] & truth).sum() / (result["mask"].sum() + truth.sum())
    assert overlap > 0.95


# ------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("slice_axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("training_spacing", [None, (1.5, 0.8)])
@pytest.mark.parametrize("size", [None, {"height": 64, "width": 48}])
def test_mask_returns_to_its_voxels(slice_axis, training_spacing, size):
    rng = np.random.default_rng(3)
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, -0.1, 0.2) @ np.diag([1.1, -0.9, 1.3]), [5, 6, 7])
    volume = rng.uniform(1, 100, (40, 36, 44)).astype(np.float32)
    lesion = np.zeros(volume.shape, np.uint8)
    lesion[10:30, 8:24, 12:34] = 1
    processor = LesionImageProcessor(slice_axis=slice_axis, training_spacing=training_spacing, size=size)
    batch = quietly(processor, volume, segmentation_maps=lesion, affine=affine, return_tensors="pt")
    (result,) = processor.post_process_segmentation(logits_of(batch["labels"]), batch["geometry"])
    if training_spacing is None:
        np.testing.assert_array_equal(result["mask"], lesion)
    overlap = 2 * (result["mask"] & lesion).sum() / (result["mask"].sum() + lesion.sum())
    assert overlap > 0.95


def test_several_cases_in_one_call():
    scans = [atlas_scan(3, seed=1), atlas_scan(5, seed=2)]
    processor = LesionImageProcessor.clci_net_recipe()
    batch = processor(scans, segmentation_maps=[scan > 90 for scan in scans], return_tensors="np")
    assert batch["pixel_values"].shape == (8, 1, 224, 176)
    assert [geometry.num_slices for geometry in batch["geometry"]] == [3, 5]
    output = LesionSegmenterOutput(logits=logits_of(batch["labels"]))
    results = processor.post_process_segmentation(output, batch["geometry"], return_probability=True)
    for scan, result in zip(scans, results, strict=True):
        np.testing.assert_array_equal(result["mask"][11:187, 5:229], (scan > 90)[11:187, 5:229])
        assert result["probability"].dtype == np.float32
        assert result["probability"].shape == scan.shape
        assert result["probability"][0, 0, 0] == 0


def test_cases_of_different_size_go_one_per_call():
    with pytest.raises(VolumeError, match="one per call"):
        LesionImageProcessor()([np.arange(60.0).reshape(3, 4, 5), np.arange(120.0).reshape(6, 4, 5)])


def test_two_logits_and_bfloat16():
    volume = atlas_scan(2)
    processor = LesionImageProcessor.clci_net_recipe()
    (geometry,) = processor(volume)["geometry"]
    foreground = torch.zeros(2, 224, 176)
    foreground[1, 3:9, 4:8] = 30
    logits = torch.stack([torch.full_like(foreground, 12), foreground], dim=1).bfloat16()
    (result,) = processor.post_process_segmentation(logits, geometry)
    assert np.argwhere(result["mask"]).min(axis=0).tolist() == [15, 8, 1]
    assert result["mask"].sum() == 24
    assert result["mask"].dtype == np.uint8


def test_logits_of_other_slices():
    processor = LesionImageProcessor()
    geometries = processor(np.arange(60.0).reshape(3, 4, 5))["geometry"]
    with pytest.raises(ValueError, match="5 slices in all"):
        processor.post_process_segmentation(torch.zeros(4, 1, 4, 3), geometries)


# ------------------------------------------------------------------------------------------------------- windows


def window_of(volume, size, **settings):
    batch = quietly(LesionImageProcessor(size=size, **settings), volume)
    return batch["pixel_values"], batch["geometry"][0]


def test_window_is_centred_on_the_tissue():
    volume = np.zeros((60, 80, 2), np.float32)
    volume[30:50, 10:40] = np.random.default_rng(0).uniform(10, 20, (20, 30, 2))
    values, geometry = window_of(volume, {"height": 40, "width": 32})
    assert geometry.window_start == (5, 24)
    assert values.shape == (2, 1, 40, 32)


def test_window_is_widened_rather_than_cutting_tissue():
    volume = np.zeros((60, 80, 2), np.float32)
    volume[2:55, 10:40] = np.random.default_rng(0).uniform(10, 20, (53, 30, 2))
    with pytest.warns(UserWarning, match="does not fit into 40 x 32; slices are 40 x 64"):
        batch = LesionImageProcessor(size={"height": 40, "width": 32})(volume)
    assert batch["geometry"][0].warnings
    first, width = batch["geometry"][0].window_start[1], batch["geometry"][0].window_shape[1]
    assert first <= 2
    assert first + width >= 55


def test_small_scan_is_padded_with_its_own_air():
    volume = np.random.default_rng(0).uniform(-900, 100, (7, 9, 1)).astype(np.float32)
    volume[:3] = -1000
    values, geometry = window_of(volume, {"height": 16, "width": 16}, normalization="none")
    assert values.shape == (1, 1, 16, 16)
    assert values[0, 0, 0, 0] == -1000
    (mask,) = LesionImageProcessor().post_process_segmentation(torch.full((1, 1, 16, 16), 9.0), geometry)
    assert mask["mask"].shape == (7, 9, 1)
    assert mask["mask"].all()


def test_training_crop_only_on_the_training_plane():
    settings = {"training_plane": (80, 60), "crop_offset": (4, 3), "size": {"height": 64, "width": 48}}
    volume = np.zeros((60, 80, 2), np.float32)
    volume[0:20, 0:20] = np.random.default_rng(0).uniform(10, 20, (20, 20, 2))
    assert window_of(volume, **settings)[1].window_start == (4, 3)
    assert window_of(volume[:-1], **settings)[1].window_start == (0, 0)


def test_windows_on_resampled_planes():
    volume = np.zeros((60, 80, 2), np.float32)
    volume[30:50, 10:40] = np.random.default_rng(0).uniform(10, 20, (20, 30, 2))
    batch = LesionImageProcessor(size={"height": 80, "width": 48}, training_spacing=(0.5, 0.5))(volume)
    assert batch["geometry"][0].resampled_shape == (160, 120)
    assert batch["geometry"][0].window_start == (10, 56)


# --------------------------------------------------------------------------------------------------- intensities


def test_percentiles_of_the_tissue():
    volume = atlas_scan()
    batch = LesionImageProcessor(percentiles=(2, 98))(volume, return_tensors="np")
    low, high = np.percentile(volume[volume != 0].astype(np.float64), (2, 98))
    expected = np.clip((volume.transpose(2, 1, 0) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(batch["pixel_values"][:, 0], expected, atol=1e-5)
    assert batch["pixel_values"].dtype == np.float32
    assert batch["geometry"][0].normalization[0]["low"] == pytest.approx(low, rel=1e-5)


def test_z_score_of_the_tissue():
    volume = atlas_scan(slices=40)  # more voxels than one chunk
    values = LesionImageProcessor(normalization="z-score")(volume)["pixel_values"]
    tissue = volume.transpose(2, 1, 0)[:, None] != 0
    assert values[tissue].mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
    assert values[tissue].std(dtype=np.float64) == pytest.approx(1, abs=1e-4)
    assert values.dtype == np.float32


def test_no_normalisation():
    volume = atlas_scan()
    batch = LesionImageProcessor(normalization="none")(volume)
    np.testing.assert_array_equal(batch["pixel_values"][:, 0], volume.transpose(2, 1, 0))


@pytest.mark.parametrize("factor", [0.01, 10.0, 1000.0])
def test_a_power_of_ten_changes_nothing_on_a_fixed_range(factor):
    volume = atlas_scan()
    with pytest.warns(UserWarning, match="not on the range 0 to 100 of this network; taken as .* times that range"):
        batch = LesionImageProcessor(normalization="fixed-range")(volume * np.float32(factor))
    (record,) = batch["geometry"][0].normalization
    assert record["high"] == pytest.approx(100 * factor)
    assert record["instead_of"] == "fixed-range"
    expected = LesionImageProcessor(normalization="fixed-range")(volume)["pixel_values"]
    np.testing.assert_allclose(batch["pixel_values"], expected, atol=1e-6)


@pytest.mark.parametrize("normalization", ["percentile", "z-score"])
@pytest.mark.parametrize("factor", [1e-3, 0.1, 2.55, 10.0, 327.0])
def test_a_constant_factor_changes_nothing_where_there_is_no_unit(normalization, factor):
    volume = atlas_scan()
    processor = LesionImageProcessor(normalization=normalization)
    values = [processor(each)["pixel_values"] for each in (volume, volume * np.float32(factor))]
    np.testing.assert_allclose(values[1], values[0], atol=2e-5)


@pytest.mark.parametrize("factor", [0.003, 40.0])
def test_fixed_range_falls_back_where_the_scan_is_on_another(factor):
    volume = atlas_scan() * np.float32(factor)
    with pytest.warns(UserWarning, match="not on the range 0 to 100"):
        batch = LesionImageProcessor(normalization="fixed-range")(volume)
    record = batch["geometry"][0].normalization[0]
    assert (record["method"], record["instead_of"]) == ("percentile", "fixed-range")
    expected = LesionImageProcessor()(volume)["pixel_values"]
    np.testing.assert_array_equal(batch["pixel_values"], expected)


def test_fixed_range_clips():
    volume = atlas_scan()
    volume[50, 50, 0], volume[51, 50, 0] = 104, -3
    values = LesionImageProcessor(normalization="fixed-range")(volume)["pixel_values"]
    assert values[0, 0, 50, 50] == 1
    assert values[0, 0, 50, 51] == 0


@pytest.mark.parametrize("normalization", ["percentile", "z-score"])
@pytest.mark.parametrize("level", [7.0, -7.0])
def test_tissue_of_one_value(normalization, level):
    volume = np.zeros((6, 5, 4), np.float32)
    volume[2:4, 2:4] = level
    values = LesionImageProcessor(normalization=normalization)(volume)["pixel_values"]
    assert np.isfinite(values).all()
    assert values.max() - values.min() >= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64, ">f4", ">i2"])
def test_other_number_types(dtype):
    volume = np.rint(atlas_scan()).astype(dtype)
    values = LesionImageProcessor.clci_net_recipe()(volume, return_tensors="pt")["pixel_values"]
    assert values.dtype == torch.float32
    expected = np.float32(volume).transpose(2, 1, 0)[:, 5:229, 11:187] / np.float32(100)
    np.testing.assert_array_equal(values[:, 0], expected)


def test_defaults_of_photographs_are_ignored():
    processor = LesionImageProcessor(normalization="none")
    assert BaseImageProcessor.rescale_factor == pytest.approx(1 / 255)
    assert processor(atlas_scan())["pixel_values"].max() == 100
    assert "rescale_factor" not in processor.to_dict()


def test_input_is_left_as_it_was():
    volume = atlas_scan()
    before = volume.copy()
    for settings in ({}, {"normalization": "z-score"}, {"training_spacing": (2.0, 2.0)}):
        LesionImageProcessor(**settings)(volume)
    np.testing.assert_array_equal(volume, before)
