"""Every format of the table: voxels and world coordinates as other libraries have them, and damage is told."""

import gzip
import re
import subprocess
import sys
import textwrap

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.cli.segment import segment
from hf_lesionseg.errors import OutputError
from hf_lesionseg.imaging import mask_writer, read_mask, read_scan, write_mask
from hf_lesionseg.imaging.file_identity import parts_of, sidecar_of
from hf_lesionseg.imaging.scan_search import scans_below
from hf_lesionseg.models.nifti_volume import read_nifti, read_nifti_series, read_shape
from hf_lesionseg.models.scan_formats import ending_of, is_second_half, scan_endings, scan_stem
from hf_lesionseg.models.volume_geometry import VolumeError

DATA = np.random.default_rng(0).integers(-200, 1000, (7, 6, 5)).astype(np.int16)
TURN = nib.eulerangles.euler2mat(0.3, -0.2, 0.1)
AFFINES = {
    "plain": nib.affines.from_matvec(np.diag([1.0, 1.0, 1.0]), [-3, 4, 5]),
    "oblique": nib.affines.from_matvec(TURN @ np.diag([0.9, 1.1, 3.0]), [10.5, -20.25, 30]),
    "left-handed": nib.affines.from_matvec(TURN @ np.diag([-0.9, 1.1, 3.0]), [10.5, -20.25, 30]),
    "sagittal": nib.affines.from_matvec(np.array([[0, 0, -2.0], [1, 0, 0], [0, -1, 0]]), [1, 2, 3]),
}
SHEARED = nib.affines.from_matvec(TURN @ np.array([[0.9, 0.2, 0], [0, 1.1, 0], [0, 0, 3.0]]), [1, 2, 3])
ENDINGS = ["nii", "nii.gz", "hdr", "img", "hdr.gz", "img.gz", "mgh", "mgz", "nrrd", "mha"]


def vector(numbers):
    return f"({','.join(repr(float(number)) for number in numbers)})"


def write_nrrd(path, data, affine, space="right-anterior-superior", encoding="raw", extra=()):
    """Written by hand, and in RAS, which no library of the test writes."""
    lines = ["NRRD0004", "type: int16", "dimension: 3", f"sizes: {' '.join(map(str, data.shape))}", "endian: little"]
    lines += [f"encoding: {encoding}"]
    if space:
        lines += [f"space: {space}", f"space directions: {' '.join(vector(axis) for axis in affine[:3, :3].T)}"]
        lines += [f"space origin: {vector(affine[:3, 3])}"]
    voxels = data.astype("<i2").tobytes(order="F")
    voxels = gzip.compress(voxels) if encoding == "gzip" else voxels
    path.write_bytes("\n".join([*lines, *extra, "", ""]).encode() + voxels)
    return path


def write_mha(path, data, affine, oriented=True):
    """Written by hand, without compression."""
    lps = np.diag([-1, -1, 1]) @ affine[:3]
    sizes = np.linalg.norm(lps[:, :3], axis=0)
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"]
    if oriented:
        lines += [f"TransformMatrix = {' '.join(map(repr, (lps[:, :3] / sizes).T.ravel().tolist()))}"]
    lines += [f"Offset = {' '.join(map(repr, lps[:, 3].tolist()))}"]
    lines += [f"ElementSpacing = {' '.join(map(repr, sizes.tolist()))}", f"DimSize = {' '.join(map(str, data.shape))}"]
    lines += ["ElementType = MET_SHORT", "ElementDataFile = LOCAL", ""]
    path.write_bytes("\n".join(lines).encode() + data.astype("<i2").tobytes(order="F"))
    return path


def save(folder, ending, affine, data=DATA):
    path = folder / f"scan.{ending}"
    if ending in ("nrrd", "mha"):
        pytest.importorskip("SimpleITK")
        return (write_nrrd if ending == "nrrd" else write_mha)(path, data, affine)
    kind = nib.MGHImage if "mg" in ending[:2] else nib.Nifti1Pair if ending[0] in "hi" else nib.Nifti1Image
    image = kind(data, affine)
    image.to_filename(path)
    return path


