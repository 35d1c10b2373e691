"""What may be given to LesionImageProcessor and set there: files, arrays, channels, labels, settings."""

import json
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import torch

from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.models.lesion_cleanup import clean_lesions
from hf_lesionseg.models.volume_geometry import SliceGeometry, VolumeError
from hf_lesionseg.testing.scans import CLINICAL, atlas_scan, clinical_scan, quietly

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


def test_several_labels_count_as_one_with_a_warning():
    lesion = np.where(atlas_scan(2) > 90, 2, 0)
    lesion[:5] = 1
    with pytest.warns(UserWarning, match="segmentation map 0: labels 1 and 2 count as one"):
        labels = LesionImageProcessor()(atlas_scan(2), segmentation_maps=lesion)["labels"]
    np.testing.assert_array_equal(labels, (lesion > 0).transpose(2, 1, 0))


@pytest.mark.parametrize("scale", [1, 1 / 300], ids=["image", "probabilities"])
def test_an_image_is_no_segmentation_map(scale):
    with pytest.raises(VolumeError, match="segmentation map 0: looks like"):
        LesionImageProcessor()(atlas_scan(2), segmentation_maps=atlas_scan(2) * scale)


@pytest.mark.parametrize("values", [(-4, 5), (0, 255), (0, np.nan)], ids=["logits", "255", "nan"])
def test_a_threshold_applies_to_probabilities_only(values):
    processor = LesionImageProcessor()
    (geometry,) = processor(atlas_scan(2))["geometry"]
    probability = np.zeros(geometry.shape, np.float32)
    probability[0, 0, 0], probability[1, 1, 1] = values
    with pytest.raises(VolumeError, match="cannot be probabilities, to which a threshold applies"):
        processor.mask_from_probability(probability, geometry)


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
    clean_lesions(kept, voxel_ml=0.002, minimum_ml=0.01)
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
