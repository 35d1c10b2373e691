"""Slices for training: which, how random, and how little memory they hold."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hf_lesionseg.datasets.prepared.records import Origin
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.slices import SliceDataset
from hf_lesionseg.errors import DataError, UsageError


def test_each_slice_comes_once_with_its_labels(prepared):
    slices = SliceDataset(prepared.cases)
    assert len(slices) == 36
    for index in (0, 2, 20, 35, -1):
        case, plane = prepared.cases[index % 36 // 6], index % 36 % 6
        item = slices[index]
        assert item["pixel_values"].dtype == torch.float32
        assert item["labels"].dtype == torch.int64
        np.testing.assert_array_equal(item["pixel_values"], case.pixel_values(plane))
        np.testing.assert_array_equal(item["labels"], case.labels(plane))
    with pytest.raises(IndexError):
        slices[36]


@pytest.mark.parametrize(("kind", "expected"), [("all", 36), ("tissue", 30), ("lesion", 12)])
def test_kinds_of_slices(prepared, kind, expected):
    slices = SliceDataset(prepared.cases, slices=kind)
    assert len(slices) == expected
    with_lesion = sum(bool(slices[index]["labels"].any()) for index in range(expected))
    assert with_lesion == 12


@pytest.mark.parametrize("kind", ["all", "tissue", "lesion"])
def test_a_range_of_slices(prepared, kind):
    """Of all cases the same slices, the last number being left out."""

    def chosen(**options):
        slices = SliceDataset(prepared.cases, slices=kind, **options)
        return [tuple(pair) for pair in slices._of_epoch(0).tolist()]

    inside = chosen(slice_range=[2, 4])
    assert inside == [pair for pair in chosen() if pair[1] in (2, 3)]
    assert inside
    with pytest.raises(DataError, match=f"no slices of kind '{kind}' from 6 to 8 in 6 cases; take another slice_range"):
        SliceDataset(prepared.cases, slices=kind, slice_range=[6, 9])


def test_empty_slices_are_drawn_anew_for_each_epoch(prepared):
    slices = SliceDataset(prepared.cases, slices="tissue", empty_slice_fraction=0.5, seed=4)
    assert len(slices) == 12 + 9

    def epoch(number):
        slices.set_epoch(number)
        return torch.stack([slices[index]["pixel_values"].sum() for index in range(len(slices))])

    first, second = epoch(0), epoch(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, epoch(0))
    again = SliceDataset(prepared.cases, slices="tissue", empty_slice_fraction=0.5, seed=4)
    assert torch.equal(again[5]["pixel_values"], slices[5]["pixel_values"])
    assert sum(bool(slices[index]["labels"].any()) for index in range(len(slices))) == 12
    assert len(SliceDataset(prepared.cases, empty_slice_fraction=0.0)) == 12


def brighten(pixel_values, labels, rng):
    return pixel_values + np.float32(rng.random()), labels


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_depends_on_seed_epoch_and_index_only(prepared, workers):
    def values(seed, *epochs):
        slices = SliceDataset(prepared.cases[:2], augmentation=brighten, seed=seed)
        loader = DataLoader(slices, batch_size=3, num_workers=workers, persistent_workers=workers > 0)
        collected = []
        for epoch in epochs:
            slices.set_epoch(epoch)  # with workers that live on, too
            collected.append(torch.cat([batch["pixel_values"] for batch in loader]))
        return collected

    first, second = values(1, 0, 1)
    assert not torch.equal(first, second)
    assert torch.equal(second, values(1, 1)[0])
    assert not torch.equal(first, values(2, 0)[0])
    plain = SliceDataset(prepared.cases[:2])
    np.testing.assert_allclose(
        first[4] - plain[4]["pixel_values"], np.random.default_rng([1, 0, 4]).random(), rtol=1e-5
    )


def test_smaller_planes_are_padded(prepared, small_processor, make_records, tmp_path):
    import nibabel as nib

    records = make_records(2)
    for path in (records[1].images["t1w"], records[1].masks[0]):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:17, :15], image.affine), path)
    dataset = prepare_cases(records, tmp_path / "two", small_processor, Origin("two", synthetic=True), progress=False)
    slices = SliceDataset(dataset.cases)
    assert slices.plane == (24, 20)
    small = slices[9]
    assert small["pixel_values"].shape == (1, 24, 20)
    np.testing.assert_array_equal(small["pixel_values"][:, :15, :17], dataset.cases[1].pixel_values(3))
    assert small["pixel_values"][:, 15:].abs().sum() + small["pixel_values"][:, :, 17:].abs().sum() == 0
    assert small["labels"].sum() == dataset.cases[1].labels(3).sum()


def test_copies_are_changed_each_for_itself(prepared):
    def shift(values, labels, rng):
        return values + np.float32(rng.random()), labels

    once, thrice = (SliceDataset(prepared.cases[:2], augmentation=shift, copies=copies) for copies in (1, 3))
    assert len(thrice) == 3 * len(once)
    plain = SliceDataset(prepared.cases[:2])
    shifts = {float((thrice[index]["pixel_values"] - plain[5]["pixel_values"]).mean()) for index in (5, 5 + len(once))}
    assert len(shifts) == 2  # the same slice, changed in two ways
    for index in range(len(once)):
        assert torch.equal(thrice[index + 2 * len(once)]["labels"], once[index]["labels"])
    with pytest.raises(IndexError):
        thrice[3 * len(once)]


def test_impossible_requests_are_refused(prepared):
    with pytest.raises(UsageError, match="copies is 0"):
        SliceDataset(prepared.cases, copies=0)
    with pytest.raises(UsageError, match="'some' is unknown: take one of all, tissue, lesion"):
        SliceDataset(prepared.cases, slices="some")
    with pytest.raises(UsageError, match="between 0 and 1"):
        SliceDataset(prepared.cases, empty_slice_fraction=1.5)
    with pytest.raises(DataError, match="no slices of kind 'all' in 0 cases"):
        SliceDataset([])


MEASURE = textwrap.dedent("""
    import json, sys, time
    import numpy as np
    from hf_lesionseg.datasets.prepared import PreparedDataset
    from hf_lesionseg.datasets.slices import SliceDataset

    def resident():
        fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem")) * 1024

    slices = SliceDataset(PreparedDataset(sys.argv[1]).cases)
    before = peak = resident()
    rng = np.random.default_rng(0)
    for number, index in enumerate(rng.integers(len(slices), size=int(sys.argv[2]))):
        item = slices[int(index)]
        assert item["pixel_values"].shape == (1, 224, 176)
        if number % 10 == 0:
            peak = max(peak, resident())
    print(json.dumps({"slices": len(slices), "before": before, "peak": peak}))
