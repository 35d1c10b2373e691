"""Masks in grand-challenge's layout: found as an evaluation container looks for them, on the case's own grid."""

import json
import re
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import DataError, OutputError, UsageError
from hf_lesionseg.imaging import Scan
from hf_lesionseg.imaging.metaimage import write_metaimage
from hf_lesionseg.inference.grand_challenge import export_grand_challenge

SLUG = "stroke-lesion-segmentation"


def turned(codes="RAS", angle=0.2):
    """An oblique affine of 0.9 x 1.1 x 4.5 mm whose axes run as ``codes`` say."""
    spin = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = spin @ np.diag([0.9, 1.1, 4.5])
    affine[:3, 3] = -41.123456789, 17.5, 63.25
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    return affine @ nib.orientations.inv_ornt_aff(turn, (9, 8, 5))


def read_mha(path):
    """Voxels (x, y, z) and RAS affine, by the words of the format's documentation."""
    header, voxels = path.read_bytes().split(b"ElementDataFile = LOCAL\n", 1)
    fields = dict(line.split(" = ", 1) for line in header.decode().splitlines())
    assert int(fields["CompressedDataSize"]) == len(voxels)
    shape = tuple(map(int, fields["DimSize"].split()))
    data = np.frombuffer(zlib.decompress(voxels), np.uint8).reshape(shape[::-1]).transpose(2, 1, 0)
    matrix, offset, spacing = (np.array(fields[name].split(), float) for name in
                               ("TransformMatrix", "Offset", "ElementSpacing"))  # fmt: skip
    affine = np.eye(4)
    for axis, direction in enumerate(matrix.reshape(3, 3)):
        affine[:3, axis] = direction * spacing[axis]
    affine[:3, 3] = offset
    return data, np.diag([-1.0, -1, 1, 1]) @ affine


def write_result(folder, case, affine, channel="t1w"):
    """What ``lesionseg segment`` leaves, as far as it matters here; returns the mask."""
    folder.mkdir(exist_ok=True)
    record = {"inputs": [{"channel": channel, "file": f"/data/{case}.nii.gz"}]}
    (folder / f"{case}_record.json").write_text(json.dumps(record))
    mask = (np.random.default_rng(len(case)).random((9, 8, 5)) > 0.7).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), folder / f"{case}_mask.nii.gz")
    return mask


def masks_as_the_evaluation_finds_them(folder, slug=SLUG, key="interface"):
    """The steps of the platform's example evaluation method, on ``folder`` as its ``/input``."""
    found = {}
    for job in json.loads((folder / "predictions.json").read_text()):
        (name,) = {value["image"]["name"] for value in job["inputs"]}
        relative = next(value[key]["relative_path"] for value in job["outputs"] if value[key]["slug"] == slug)
        (found[name],) = (folder / job["pk"] / "output" / relative).iterdir()
    return found


@pytest.mark.parametrize("key", ["interface", "socket"])
@pytest.mark.parametrize("file_format", ["mha", "nii.gz"])
def test_an_evaluation_finds_every_mask_on_its_grid(tmp_path, file_format, key):
    affines = {"sub-1": turned(), "sub-2": turned("LPS"), "sub-3": turned("SAR", 0.4)}
    masks = {case: write_result(tmp_path / "masks", case, affine) for case, affine in affines.items()}
    done = export_grand_challenge(tmp_path / "masks", tmp_path / "out", file_format=file_format)
    assert done.failed == {}
    found = masks_as_the_evaluation_finds_them(tmp_path / "out", key=key)
    assert found == {f"{case}.nii.gz": path for case, path in done.written.items()}
    for case, path in done.written.items():
        assert path.name == f"{case}.{file_format}"
        given = nib.load(tmp_path / "masks" / f"{case}_mask.nii.gz")
        if file_format == "mha":
            data, affine = read_mha(path)
            np.testing.assert_allclose(affine, given.affine, rtol=1e-13, atol=1e-13)
        else:
            data, affine = np.asarray(nib.load(path).dataobj), nib.load(path).affine
            np.testing.assert_array_equal(affine, given.affine)
        np.testing.assert_array_equal(data, masks[case])


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_a_second_library_reads_the_same_grid(tmp_path, codes):
    sitk = pytest.importorskip("SimpleITK")
    mask = (np.random.default_rng(0).random((9, 8, 5)) > 0.5).astype(np.uint8)
    affine = turned(codes)
    path = write_metaimage(tmp_path / "mask.mha", mask, Scan(Path("scan"), mask.astype(np.float32), affine, None))
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), mask)
    for voxel in ((0, 0, 0), (8, 0, 0), (0, 7, 0), (1, 2, 4)):
        point = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(point, nib.affines.apply_affine(affine, voxel), atol=1e-9)


def test_what_fails_is_told_and_an_earlier_export_goes(tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "out"
    write_result(masks, "old", turned())
    export_grand_challenge(masks, out)
    (masks / "old_record.json").unlink()
    write_result(masks, "new", turned())
    write_result(masks, "lost", turned())
    (masks / "lost_mask.nii.gz").unlink()
    done = export_grand_challenge(masks, out)
    assert list(done.failed) == ["lost"]
    assert sorted(path.name for path in out.iterdir()) == ["new", "predictions.json"]
    assert [job["pk"] for job in json.loads((out / "predictions.json").read_text())] == ["new"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt, which is not a submission"):
        export_grand_challenge(masks, out)
    assert (out / "new").is_dir()


def test_wrong_options_and_folders(tmp_path, capsys):
    with pytest.raises(UsageError, match="slug 'My Slug' is not allowed"):
        export_grand_challenge(tmp_path, tmp_path / "out", slug="My Slug")
    with pytest.raises(UsageError, match=r"format 'nrrd' is unknown; use mha or nii\.gz"):
        export_grand_challenge(tmp_path, tmp_path / "out", file_format="nrrd")
    with pytest.raises(DataError, match="holds no result of `lesionseg segment`"):
        export_grand_challenge(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, capsys):
    from hf_lesionseg.cli import main

    write_result(tmp_path / "masks", "a", turned(), channel="dwi")
    for layout, status in (("grand-challenge", 0), ("elsewhere", 2)):
        with pytest.raises(SystemExit) as end:
            main(["submit", str(tmp_path / "masks"), "-o", str(tmp_path / "out"), "--layout", layout, "--slug", "x-y"])
        assert (end.value.code or 0) == status
    assert (tmp_path / "out" / "a" / "output" / "images" / "x-y" / "a.mha").is_file()
    (job,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert job["inputs"][0]["interface"]["slug"] == "dwi-brain-mri"
    assert re.search("layout 'elsewhere' is unknown; use smir or grand-challenge", capsys.readouterr().err)
