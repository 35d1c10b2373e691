"""What stands in the place of a scan or of weights is told by its name, and real files are told nothing of."""

import bz2
import gzip
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hf_lesionseg.models.file_diagnosis import (
    channels_first,
    dicom_files_in,
    what_is,
    what_model_folder_is,
    what_weights_are,
    why_not_there,
)
from hf_lesionseg.models.nifti_volume import read_nifti
from hf_lesionseg.models.volume_geometry import VolumeError

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 2366244\n"


@pytest.fixture(scope="module")
def scan():
    """The bytes of a real .nii.gz."""
    image = nib.Nifti1Image(np.random.default_rng(0).random((9, 8, 7), np.float32), np.eye(4))
    return gzip.compress(image.to_bytes(), mtime=0)


def tar_of(content):
    import io

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("scan.nii")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LFS.encode(), r"is a Git LFS pointer, not the file of 2\.4 MB itself; run `git lfs pull`"),
        (b"/annex/objects/SHA256E-s1--aa.nii.gz\n", "pointer of git-annex .*datalad get"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "error message of a server"),
        (b"", r"is empty \(0 bytes\)"),
        (b"\0" * 4096, "begins with zeros only"),
        (b"Not found\n", "not gzip; nor is it NIfTI: download or export it again"),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "is one DICOM slice.*dcm2niix"),
        (bz2.compress(b"x" * 99), "compressed by bzip2"),
        (lzma.compress(b"x" * 99), "compressed by xz"),
        (b"PK\x03\x04" + b"\0" * 30, "is a zip archive; unpack it"),
        (b"NRRD0004\n", "is an NRRD file"),
        (b"ObjectType = Image\n", "is a MetaImage"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
        (b"\x93NUMPY\x01\0", "is a NumPy array"),
        (
            gzip.compress(gzip.compress(b"x" * 999, mtime=0), mtime=0),
            r"compressed twice \(gzip in gzip\); unpack it once",
        ),
        (gzip.compress(tar_of(b"x" * 600), mtime=0), "its content is a tar archive"),
        (gzip.compress(LFS.encode(), mtime=0), "its content is a Git LFS pointer"),
    ],
)
def test_each_kind_is_named_with_what_to_do(tmp_path, content, told):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=f"scan.nii.gz: .*{told}"):
        read_nifti(path)


@pytest.mark.parametrize("ending", ["img", "img.gz"])
def test_voxels_of_a_pair_may_begin_with_anything(tmp_path, ending):
    image = nib.Nifti1Pair(np.pad(np.ones((4, 4, 4), np.int16), 3), np.eye(4))
    nib.save(image, tmp_path / f"scan.{ending}")
    assert read_nifti(tmp_path / f"scan.{ending}").data.sum() == 64


@pytest.mark.parametrize("ending", ["nhdr", "mhd", "mnc", "npy", "png", "nii.gz.part"])
def test_formats_that_are_not_read_are_named_by_their_ending(tmp_path, scan, ending):
    path = tmp_path / f"scan.{ending}"
    path.write_bytes(scan)
    with pytest.raises(
        VolumeError, match=r"NRRD file in two parts|MetaImage in two parts|MINC|NumPy|picture|unfinished"
    ):
        read_nifti(path)


def test_links(tmp_path, scan):
    (tmp_path / "annex.nii.gz").symlink_to("../.git/annex/objects/xx/SHA256E-s1.nii.gz")
    (tmp_path / "broken.nii.gz").symlink_to("gone.nii.gz")
    (tmp_path / "loop.nii.gz").symlink_to("loop.nii.gz")
    assert "datalad get annex.nii.gz" in why_not_there(tmp_path / "annex.nii.gz")
    assert "is a link to gone.nii.gz, which is not there" in why_not_there(tmp_path / "broken.nii.gz")
    assert "leads to itself" in why_not_there(tmp_path / "loop.nii.gz")
    assert "no such file" in why_not_there(tmp_path / "missing.nii.gz")
    (tmp_path / "gone.nii.gz").write_bytes(scan)
    assert what_is(tmp_path / "broken.nii.gz") is None
    os.mkfifo(tmp_path / "pipe.nii")
    assert "not an ordinary file" in what_is(tmp_path / "pipe.nii")


def test_not_readable_is_told_from_missing(tmp_path, scan):
    """As another user, who may not read the file or enter its folder; root may do anything."""
    for name in ("scan.nii.gz", "closed/scan.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(scan)
    (tmp_path / "scan.nii.gz").chmod(0o600)
    (tmp_path / "closed").chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    program = """
        import os, sys
        from hf_lesionseg.models.file_diagnosis import what_is
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
        for name in sys.argv[1:]:
            print(what_is(name))
    """
    names = [str(tmp_path / name) for name in ("scan.nii.gz", "closed/scan.nii.gz", "missing.nii.gz")]
    if os.getuid():
        (tmp_path / "scan.nii.gz").chmod(0)
        (tmp_path / "closed").chmod(0)
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program), *names], capture_output=True, text=True)
    (tmp_path / "closed").chmod(0o700)
    mine, closed, missing = run.stdout.splitlines()
    assert mine.startswith("exists, but you may not read it")
    assert "ask its owner for `chmod" in mine
    assert closed.startswith("cannot be reached, since you may not enter a folder above it")
    assert missing.startswith("no such file")


