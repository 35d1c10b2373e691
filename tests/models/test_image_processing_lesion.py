"""Scans to pixel_values and logits back to masks, on the ATLAS grid and on grids that are nothing like it."""

import json
import time
import tracemalloc
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from transformers.image_processing_utils import BaseImageProcessor

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor, drop_small_lesions
from hf_lesionseg.models.outputs import LesionSegmenterOutput
from hf_lesionseg.models.volume_geometry import SliceGeometry, VolumeError

#: 0.45 x 0.45 x 5 mm, LAS, tilted: a clinical FLAIR
CLINICAL = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, 0.15, -0.05) @ np.diag([-0.45, 0.45, 5.0]), [60, -58, -40]
)


def atlas_scan(slices=4, seed=0):
    """A head-sized ellipse of 1 to 100 on the plane of ATLAS (197 x 233); float32."""
    x, y = np.ogrid[:197, :233]
    inside = ((x - 98) / 70) ** 2 + ((y - 116) / 88) ** 2 < 1
    noise = np.random.default_rng(seed).uniform(1, 100, (197, 233, slices))
    noise[98, 116] = 100
    return (noise * inside[..., None]).astype(np.float32)


def clinical_scan():
    """256 x 256 x 6, a head off the centre, intensities of a raw MR with noise in the air."""
    x, y = np.ogrid[:256, :256]
    inside = ((x - 140) / 80) ** 2 + ((y - 110) / 100) ** 2 < 1
    rng = np.random.default_rng(1)
    volume = np.where(inside[..., None], rng.uniform(300, 1800, (256, 256, 6)), rng.uniform(0, 20, (256, 256, 6)))
    return nib.Nifti1Image(volume.astype(np.float32), CLINICAL)


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


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


@pytest.mark.parametrize("factor", [0.01, 40.0])
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


# ---------------------------------------------------------------------------------------------- ways to give scans


@pytest.mark.parametrize("way", ["path", "str", "image", "dict"])
def test_ways_to_give_a_scan(tmp_path, way):
    image = clinical_scan()
    path = tmp_path / "a scan.nii.gz"
    nib.save(image, path)
    source = {"path": path, "str": str(path), "image": image, "dict": {"t1w": path}}[way]
    batch = LesionImageProcessor()(source)
    expected = LesionImageProcessor()(np.asarray(image.dataobj), affine=CLINICAL)
    np.testing.assert_array_equal(batch["pixel_values"], expected["pixel_values"])
    np.testing.assert_allclose(np.array(batch["geometry"][0].affine), CLINICAL, atol=1e-5)