@pytest.mark.parametrize("grid", AFFINES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_and_world_coordinates(tmp_path, ending, grid):
    scan = read_scan(save(tmp_path, ending, AFFINES[grid]))
    np.testing.assert_array_equal(scan.data, DATA)
    np.testing.assert_allclose(scan.affine, AFFINES[grid], atol=2e-6)
    assert scan.warnings == ()
    assert read_shape(scan.path) == DATA.shape
    assert scan.to_nibabel().get_filename() == str(scan.path)
    # a mask is NIfTI on the grid of the scan, by its sform and by its qform
    mask = (scan.data > 300).astype(np.uint8)
    written = nib.load(write_mask(tmp_path / "mask.nii.gz", mask, like=scan))
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    np.testing.assert_allclose(written.get_sform(), AFFINES[grid], atol=2e-6)
    if ending in ("mgh", "mgz", "nrrd", "mha"):
        np.testing.assert_allclose(written.get_qform(), AFFINES[grid], atol=2e-5)
    assert read_mask(tmp_path / "mask.nii.gz", like=scan).warnings == ()


@pytest.mark.parametrize("ending", ["mgz", "nrrd", "mha"])
def test_sheared_axes_stay_sheared_with_a_warning(tmp_path, ending):
    scan = read_scan(save(tmp_path, ending, SHEARED))
    np.testing.assert_allclose(scan.affine, SHEARED, atol=2e-6)
    assert scan.warnings == (f"{scan.path}: the axes are sheared; some other tools refuse such a file",)
    written = nib.load(write_mask(tmp_path / "mask.nii", np.ones(DATA.shape, bool), like=scan))
    np.testing.assert_allclose(written.affine, SHEARED, atol=2e-6)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_what_simpleitk_writes_is_what_nibabel_reads_of_its_nifti(tmp_path, ending, kind, compressed):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(DATA.T.astype(kind))
    image.SetSpacing((0.9, 1.1, 3.0))
    image.SetOrigin((-12.5, 33.0, 7.0))
    image.SetDirection(TURN.ravel().tolist())
    path = tmp_path / f"scan.{ending}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.data, DATA.astype(kind))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat64), str(tmp_path / "truth.nii"))
    np.testing.assert_allclose(scan.affine, nib.load(tmp_path / "truth.nii").affine, atol=1e-5)
    for voxel in ((0, 0, 0), (6, 5, 4), (1, 4, 2)):
        point = np.array(image.TransformIndexToPhysicalPoint(voxel)) * (-1, -1, 1)
        np.testing.assert_allclose(nib.affines.apply_affine(scan.affine, voxel), point, atol=1e-9)


def test_spaces_of_nrrd(tmp_path):
    pytest.importorskip("SimpleITK")
    affine = AFFINES["oblique"]
    signs = {"LPS": (-1, -1, 1), "left-anterior-superior": (-1, 1, 1), "RAS": (1, 1, 1)}
    for space, sign in signs.items():
        path = write_nrrd(tmp_path / f"{space}.nrrd", DATA, np.diag([*sign, 1]) @ affine, space, "gzip")
        np.testing.assert_allclose(read_nifti(path).affine, affine, atol=1e-12)


@pytest.mark.parametrize("case", ["no space", "scanner", "3D", "mha", "mgh"])
def test_a_header_that_gives_no_orientation_is_told(tmp_path, case):
    affine = AFFINES["plain"]
    if case == "mgh":
        image = nib.MGHImage(DATA, affine)
        image.to_filename(tmp_path / "scan.mgh")
        content = bytearray((tmp_path / "scan.mgh").read_bytes())
        content[28:30] = b"\0\0"  # goodRASFlag
        (tmp_path / "scan.mgh").write_bytes(content)
        path, codes = tmp_path / "scan.mgh", "LIA"
    else:
        pytest.importorskip("SimpleITK")
        space = {"no space": None, "scanner": "scanner-xyz", "3D": "3D-right-handed"}.get(case)
        path = (
            write_mha(tmp_path / "scan.mha", DATA, affine, oriented=False)
            if case == "mha"
            else write_nrrd(tmp_path / "scan.nrrd", DATA, affine, space)
        )
        codes = "LPS"
    scan = read_scan(path)
    assert scan.warnings == (f"{path}: the header gives no orientation; axes are taken as {codes}",)
    assert "".join(nib.aff2axcodes(scan.affine)) == codes
    written = write_mask(tmp_path / "mask.nii", np.ones(DATA.shape, bool), like=scan)
    np.testing.assert_allclose(nib.load(written).affine, scan.affine, atol=1e-5)


def test_lengths_of_nrrd_in_other_units(tmp_path):
    pytest.importorskip("SimpleITK")
    affine = np.diag([1000.0, 1000.0, 3000.0, 1.0])
    path = write_nrrd(tmp_path / "scan.nrrd", DATA, affine, extra=['space units: "um" "um" "um"'])
    volume = read_nifti(path)
    np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), (1, 1, 3))
    assert "lengths in micron" in volume.warnings[0]


