import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([0.9, 1.1, 3.0]), [-40, 12, 7])


@pytest.fixture
def oblique():
    """An affine of anisotropic voxels, rotated about all three axes."""
    return OBLIQUE.copy()


@pytest.fixture
def brain():
    """A small scan: noise of 10 to 100 in a box, zero around it; float32 (12, 14, 9)."""
    volume = np.zeros((12, 14, 9), np.float32)
    volume[2:10, 3:12, 1:8] = np.random.default_rng(7).uniform(10, 100, (8, 9, 7))
    return volume


@pytest.fixture
def save(tmp_path):
    """Return a function that writes an image and sets header fields to exact values, past nibabel's own repairs."""

    def save_image(data, affine=None, name="scan.nii.gz", kind=nib.Nifti1Image, codes=None, **fields):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = kind(data, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
        if codes is not None:
            image.set_qform(image.affine, codes[0])
            image.set_sform(image.affine, codes[1])
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        nib.save(image, plain)
        if fields:
            set_fields(plain, kind.header_class, fields)
        if path != plain:
            path.write_bytes(gzip.compress(plain.read_bytes(), 1))
            plain.unlink()
        return path

    return save_image


def set_fields(path, header_class, fields):
    content = bytearray(path.read_bytes())
    size = header_class.template_dtype.itemsize
    structure = np.frombuffer(bytes(content[:size]), header_class.template_dtype).copy()
    if structure["sizeof_hdr"][0] != size:
        structure = np.frombuffer(bytes(content[:size]), header_class.template_dtype.newbyteorder()).copy()
    for name, value in fields.items():
        structure[name] = value
    content[:size] = structure.tobytes()
    path.write_bytes(content)


@pytest.fixture
def header_bytes():
    """Return a function that reads named header fields as raw bytes, as the file has them."""

    def fields_of(path, *names):
        content = Path(path).read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        kind = nib.Nifti2Header if int.from_bytes(content[:4], "little") in (540, 0x1C020000) else nib.Nifti1Header
        structure = np.frombuffer(content[: kind.template_dtype.itemsize], kind.template_dtype)
        return {name: structure[name].tobytes() for name in names}

    return fields_of
