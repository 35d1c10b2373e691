import json
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from transformers import pipeline

import hf_lesionseg
from hf_lesionseg.errors import ScanError
from hf_lesionseg.inference import LesionSegmentationPipeline, register_pipeline


@pytest.fixture(scope="module")
def segmenter(model_folder):
    return pipeline("lesion-segmentation", model=str(model_folder), device="cpu")


def dice(mask, truth):
    return 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))


def test_importing_the_package_registers_the_task(segmenter):
    assert type(segmenter) is LesionSegmentationPipeline
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_pipeline()  # the second time is fine


def test_equals_the_network_and_the_processor_by_hand(segmenter, loaded, write_head):
    head = write_head(codes="PIR")
    features = loaded.processor.preprocess(head.path, return_tensors="pt")
    with torch.no_grad():
        output = loaded.model(pixel_values=features["pixel_values"])
    (expected,) = loaded.processor.post_process_segmentation(output, features["geometry"], return_probability=True)

    result = segmenter(str(head.path), return_probability=True)
    # Slices without tissue are background by definition; the network may think otherwise.
    computed = np.asarray(features["pixel_values"]).any(axis=(1, 2, 3))
    assert result["slices_total"] == len(computed) == 24
    assert result["slices_skipped"] == np.count_nonzero(~computed) > 0
    inside = np.asarray(head.image.dataobj) != 0
    np.testing.assert_allclose(result["probability"][inside], expected["probability"][inside], atol=1e-5)
    assert np.array_equal(result["mask"][inside], expected["mask"][inside])
    assert result["mask"].dtype == np.uint8


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASL", "IPR"])
def test_finds_the_lesion_where_it_is(segmenter, codes, write_head):
    head = write_head(codes=codes)
    result = segmenter(head.path)
    assert result["mask"].shape == head.blob.shape
    assert dice(result["mask"] > 0, head.blob) > 0.8
    largest = result["lesions"][0]
    assert np.linalg.norm(np.array(largest["centroid_mm"]) - head.centre_mm) < 2
    assert largest["volume_ml"] == pytest.approx(np.count_nonzero(head.blob) * head.voxel_ml, rel=0.3)
    assert result["total_volume_ml"] == pytest.approx(np.count_nonzero(result["mask"]) * head.voxel_ml)


def test_paths_images_scans_and_dicts_give_the_same(segmenter, write_head):
    head = write_head()
    reference = segmenter(head.path)
    for same in (
        str(head.path),
        nib.load(head.path),
        head.image,
        hf_lesionseg.read_scan(head.path),
        {"t1w": head.path},
    ):
        assert np.array_equal(segmenter(same)["mask"], reference["mask"])


def test_many_cases_give_many_results(segmenter, write_head):
    heads = [write_head("a.nii.gz", "LPS"), write_head("b.nii", "RAS", blob=False)]
    first, second = segmenter([head.path for head in heads], batch_size=5)
    assert first["mask"].shape == heads[0].blob.shape
    assert np.array_equal(first["mask"], segmenter(heads[0].path)["mask"])
    assert first["batch_size"] == 5
    assert second["mask"].sum() < 0.05 * first["mask"].sum()


def test_slices_without_tissue_are_background(segmenter, write_head):
    head = write_head(codes="RAS")
    probability = segmenter(head.path, return_probability=True)["probability"]
    assert not probability[:, :, :3].any()
    assert not probability[:, :, -4:].any()
    assert probability[:, :, 9].any()


def test_threshold_and_minimum_volume(segmenter, write_head):
    head = write_head()
    volume = segmenter(head.path)["lesions"][0]["volume_ml"]
    assert segmenter(head.path, minimum_lesion_ml=volume + 0.01)["lesions"] == []
    kept = segmenter(head.path, minimum_lesion_ml=volume - 0.01)["lesions"]
    assert [lesion["volume_ml"] for lesion in kept] == [volume]
    strict = segmenter(head.path, threshold=0.99)["mask"]
    assert strict.sum() < segmenter(head.path, threshold=0.01)["mask"].sum()


def test_options_can_be_given_to_the_pipeline_or_to_the_call(model_folder, write_head):
    head = write_head()
    segmenter = pipeline("lesion-segmentation", model=str(model_folder), device="cpu", batch_size=3, threshold=0.9)
    result = segmenter(head.path)
    assert result["batch_size"] == 3
    assert segmenter(head.path, batch_size=2)["batch_size"] == 2
    assert segmenter(head.path)["batch_size"] == 3
    assert segmenter(head.path, threshold=0.01)["mask"].sum() > result["mask"].sum()


