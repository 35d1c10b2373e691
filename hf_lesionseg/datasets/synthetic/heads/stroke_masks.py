"""Real lesion masks in MNI space, packed: one file for thousands of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from ....errors import DataError

__all__ = ["LesionMasks", "clean_mask", "read_masks"]

#: Larger masks have run out of the brain; smaller ones are noise. mL
LARGEST_ML, SMALLEST_ML = 400.0, 0.05


def read_masks(source: Path) -> Iterator[tuple[str, nib.Nifti1Image, bytes]]:
    """Masks of a folder or a tar archive, by name in its order.

    Yields
    ------
    name, image, bytes of the file

    Raises
    ------
    DataError
        Where it holds none, or one cannot be read.
    """
    files = _tar_members(source) if source.is_file() else _folder_members(source)
    found = False
    for name, content in files:
        found = True
        try:
            image = nib.Nifti1Image.from_bytes(_plain(content))
            image = nib.Nifti1Image((np.asanyarray(image.dataobj) > 0).astype(np.uint8), image.affine)
        except Exception as error:
            raise DataError(f"{source}: the mask {name} cannot be read ({error}); remove or replace it") from error
        yield name, image, content
    if not found:
        raise DataError(f"{source}: holds no lesion masks (.nii or .nii.gz); give a folder or a tar archive of them")


def _plain(content):
    import gzip

    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _folder_members(folder):
    if not folder.is_dir():
        raise DataError(f"{folder}: no such file or folder; give lesion masks with --lesions")
    for path in sorted([*folder.rglob("*.nii"), *folder.rglob("*.nii.gz")]):
        if not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _tar_members(path):
    import tarfile

    try:
        with tarfile.open(path) as archive:
            names = sorted(name for name in archive.getnames() if name.endswith((".nii", ".nii.gz")))
            for name in names:
                if not Path(name).name.startswith("."):
                    yield name, archive.extractfile(name).read()
    except tarfile.TarError as error:
        raise DataError(f"{path}: cannot be read as a tar archive ({error})") from error


def clean_mask(image: nib.Nifti1Image, brain, name: str):
    """Keep what of a mask lies in the brain, without crumbs, cropped.

    Parameters
    ----------
    image : lesion above 0, in MNI space at 1 mm
    brain : callable
        Tells for points (n, 3) in mm of MNI space whether they lie in the brain.
    name : of the file

    Returns
    -------
    mask : bool array (X, Y, Z), RAS+, or None where less than ``SMALLEST_ML`` or more than ``LARGEST_ML`` are left
    origin : array of 3, mm
        Position of its first voxel.

    Raises
    ------
    DataError
        For a mask that is not in MNI space at 1 mm.
    """
    image = nib.as_closest_canonical(image)
    affine = image.affine
    if not np.allclose(affine[:3, :3], np.eye(3), atol=0.02):
        raise DataError(
            f"{name}: lies on another grid than MNI space at 1 mm (its axes are {affine[:3, :3].round(2).tolist()}); "
            "resample it"
        )
    if not (affine[:3, 3] < 0).all() or not (affine[:3, 3] > -130).all():
        raise DataError(f"{name}: begins at {affine[:3, 3].tolist()} mm, which is not MNI space; normalise it")
    mask = np.asarray(image.dataobj) > 0
    if not mask.any():
        return None, None
    mask, first = _cropped(mask)
    origin = affine[:3, 3] + first
    voxels = np.argwhere(mask)
    mask[tuple(voxels[~brain(voxels + origin)].T)] = False
    parts, count = ndi.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    mask = np.isin(parts, np.flatnonzero(sizes >= 8))
    if not SMALLEST_ML <= mask.sum() / 1000 <= LARGEST_ML:
        return None, None
    mask, first = _cropped(mask)
    return mask, origin + first


def _cropped(mask):
    """The part of a mask that is not empty, and the voxel where it begins."""
    box = tuple(
        slice(int(found[0]), int(found[-1]) + 1)
        for found in (np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    )
    return mask[box].copy(), np.array([axis.start for axis in box])


class LesionMasks:
    """The masks of a catalogue.

    Parameters
    ----------
    path : Path
        ``lesions.npy``.
    records : sequence of mapping
        ``id``, ``split``, ``volume_ml``, ``shape``, ``origin``, ``first`` and ``bytes`` of each.
    """

    def __init__(self, path: Path, records: Sequence):
        self._path, self._packed = path, None
        self._by_split: dict[str, list] = {}
        for record in records:
            self._by_split.setdefault(record["split"], []).append(record)
        self._volumes = {
            split: np.array([record["volume_ml"] for record in found]) for split, found in self._by_split.items()
        }

    def __len__(self):
        return sum(map(len, self._by_split.values()))

    def choose(self, split: str, volume_ml: float, rng: np.random.Generator):
        """Draw a mask of about a volume: among the forty nearest in size.

        Returns
        -------
        mask : uint8 array
        origin : array of 3, mm of MNI space
        record : mapping
        """
        apart = np.abs(np.log(self._volumes[split] / volume_ml))
        nearest = np.argsort(apart, kind="stable")[: min(40, len(apart))]
        record = self._by_split[split][int(rng.choice(nearest))]
        return self.read(record), np.array(record["origin"], np.float32), record

    def read(self, record):
        if self._packed is None:
            self._packed = np.load(self._path, mmap_mode="r")
        packed = self._packed[record["first"] : record["first"] + record["bytes"]]
        return np.unpackbits(packed, count=int(np.prod(record["shape"]))).reshape(record["shape"])