def test_series(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    frames = np.random.default_rng(1).random((4, 5, 6, 7)).astype(np.float32)  # time, z, y, x
    sitk.WriteImage(sitk.GetImageFromArray(frames, isVector=False), str(tmp_path / "ctp.mha"))
    sitk.WriteImage(sitk.GetImageFromArray(np.moveaxis(frames, 0, -1), isVector=True), str(tmp_path / "ctp.nrrd"))
    nib.MGHImage(frames.T, np.eye(4)).to_filename(tmp_path / "ctp.mgz")
    for ending in ("mha", "nrrd", "mgz"):
        path = tmp_path / f"ctp.{ending}"
        np.testing.assert_array_equal(read_nifti_series(path).data, frames.T)
        with pytest.raises(VolumeError, match="holds 4 volumes"):
            read_nifti(path)


def test_what_is_no_volume_of_real_numbers(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.float32)), str(tmp_path / "plane.mha"))
    with pytest.raises(VolumeError, match=r"plane\.mha: has 2 axes \(5, 4\)"):
        read_nifti(tmp_path / "plane.mha")
    complex_image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.complex64))
    sitk.WriteImage(complex_image, str(tmp_path / "complex.mha"))
    with pytest.raises(VolumeError, match=r"complex\.mha: .*(complex numbers|volumes)"):
        read_nifti(tmp_path / "complex.mha")