def test_float32_image_in_memory_is_not_copied():
    volume = atlas_scan(40)
    image = nib.Nifti1Image(volume, np.eye(4))
    tracemalloc.start()
    quietly(LesionImageProcessor(size={"height": 16, "width": 16}, normalization="none", percentiles=(0, 100)), image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * volume.nbytes


def test_identity_sform_with_real_voxel_size(tmp_path):
    image = nib.Nifti1Image(atlas_scan(2), np.eye(4))
    image.header["pixdim"][1:4] = 0.9, 0.8, 5
    # saved by hand: nibabel itself would repair the voxel size
    path = tmp_path / "trap.nii"
    with path.open("wb") as file:
        image.header.set_data_offset(352)
        image.header.set_slope_inter(1, 0)
        image.header.write_to(file)
        file.write(np.asarray(image.dataobj).tobytes(order="F"))
    with pytest.warns(UserWarning, match="the voxel size is used"):
        batch = LesionImageProcessor()(path)
    np.testing.assert_allclose(batch["geometry"][0].spacing, (0.9, 0.8, 5), rtol=1e-6)
    with pytest.warns(UserWarning, match="the voxel size is used"):
        batch = LesionImageProcessor()(nib.load(path))
    np.testing.assert_allclose(batch["geometry"][0].voxel_ml, 0.0036, rtol=1e-6)


@pytest.mark.parametrize(
    ("volume", "match"),
    [
        (np.zeros((4, 5)), "three axes"),
        (np.zeros((2, 4, 5, 6)), "three axes"),
        (np.zeros((4, 0, 6)), "three axes"),
        (np.zeros((4, 5, 6)), "all zero"),
        (np.full((4, 5, 6), 3.0), "constant"),
        (np.full((4, 5, 6), np.nan), "no voxel is finite"),
        (np.zeros((4, 5, 6), complex), "real number"),
        (np.full((4, 5, 6), 1e300), "float32"),
    ],
)
def test_volumes_that_cannot_be_used(volume, match):
    with pytest.raises(VolumeError, match=match):
        LesionImageProcessor()(volume)


def test_path_that_cannot_be_used(tmp_path):
    with pytest.raises(VolumeError, match=r"nowhere\.nii\.gz: no such file"):
        LesionImageProcessor()(tmp_path / "nowhere.nii.gz")


def test_nan_outside_the_brain():
    volume = atlas_scan()
    spoilt = volume.copy()
    spoilt[0, 0] = np.nan
    with pytest.warns(UserWarning, match="4 NaN voxels read as 0"):
        batch = LesionImageProcessor()(spoilt)
    np.testing.assert_array_equal(batch["pixel_values"], LesionImageProcessor()(volume)["pixel_values"])


def test_affine_is_for_arrays():
    with pytest.raises(VolumeError, match="only for arrays"):
        LesionImageProcessor()(clinical_scan(), affine=np.eye(4))
    with pytest.raises(VolumeError, match="one per case"):
        LesionImageProcessor()(atlas_scan(), affine=np.eye(3))


def test_one_affine_per_case():
    affines = [np.diag([1.0, 1, 2, 1]), np.diag([1.0, 1, 3, 1])]
    batch = LesionImageProcessor()([atlas_scan(2), atlas_scan(2)], affine=affines)
    assert [geometry.slice_spacing for geometry in batch["geometry"]] == [2, 3]


def test_no_case_at_all():
    with pytest.raises(VolumeError, match="no case given"):
        LesionImageProcessor()([])


# ------------------------------------------------------------------------------------------------ several channels

PERFUSION = ("tmax", "cbf", "cbv")


def perfusion_case(**changed):
    affine = np.diag([1.0, 1, 5, 1])
    case = {name: nib.Nifti1Image(atlas_scan(2, seed=i), affine) for i, name in enumerate(PERFUSION)}
    return {**case, **changed}


def test_channels_in_the_order_of_the_settings():
    case = perfusion_case()
    values = LesionImageProcessor(channel_names=PERFUSION)(dict(reversed(case.items())))["pixel_values"]
    assert values.shape == (2, 3, 233, 197)
    for c, name in enumerate(PERFUSION):
        alone = LesionImageProcessor()(case[name])["pixel_values"]
        np.testing.assert_array_equal(values[:, c], alone[:, 0])


def test_missing_modality():
    case = perfusion_case()
    del case["cbf"]
    with pytest.raises(VolumeError, match=r"missing channels \['cbf'\]"):
        LesionImageProcessor(channel_names=PERFUSION)(case)
    with pytest.raises(VolumeError, match=r"unknown channels \['mtt'\]"):
        LesionImageProcessor(channel_names=PERFUSION)(perfusion_case(mtt=case["tmax"]))
    with pytest.raises(VolumeError, match="give a dict with tmax, cbf, cbv"):
        LesionImageProcessor(channel_names=PERFUSION)(case["tmax"])


@pytest.mark.parametrize("difference", ["shape", "place"])
def test_channels_on_different_grids(difference):
    volume, affine = atlas_scan(3 if difference == "shape" else 2), np.diag([1.0, 1, 5, 1])
    if difference == "place":
        affine[0, 3] = 1
    case = perfusion_case(cbv=nib.Nifti1Image(volume, affine))
    with pytest.raises(VolumeError, match=r"channel cbv.*differ from .*channel tmax.*resample") as error:
        LesionImageProcessor(channel_names=PERFUSION)(case)
    assert "\n" not in str(error.value)


def test_empty_channel_is_named():
    case = perfusion_case(cbf=nib.Nifti1Image(np.zeros((197, 233, 2), np.float32), np.diag([1.0, 1, 5, 1])))
    with pytest.raises(VolumeError, match="channel cbf: all zero"):
        LesionImageProcessor(channel_names=PERFUSION)(case)


# ----------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("value", [1, 255, 0.999])
def test_whatever_marks_the_lesion(value):
    lesion = (atlas_scan(2) > 90) * np.float32(value)
    labels = LesionImageProcessor()(atlas_scan(2), segmentation_maps=lesion)["labels"]
    np.testing.assert_array_equal(labels, (lesion > 0).transpose(2, 1, 0))


def test_maps_that_do_not_fit(tmp_path):
    image = clinical_scan()
    processor = LesionImageProcessor()
    with pytest.raises(VolumeError, match="grid are not those of its scan"):
        processor(image, segmentation_maps=nib.Nifti1Image(np.ones((256, 256, 6), np.uint8), np.eye(4)))
    with pytest.raises(VolumeError, match="grid are not those of its scan"):
        processor(image, segmentation_maps=np.ones((256, 256, 5)))
    with pytest.raises(VolumeError, match="2 segmentation_maps for 1 cases"):
        processor(image, segmentation_maps=[np.ones((256, 256, 6))] * 2)
    unknown = np.zeros((256, 256, 6), np.float32)
    unknown[0, 0, 0] = np.nan
    with pytest.raises(VolumeError, match="1 NaN or Inf voxels in a mask"):
        processor(image, segmentation_maps=unknown)


# -------------------------------------------------------------------------------------- threshold and small lesions


def test_threshold_is_exceeded_not_met():
    processor = LesionImageProcessor(threshold=0.25)
    (geometry,) = processor(np.arange(60.0).reshape(3, 4, 5))["geometry"]
    probability = np.linspace(0, 1, 61, dtype=np.float32)[:60].reshape(3, 4, 5)
    np.testing.assert_array_equal(processor.mask_from_probability(probability, geometry), probability > 0.25)
    np.testing.assert_array_equal(processor.mask_from_probability(probability, geometry, 0.5), probability > 0.5)
    with pytest.raises(ValueError, match=r"threshold=1\.5: give a probability"):
        processor.mask_from_probability(probability, geometry, threshold=1.5)


def test_small_lesions_are_dropped_by_volume_and_diagonal_neighbours_are_one():
    mask = np.zeros((20, 20, 10), bool)
    mask[1:3, 1:3, 1] = True  # 4 voxels
    mask[3, 3, 2] = True  # touches by a corner: 5 in all
    mask[10:12, 10:12, 5] = True  # 4 voxels
    mask[16, 16, 8] = True
    kept = mask.copy()
    drop_small_lesions(kept, voxel_ml=0.002, minimum_ml=0.01)
    assert kept.sum() == 5
    assert kept[3, 3, 2]
    processor = LesionImageProcessor(minimum_lesion_ml=0.008)
    volume = np.random.default_rng(0).uniform(1, 9, mask.shape)
    (geometry,) = processor(volume, affine=np.diag([1.0, 1, 2, 1]))["geometry"]
    cleaned = processor.mask_from_probability(mask.astype(np.float32), geometry)
    assert cleaned.sum() == 9
    assert processor.mask_from_probability(mask.astype(np.float32), geometry, minimum_lesion_ml=0).sum() == 10
    assert processor.mask_from_probability(np.zeros(mask.shape, np.float32), geometry).sum() == 0


# --------------------------------------------------------------------------------------------------------- settings


def test_settings_through_a_folder(tmp_path):
    processor = LesionImageProcessor.clci_net_recipe(threshold=0.4, minimum_lesion_ml=0.02)
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "LesionImageProcessor"
    assert set(saved) == {*LesionImageProcessor.valid_kwargs.__annotations__, "image_processor_type"} - {
        name for name, value in saved.items() if value is None
    }
    loaded = LesionImageProcessor.from_pretrained(tmp_path)
    assert loaded.settings() == processor.settings()
    assert LesionImageProcessor.from_pretrained(tmp_path, threshold=0.7).threshold == 0.7
    assert repr(loaded) == repr(processor)


def test_settings_for_one_call():
    processor = LesionImageProcessor()
    volume = atlas_scan(3)
    values = processor(volume, slice_axis="sagittal", normalization="none")["pixel_values"]
    np.testing.assert_array_equal(values[:, 0], volume.transpose(0, 2, 1))
    assert processor.slice_axis == "axial"
    with pytest.raises(ValueError, match="unknown settings do_rescale"):
        processor(volume, do_rescale=True)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"do_resize": True}, "unknown settings do_resize: choose among channel_names"),
        ({"channel_names": ()}, "channel_names"),
        ({"channel_names": ("a", "a")}, "channel_names"),
        ({"channel_names": 3}, "channel_names"),
        ({"slice_axis": "transversal"}, "slice_axis='transversal': choose one of axial"),
        ({"training_spacing": (0, 1)}, "training_spacing"),
        ({"training_spacing": 1.0}, "training_spacing"),
        ({"training_spacing": (1.0, float("nan"))}, "training_spacing"),
        ({"size": {"height": 0, "width": 4}}, "size"),
        ({"size": {"height": 16}}, "size"),
        ({"size": {"height": 16.5, "width": 4}}, "size"),
        ({"size": 224}, "size=224"),
        ({"training_plane": (233, 197)}, "training_plane.*both or neither"),
        ({"training_plane": (233, 197), "crop_offset": (0, 0)}, "needs size"),
        (
            {"training_plane": (233, 197), "crop_offset": (10, 0), "size": {"height": 224, "width": 176}},
            "crop_offset.*leaves the plane",
        ),
        ({"crop_offset": (-1, 0), "training_plane": (9, 9), "size": {"height": 2, "width": 2}}, "crop_offset"),
        ({"normalization": "minmax"}, "normalization='minmax': choose one of percentile"),
        ({"percentiles": (99.5, 0.5)}, "percentiles"),
        ({"percentiles": (0, 101)}, "percentiles"),
        ({"percentiles": "ab"}, "percentiles"),
        ({"intensity_range": (100, 0)}, "intensity_range"),
        ({"intensity_range": (0, float("inf"))}, "intensity_range"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": None}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"minimum_lesion_ml": -1}, "minimum_lesion_ml"),
    ],
)
def test_impossible_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        LesionImageProcessor(**settings)


def test_geometry_of_a_case_through_json():
    (geometry,) = quietly(LesionImageProcessor.clci_net_recipe(), clinical_scan())["geometry"]
    assert geometry.warnings
    assert SliceGeometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_batch_moves_like_any_other():
    batch = LesionImageProcessor()(atlas_scan(2), return_tensors="pt")
    moved = batch.to(torch.float16)
    assert moved["pixel_values"].dtype == torch.float16
    assert isinstance(moved["geometry"][0], SliceGeometry)


# ---------------------------------------------------------------------------------------------- a volume of full size


def test_memory_and_time_of_a_whole_volume():
    volume = np.asfortranarray(np.tile(atlas_scan(21), (1, 1, 9)))
    assert volume.shape == (197, 233, 189)
    processor = LesionImageProcessor.clci_net_recipe()
    start = time.process_time()
    batch = processor(volume, return_tensors="pt")
    assert time.process_time() - start < 2
    assert batch["pixel_values"].shape == (189, 1, 224, 176)
    del batch
    tracemalloc.start()
    processor(volume, return_tensors="pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the output is 0.86 of the input, and no float64 copy (2.0) or second copy of the input fits under this
    assert peak < 1.3 * volume.nbytes
