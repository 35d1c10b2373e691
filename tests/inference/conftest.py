"""A small network that has learnt to find bright blobs, and heads with a blob at a known place."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

BLOB_VOXEL_RAS = (14, 30, 9)  # indices in the canonical head: on the person's left, in front, below the middle


def slices_with_blobs(count, size, random):
    """Ellipses of grey 0.5 with, mostly, a disc of grey 0.95 inside; and the discs."""
    y, x = np.indices((size, size))
    head = ((y - size / 2) / (size / 2 - 3)) ** 2 + ((x - size / 2) / (size / 2 - 5)) ** 2 < 1
    images = np.zeros((count, 1, size, size), dtype=np.float32)
    discs = np.zeros((count, size, size), dtype=np.int64)
    for image, disc in zip(images[:, 0], discs, strict=True):
        image[:] = head * (0.5 + 0.05 * random.standard_normal((size, size)))
        if random.random() < 0.8:
            (row, column), radius = random.uniform(14, size - 14, 2), random.uniform(3, 6)
            disc[((y - row) ** 2 + (x - column) ** 2 < radius**2) & head] = 1
            image[disc > 0] = 0.95
    return torch.from_numpy(images), torch.from_numpy(discs)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A saved CLCI-Net of width 4, trained for some seconds, with its image processor."""
    from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    # Threads that wait for each other on busy cores would make seconds minutes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # Statistics of batch norm follow fast, since there are few steps.
    config = CLCINetConfig(base_width=4, dropout=0.0, batch_norm_momentum=0.3, aspp_dilations=(1, 2, 3))
    model = CLCINetForSemanticSegmentation(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(50):
        images, discs = slices_with_blobs(8, 48, random)
        model(pixel_values=images, labels=discs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    LesionImageProcessor(normalization="fixed-range", intensity_range=(0, 100)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(model_folder):
    from hf_lesionseg.inference import load_model

    return load_model(model_folder)


def canonical_head(blob=True):
    """A head of 0..100 in RAS+ axes, 46 x 50 x 24 voxels, empty slices at both ends; and its blob of value 95."""
    random = np.random.default_rng(1)
    shape = (46, 50, 24)
    x, y, z = np.indices(shape)
    inside = ((x - 23) / 18) ** 2 + ((y - 25) / 21) ** 2 + ((z - 11.5) / 14) ** 2 < 1
    inside[:, :, :3] = inside[:, :, -4:] = False
    head = np.where(inside, 50 + 5 * random.standard_normal(shape), 0)
    cx, cy, cz = BLOB_VOXEL_RAS
    ball = ((x - cx) / 5) ** 2 + ((y - cy) / 5) ** 2 + ((z - cz) / 3) ** 2 < 1
    if blob:
        head[ball] = 95
    return head.clip(0, 100).astype(np.float32), ball if blob else np.zeros(shape, dtype=bool)


def stored_head(codes="RAS", *, blob=True):
    """The head as an image whose axes run as ``codes`` say, on an oblique grid of 2 x 1.5 x 3 mm; and its blob."""
    head, ball = canonical_head(blob)
    angle = np.deg2rad(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2, 1.5, 3])
    affine[:3, 3] = -41.25, 17.5, 63.125
    to_file = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    file_affine = affine @ nib.orientations.inv_ornt_aff(to_file, head.shape)
    image = nib.Nifti1Image(nib.orientations.apply_orientation(head, to_file), file_affine)
    image.set_qform(file_affine, code="scanner")
    image.set_sform(file_affine, code="scanner")
    image.header["descrip"] = b"a phantom"
    centre_mm = nib.affines.apply_affine(affine, BLOB_VOXEL_RAS)
    return SimpleNamespace(
        image=image, blob=nib.orientations.apply_orientation(ball, to_file), centre_mm=centre_mm, voxel_ml=0.009
    )


@pytest.fixture
def write_head(tmp_path):
    """Return a function that writes a head into ``tmp_path`` and gives its path and what is in it."""

    def write(name="scan.nii.gz", codes="RAS", **kwargs):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = stored_head(codes, **kwargs)
        nib.save(head.image, path)
        return SimpleNamespace(path=path, **vars(head))

    return write


@pytest.fixture
def out(tmp_path):
    """A folder for results, not made yet."""
    return tmp_path / "results"
