"""Boxes of a first stage, from the slices of the network to the voxels of the file and into record and preview."""

import io
import json
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from hf_lesionseg.inference import MaskOptions, segment_cases
from hf_lesionseg.inference.lesions import find_lesions
from hf_lesionseg.inference.preview import _planes, write_preview
from hf_lesionseg.inference.regions import canonical_edges, region_on_scan
from hf_lesionseg.inference.slices import Region
from hf_lesionseg.models.outputs import LesionSegmenterOutput
from hf_lesionseg.models.slice_planes import restore_planes
from hf_lesionseg.models.volume_geometry import plan_slices, with_window


@dataclass
class WithRegions(LesionSegmenterOutput):
    boxes: torch.Tensor | None = None
    box_indices: torch.Tensor | None = None
    scores: torch.Tensor | None = None


@pytest.mark.parametrize("slice_axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_a_box_encloses_in_the_file_what_it_encloses_in_the_slice(codes, slice_axis):
    """A block painted in the slices comes back to the file by the processor's own way; its box must fit it exactly."""
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ nib.orientations.inv_ornt_aff(turn, (20, 24, 16))
    shape = nib.orientations.apply_orientation(np.zeros((20, 24, 16)), turn).shape
    geometry = plan_slices(shape, affine, slice_axis=slice_axis)
    geometry = with_window(geometry, (-3, 2), (16, 14))
    planes = np.zeros((geometry.num_slices, 16, 14), np.uint8)
    planes[5, 6:11, 4:7] = 1
    (lesion,), _ = find_lesions(restore_planes(planes, geometry, order=0), affine, 0.006)
    found = region_on_scan(Region(5, (4.0, 6.0, 7.0, 11.0), 0.75), geometry)
    assert found["box_voxel"] == {"start": list(lesion.box_start), "stop": list(lesion.box_stop)}
    assert (found["slice_axis"], found["score"]) == (slice_axis, 0.75)
    edges = canonical_edges(found["box_voxel"], nib.io_orientation(affine), shape)
    reference = canonical_edges({"start": lesion.box_start, "stop": lesion.box_stop}, nib.io_orientation(affine), shape)
    assert np.array_equal(edges, reference)


def test_resampled_slices_scale_edge_to_edge():
    """Planes of 10 x 20 voxels of 2 mm, seen at 1 mm from row 4 and column 6 on."""
    geometry = plan_slices((20, 10, 5), np.diag([2.0, 2.0, 2.0, 1.0]), training_spacing=(1.0, 1.0))
    assert geometry.resampled_shape == (20, 40)
    geometry = with_window(geometry, (4, 6), (16, 32))
    box = region_on_scan(Region(3, (2.0, 0.0, 5.0, 16.0), 1.0), geometry)["box_voxel"]
    assert box == {"start": [4.0, 2.0, 3.0], "stop": [5.5, 10.0, 4.0]}


def region(start, stop, slice_axis="axial"):
    return {"slice_axis": slice_axis, "score": 1.0, "box_voxel": {"start": start, "stop": stop}}


def head():
    shape = (40, 50, 30)
    scan = np.zeros(shape, np.float32)
    scan[5:35, 5:45, 4:26] = 60
    labels = np.zeros(shape, np.int32)
    labels[10:16, 20:30, 12:15] = 1
    return scan, labels


def test_the_preview_frames_the_lesion_of_the_shown_slice():
    scan, labels = head()
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    regions = [
        region((10, 20, 12), (16, 30, 13)),
        region((0, 0, 2), (5, 5, 3)),  # of another slice
        region((10, 29, 12), (16, 30, 13), "coronal"),  # the shown coronal plane is another one
    ]
    axial, coronal, sagittal = _planes(scan, labels, affine, regions)
    assert (coronal.regions, sagittal.regions) == ((), ())
    ((left, bottom, width, height),) = axial.regions
    rows, columns = np.nonzero(axial.labels)
    row_size, column_size = (mm / pixels for mm, pixels in zip(axial.millimetres, axial.labels.shape, strict=True))
    expected = columns.min() * column_size, rows.min() * row_size, 6 * 2, 10
    assert (left, bottom, width, height) == pytest.approx(expected)

    pictures = []
    for shown in ((), regions):
        file = io.BytesIO()
        write_preview(file, scan, labels, affine, [1.0], title="case", regions=shown)
        pictures.append(np.asarray(Image.open(file).convert("RGB")).astype(int))
    changed = np.argwhere(np.abs(pictures[0] - pictures[1]).sum(axis=2) > 100)
    assert len(changed) > 100
    on_planes = changed[changed[:, 0] < 0.8 * pictures[0].shape[0]]
    assert np.ptp(on_planes[:, 1]) < 0.3 * pictures[0].shape[1]  # one frame, on the first of three planes


@pytest.fixture
def with_regions(loaded, monkeypatch):
    """The network of these tests, which also tells the box of what it finds in a slice, if anything."""
    network = loaded.model.forward

    def forward(pixel_values, **kwargs):
        logits = network(pixel_values=pixel_values, **kwargs).logits
        boxes, indices = [], []
        for index, plane in enumerate(logits[:, 0] > 0):
            rows, columns = plane.nonzero(as_tuple=True)
            if len(rows):
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                indices.append(index)
        boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return WithRegions(None, logits, None, boxes, torch.tensor(indices, dtype=torch.long), torch.ones(len(boxes)))

    monkeypatch.setattr(loaded.model, "forward", forward)
    return loaded


def test_record_and_preview_tell_the_regions(with_regions, write_head, tmp_path):
    head = write_head(codes="PIL")
    (outcome,) = segment_cases([head.path], with_regions, tmp_path / "out", mask=MaskOptions(threshold=0.5)).outcomes
    assert outcome.status == "done", outcome.reason
    record = json.loads(outcome.files["record"].read_text())
    mask = np.asarray(nib.load(outcome.files["mask"]).dataobj)
    framed = np.zeros(mask.shape, bool)
    for found in record["regions"]["found"]:
        box = found["box_voxel"]
        part = tuple(slice(int(a), int(b)) for a, b in zip(box["start"], box["stop"], strict=True))
        assert mask[part].any()
        framed[part] = True
    assert not mask[~framed].any()
    computed = record["slices"]["total"] - record["slices"]["without_tissue_skipped"]
    assert record["regions"]["slices_without_region"] == computed - len(record["regions"]["found"]) > 0


def test_a_network_without_a_first_stage_has_none(loaded, write_head, tmp_path):
    (outcome,) = segment_cases([write_head().path], loaded, tmp_path / "out").outcomes
    assert json.loads(outcome.files["record"].read_text())["regions"] is None