@pytest.mark.parametrize("ending", ["mgz", "mgh", "nrrd raw", "nrrd gzip", "mha raw", "mha zlib"])
def test_damage_is_told_in_one_line(tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    ending, _, packed = ending.partition(" ")
    path = tmp_path / f"scan.{ending}"
    if ending == "mha" and packed == "zlib":
        sitk.WriteImage(sitk.GetImageFromArray(DATA.T.copy()), str(path), useCompression=True)
    elif ending == "nrrd":
        write_nrrd(path, DATA, AFFINES["oblique"], encoding=packed)
    else:
        save(tmp_path, ending, AFFINES["oblique"])
    whole = path.read_bytes()
    assert read_nifti(path).data.shape == DATA.shape
    for cut in (4, 9, 100, len(whole) // 2, len(whole) - 30):
        if cut < 40 and ending == "mgh":
            continue  # FreeSurfer puts a footer behind the voxels, which nobody needs
        path.write_bytes(whole[:-cut])
        with pytest.raises(VolumeError) as error:
            read_nifti(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    if packed in ("gzip", "zlib") or ending == "mgz":
        flipped = bytearray(whole)
        flipped[-20 if ending != "mgz" else len(whole) // 2] ^= 0x10
        path.write_bytes(flipped)
        with pytest.raises(VolumeError, match="is truncated or damaged"):
            read_nifti(path)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_a_missing_extra_is_named(tmp_path, ending, monkeypatch):
    path = save(tmp_path, ending, AFFINES["plain"])
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(VolumeError, match=re.escape(f'{path}: reading .{ending} needs SimpleITK; pip install "hf-les')):
        read_nifti(path)


def test_every_other_format_is_read_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    for ending in ENDINGS[:-2]:
        assert read_nifti(save(tmp_path, ending, AFFINES["plain"])).data.shape == DATA.shape


@pytest.mark.parametrize(
    ("made", "named", "told"),
    [
        ("nii.gz", "mgz", "cannot be read as FreeSurfer's format"),
        ("nii", "mgh", "cannot be read as FreeSurfer's format"),
        ("nii.gz", "nrrd", "is not in the format NRRD, whatever its name says"),
        ("nii", "mha", "is not in the format MetaImage, whatever its name says"),
        ("mgz", "mgh", r"is gzip; rename it to scan\.mgz"),
        ("mgh", "mgz", r"named \.mgz but not gzip"),
        ("nrrd", "nii", r"is an NRRD file; give it a name that ends in \.nrrd"),
        ("mha", "nii.gz", r"is a MetaImage; give it a name that ends in \.mha"),
        ("nrrd", "nhdr", "header of an NRRD file in two parts|is an NRRD file"),
    ],
)
def test_a_name_that_says_another_format(tmp_path, made, named, told):
    path = save(tmp_path, made, AFFINES["plain"]).rename(tmp_path / f"scan.{named}")
    with pytest.raises(VolumeError, match=f"{re.escape(str(path))}: .*(?:{told})"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("ending", "line"), [("nrrd", "data file: voxels.raw"), ("mha", "ElementDataFile = voxels.raw")]
)
def test_voxels_in_a_second_file_are_refused(tmp_path, ending, line):
    pytest.importorskip("SimpleITK")
    path = tmp_path / f"scan.{ending}"
    magic = {"nrrd": "NRRD0004", "mha": "ObjectType = Image"}[ending]
    path.write_text(f"{magic}\n{line}\n\n")
    with pytest.raises(VolumeError, match="holds no voxels behind its header"):
        read_nifti(path)


def test_endings_in_capitals(tmp_path):
    for ending in ENDINGS:
        if ending[:3] not in ("hdr", "img"):  # nibabel makes the other half's name of the first's
            path = save(tmp_path, ending, AFFINES["oblique"])
            np.testing.assert_array_equal(read_nifti(path.rename(path.with_name(f"SCAN.{ending.upper()}"))).data, DATA)


def test_names():
    assert [ending_of(f"a.{ending}") for ending in ENDINGS] == [f".{ending}" for ending in ENDINGS]
    assert ending_of("A.NII.GZ") == ".nii.gz"
    assert scan_stem("x/case.1.Nrrd") == "case.1"
    assert ending_of("nii.gz") == ending_of(".mgz") == ending_of("a.json") == ""


def test_pairs_go_by_their_first_file(tmp_path):
    for ending in ("hdr", "hdr.gz", "mgz", "nii.gz"):
        save(tmp_path, ending, AFFINES["plain"])
    assert [path.name for path in scans_below(tmp_path)] == ["scan.hdr", "scan.hdr.gz", "scan.mgz", "scan.nii.gz"]
    assert is_second_half(tmp_path / "scan.img.gz")
    assert not is_second_half(tmp_path / "scan.hdr")
    assert [path.name for path in parts_of(tmp_path / "scan.img.gz")] == ["scan.hdr.gz", "scan.img.gz"]
    assert [path.name for path in parts_of(tmp_path / "scan.mgz")] == ["scan.mgz"]
    (tmp_path / "scan.json").write_text("{}")
    assert sidecar_of(tmp_path / "scan.mgz") == tmp_path / "scan.json"


def test_the_help_names_every_ending():
    text = segment.__annotations__["inputs"].__metadata__[0].help
    for ending in scan_endings():
        assert ending in text or ending.removesuffix(".gz") in text


TOY = """
    import numpy as np, nibabel as nib
    from hf_lesionseg.models.nifti_header import nifti_header
    from hf_lesionseg.models.opened_scan import OpenedScan
    from hf_lesionseg.models.scan_formats import FORMATS, ScanFormat

    def open_toy(path, streams):
        data = np.loadtxt(path, dtype=np.float32).reshape(8, 8, 2)
        affine = np.diag([2.0, 2.0, 4.0, 1.0])
        return OpenedScan(nib.Nifti1Image(data, affine), nifti_header(data.shape, affine))

    def write_toy(path, mask, like):
        np.savetxt(path, np.asarray(mask, int).reshape(8, 16), fmt="%d")
        return path

    FORMATS.append(ScanFormat("toy", (".toy",), open_toy, write_toy))
"""


def test_a_format_is_one_row(tmp_path):
    """A format from outside is read, found in folders, paired by evaluate, written, and found for a data set."""
    values = np.arange(1, 129).reshape(8, 16)
    for name in ("imagesTr/a_0000", "labelsTr/a", "predictions/a_mask"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savetxt(tmp_path / f"{name}.toy", values if "images" in name else values > 100, fmt="%d")
    program = (
        TOY
        + """
    import os, sys
    from pathlib import Path
    os.chdir(sys.argv[1])
    from hf_lesionseg.datasets.readers.file_search import NIFTI, walk_files
    from hf_lesionseg.evaluation import evaluate_folders
    from hf_lesionseg.imaging import mask_writer, read_mask, read_scan
    from hf_lesionseg.inference import parse_cases

    scan = read_scan("imagesTr/a_0000.toy")
    assert scan.data[7, 7, 1] == 128 and scan.spacing == (2.0, 2.0, 4.0)
    (case,) = parse_cases(["imagesTr"])
    assert case.files(["t1w"]) == {"t1w": Path("imagesTr/a_0000.toy")}
    (case,) = parse_cases(["imagesTr/a_0000.toy"])
    assert case.stem == "a_0000"
    summary = evaluate_folders("predictions", "labelsTr", "scores", progress=False)
    assert summary["dice"]["mean"] == 1 and summary["n_cases"] == 1
    mask_writer("again.toy")("again.toy", scan.data > 100, like=scan)
    assert (read_mask("again.toy").data == (scan.data > 100)).all()
    assert [path.name for path in walk_files(Path("labelsTr"), NIFTI)] == ["a.toy"]
    """
    )
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_writers():
    assert mask_writer("a.nii.gz").__name__ == mask_writer("a.nii").__name__ == "write_mask"
    assert mask_writer("a.mha").__name__ == "write_metaimage"
    with pytest.raises(OutputError, match=r"a\.mgz: masks are not written in this format; .*\.nii\.gz, \.nii, \.mha"):
        mask_writer("a.mgz")


@pytest.mark.parametrize("ending", ["mgh", "mgz", "nrrd", "mha"])
def test_damaged_headers_give_a_typed_error_or_a_volume(tmp_path, ending):
    whole = save(tmp_path, ending, AFFINES["oblique"]).read_bytes()
    path, rng, read, told = tmp_path / f"damaged.{ending}", np.random.default_rng(5), 0, []
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(min(len(whole), 300), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            assert read_nifti(path).data.ndim == 3
            read += 1
        except VolumeError as error:
            told.append(str(error))
    assert all(str(path) in line and "\n" not in line for line in told)
    assert told
    assert read or ending == "mgz"  # any damage to a compressed file is found
