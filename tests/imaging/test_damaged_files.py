"""Files that arrive broken: never half a scan, never the cause hidden."""

import gzip

import numpy as np
import pytest

from hf_lesionseg.errors import ScanError
from hf_lesionseg.imaging import read_scan


@pytest.fixture
def volume():
    return np.random.default_rng(1).integers(0, 4000, (32, 32, 40)).astype(np.int16)


def refused(path, match):
    with pytest.raises(ScanError, match=match) as error:
        read_scan(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_gz_that_is_not_gzip(save, volume):
    path = save(volume, name="scan.nii")
    refused(path.rename(path.with_name("scan.nii.gz")), "not gzip; rename it")


def test_gzip_without_the_suffix(save, volume):
    path = save(volume, name="scan.nii.gz")
    refused(path.rename(path.with_name("scan.nii")), "is gzip; rename it to scan.nii.gz")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_gzip(save, volume, share):
    path = save(volume)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated or damaged")


def test_gzip_without_its_last_bytes(save, volume):
    # all voxels are there; only the checksum is not
    path = save(volume)
    path.write_bytes(path.read_bytes()[:-8])
    refused(path, "truncated or damaged")


def test_wrong_checksum(save, volume):
    path = save(volume)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    refused(path, "truncated or damaged.*CRC")


def test_damage_in_the_middle(save, volume):
    path = save(volume)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_truncated_plain_file(save, volume):
    path = save(volume, name="scan.nii")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "truncated or damaged")


def test_header_that_claims_more_than_there_is(save, volume):
    path = save(volume, dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    refused(path, "memory|truncated")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_text_under_a_nifti_name(tmp_path, name):
    text = b"This is not a scan. " * 100
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    refused(tmp_path / name, "NIfTI")


def test_unknown_data_type(save, volume):
    refused(save(volume, datatype=9999), "NIfTI")