""")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_655_volumes_hold_less_than_2_gb(tmp_path):
    """655 cases of 189 slices of 224 x 176 on disk (sparse, 14.6 GB), read at random in a process of its own."""
    records = []
    for number in range(655):
        folder = tmp_path / "cases" / f"c{number}"
        folder.mkdir(parents=True)
        (folder / "case.json").write_text("{}")
        for name, dtype, shape in (
            ("pixel_values.npy", np.float16, (189, 1, 224, 176)),
            ("labels.npy", np.uint8, (189, 224, 176)),
        ):
            with (folder / name).open("wb") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
                )
                file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        records.append(
            {
                "id": f"c{number}",
                "person": f"p{number}",
                "lesion_ml": 5.0,
                "voxel_ml": 0.001,
                "shape": (189, 1, 224, 176),
                "lesion_slices": list(range(80, 100)),
                "tissue_slices": list(range(10, 160)),
                "images": {"t1w": f"c{number}.nii.gz"},
            }
        )
    description = {"format_version": 1, "complete": True, "name": "sparse", "synthetic": True, "licence": "none"}
    description |= {"channel_names": ["t1w"], "rejected": [], "cases": records}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path, "3000"], capture_output=True, text=True, check=True, timeout=550
    )
    measured = json.loads(result.stdout)
    assert measured["slices"] == 655 * 189
    assert measured["peak"] < 2e9
    # what reading adds is small change: 3000 slices of 197 kB would be 0.6 GB if they were kept
    assert measured["peak"] - measured["before"] < 50e6