@pytest.mark.parametrize("order", ["<", ">"])
def test_real_headers_are_never_taken_for_anything_else(tmp_path, order):
    """Bytes that look like other formats are possible everywhere but in the first four."""
    header = bytearray(nib.Nifti1Header(endianness=order).binaryblock)
    header[128:132], header[257:262] = b"DICM", b"ustar"
    (tmp_path / "scan.nii").write_bytes(bytes(header) + b"\0" * 100)
    assert what_is(tmp_path / "scan.nii") is None
    (tmp_path / "scan.img").write_bytes(b"BZh" + b"\0" * 100)
    assert what_is(tmp_path / "scan.img") is None


def test_channels_first_is_told_and_a_series_of_volumes_is_not(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((1, 20, 24, 9), np.float32), np.eye(4)), tmp_path / "first.nii.gz")
    with pytest.raises(VolumeError, match="looks like channels first"):
        read_nifti(tmp_path / "first.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((20, 24, 9, 4), np.float32), np.eye(4)), tmp_path / "last.nii.gz")
    with pytest.raises(VolumeError, match="holds 4 volumes"):
        read_nifti(tmp_path / "last.nii.gz")
    assert [channels_first(shape) for shape in ((4, 99, 99, 50), (2, 2, 2, 2), (1, 9, 9, 1), (9, 9, 9))] == [
        True, False, False, False,
    ]  # fmt: skip


def test_dicom_files_are_found_by_their_mark(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IM1").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes.txt").write_text("no slice")
    assert dicom_files_in(tmp_path) == [tmp_path / "a" / "IM1"]
    with pytest.raises(VolumeError, match="a: is a folder of DICOM files; convert it: dcm2niix"):
        read_nifti(tmp_path / "a")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100), "b": torch.ones(7)}, path)
    return path


@pytest.mark.parametrize("missing", [1, 300, 420])
def test_weights_cut_off_anywhere_are_told(weights, missing):
    whole = weights.read_bytes()
    assert what_weights_are(weights) is None
    weights.write_bytes(whole[:-missing])
    assert f"is cut off: {len(whole) - missing} of {len(whole)} bytes are there" in what_weights_are(weights)
    weights.write_bytes(whole[:40])
    assert "cut off within its header" in what_weights_are(weights)


def test_weights_that_are_something_else(weights):
    weights.write_text(LFS)
    assert "Git LFS pointer" in what_weights_are(weights)
    torch.save({"a": torch.zeros(2)}, weights)
    assert "zip archive" in what_weights_are(weights)
    weights.write_bytes(struct.pack("<Q", 2) + b"[]")
    assert "is not a safetensors file" in what_weights_are(weights)
    weights.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert what_weights_are(weights) is None
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("a", "b")
    assert "zip archive" in what_weights_are(weights)


def test_folders_that_are_taken_for_a_network(tmp_path):
    step = tmp_path / "run" / "checkpoints" / "step_4"
    step.mkdir(parents=True)
    (step / "training_state.json").write_text("{}")
    assert "no network before its first validation" in what_model_folder_is(step)
    assert "was not validated yet" in what_model_folder_is(tmp_path / "run")
    (step / "best").mkdir()
    (step / "best" / "config.json").write_text("{}")
    assert what_model_folder_is(step).endswith(f"give the network of that run: {step / 'best'}")
    (tmp_path / "run" / "config.json").write_text("{}")
    assert what_model_folder_is(step).endswith(f"give the network of that run: {tmp_path / 'run'}")
    assert what_model_folder_is(tmp_path) == f"has no config.json, but {tmp_path / 'run'} has; give that"
    cached = tmp_path / "models--org--net" / "snapshots" / "0123"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text(json.dumps({}))
    assert f"or {cached}" in what_model_folder_is(tmp_path / "models--org--net")
    (tmp_path / "prepared" / "cases").mkdir(parents=True)
    (tmp_path / "prepared" / "dataset.json").write_text("{}")
    assert "holds prepared data" in what_model_folder_is(tmp_path / "prepared")
    (tmp_path / "file").touch()
    assert "is a file; give the folder" in what_model_folder_is(tmp_path / "file")
    assert "no such file" in what_model_folder_is(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert what_model_folder_is(tmp_path / "empty") is None