def test_batch_size_changes_nothing_but_the_batches(segmenter, write_head):
    head = write_head()
    one = segmenter(head.path, batch_size=1, return_probability=True)["probability"]
    all_at_once = segmenter(head.path, batch_size=24, return_probability=True)["probability"]
    np.testing.assert_allclose(one, all_at_once, atol=1e-5)


def test_out_of_memory_backs_off_and_is_told(loaded, write_head):
    class Small(torch.nn.Module):
        """The real network on a device with room for four slices."""

        def __init__(self, model):
            super().__init__()
            self.model, self.config = model, model.config
            self.device, self.dtype = model.device, model.dtype

        def forward(self, pixel_values):
            if len(pixel_values) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return self.model(pixel_values=pixel_values)

        def can_generate(self):
            return False

    head = write_head()
    small = LesionSegmentationPipeline(Small(loaded.model), image_processor=loaded.processor, device="cpu")
    result = small(head.path, batch_size=16)
    assert result["batch_size"] == 4
    assert "memory ran out with 16 slices at once; went on with 8" in result["warnings"]
    same = LesionSegmentationPipeline(loaded.model, image_processor=loaded.processor, device="cpu")
    assert np.array_equal(result["mask"], same(head.path)["mask"])


def test_bfloat16_finds_the_same_lesion(segmenter, write_head):
    head = write_head()
    assert dice(segmenter(head.path, precision="bfloat16")["mask"] > 0, segmenter(head.path)["mask"] > 0) > 0.9


def test_deterministic_runs_give_equal_bytes(segmenter, write_head):
    head = write_head()
    runs = [segmenter(head.path, deterministic=True, return_probability=True)["probability"] for _ in range(2)]
    assert runs[0].tobytes() == runs[1].tobytes()


def test_saving_leaves_no_custom_pipeline_in_the_config(segmenter, tmp_path, write_head):
    segmenter.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "custom_pipelines" not in config
    again = pipeline("lesion-segmentation", model=str(tmp_path / "saved"), device="cpu")
    head = write_head()
    assert np.array_equal(again(head.path)["mask"], segmenter(head.path)["mask"])


def test_what_is_no_scan_is_refused(segmenter, tmp_path):
    with pytest.raises(ScanError, match=r"input of type ndarray is not a scan; give a path, or nibabel\.Nifti1Image"):
        segmenter(np.zeros((4, 4, 4)))
    with pytest.raises(ScanError, match="all zero"):
        segmenter(nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.float32), np.eye(4)))
    with pytest.raises(ScanError, match="no such file"):
        segmenter(tmp_path / "absent.nii.gz")
    with pytest.raises(ScanError, match="channels flair; this network needs t1w"):
        segmenter({"flair": tmp_path / "absent.nii.gz"})


def test_no_case_gives_no_result(segmenter):
    assert segmenter([]) == []
    assert segmenter(()) == []


@pytest.mark.parametrize("address", ["https://example.org/a.nii.gz", "s3://bucket/a.nii.gz", "hf://org/name/a.nii"])
@pytest.mark.parametrize("form", [str, lambda address: [address], lambda address: {"t1w": address}])
def test_an_address_is_told_from_a_missing_file(segmenter, address, form):
    with pytest.raises(ScanError, match=f"^{address}: is an address, not a file; download it, then give the file$"):
        segmenter(form(address))


def test_nothing_is_told_from_the_present_folder(segmenter):
    with pytest.raises(ScanError, match="an empty path; give a scan"):
        segmenter("")
    with pytest.raises(ScanError, match="the case has channels none; this network needs t1w"):
        segmenter({})


def test_unknown_options_are_refused(segmenter):
    with pytest.raises(TypeError, match="treshold"):
        segmenter("scan.nii.gz", treshold=0.4)


def test_the_result_can_be_written_on_the_scans_grid(segmenter, write_head, tmp_path):
    head = write_head(codes="SAL")
    result = segmenter(head.path)
    written = nib.load(hf_lesionseg.write_mask(tmp_path / "mask.nii.gz", result["mask"], like=result["scan"]))
    assert written.affine.tobytes() == nib.load(head.path).affine.tobytes()
    assert np.array_equal(np.asarray(written.dataobj), result["mask"])
    # Also where the input was an image in memory.
    result = segmenter(head.image)
    hf_lesionseg.write_mask(tmp_path / "again.nii.gz", result["mask"], like=result["scan"])
