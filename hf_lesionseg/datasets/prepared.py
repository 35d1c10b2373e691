"""Prepared data: every case as slices ready for training, memory-mapped, with its truth on the grid of the scan.

On disk, under one folder::

    dataset.json               name, synthetic or not, licence, cases, rejected files with reasons
    preprocessor_config.json   the image processor that made the slices, and that goes along with the model
    splits.json                which case is in which split
    cases/<id>/pixel_values.npy   float16 (num_slices, channels, height, width)
    cases/<id>/labels.npy         uint8 (num_slices, height, width)
    cases/<id>/truth.nii.gz       union of the lesion files on the grid of the scan
    cases/<id>/case.json          person, volume, geometry, slices with lesion and with tissue, source files

A 197x233x189 scan prepared for CLCI-Net takes 3 bytes a pixel, 22 MB (14 GB for the 655 scans of ATLAS R2.0). In memory
a process holds the ``case.json`` of each case (some kilobytes) and the slices of a batch: files are opened, mapped,
copied from and closed for each read, so that no map grows with the pages that were touched.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..imaging import read_mask
from ..models.image_processing_lesion import LesionImageProcessor
from ..models.volume_geometry import SliceGeometry
from .splits import load_splits

FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
PROCESSOR_FILE = "preprocessor_config.json"
SPLITS_FILE = "splits.json"


@dataclass(frozen=True)
class PreparedCase:
    """One case of a prepared folder.

    Attributes
    ----------
    folder : Path
    record : dict
        What ``case.json`` holds.
    """

    folder: Path
    record: dict

    @property
    def id(self):
        return self.record["id"]

    @property
    def person(self):
        return self.record["person"]

    @property
    def lesion_ml(self):
        """Volume of the truth in mL."""
        return self.record["lesion_ml"]

    @property
    def voxel_ml(self):
        """Volume of a voxel of the scan in mL."""
        return self.record["voxel_ml"]

    @property
    def num_slices(self):
        return self.record["num_slices"]

    @property
    def lesion_slices(self):
        """Indices of the slices that show lesion."""
        return self.record["lesion_slices"]

    @property
    def tissue_slices(self):
        """Indices of the slices that show anything."""
        return self.record["tissue_slices"]

    @cached_property
    def geometry(self):
        """How the slices lie in the scan: :class:`~hf_lesionseg.models.volume_geometry.SliceGeometry`."""
        return SliceGeometry.from_dict(self.record["geometry"])

    def pixel_values(self, index=slice(None)):
        """float32 (slices, channels, height, width), or (channels, height, width) for one index."""
        return self._read("pixel_values.npy", index).astype(np.float32)

    def labels(self, index=slice(None)):
        """uint8 (slices, height, width), or (height, width) for one index: 1 in the lesion."""
        return np.array(self._read("labels.npy", index))

    def truth(self):
        """The lesion on the grid of the scan, a :class:`~hf_lesionseg.imaging.Scan` of zeros and ones."""
        return read_mask(self.folder / "truth.nii.gz")

    def _read(self, name, index):
        try:
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)[index]
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder / name}: cannot be read ({error}); remove the folder of this case and prepare again"
            ) from error


class PreparedDataset:
    """A folder made by ``lesionseg prepare``.

    Raises
    ------
    DataError
        If the folder is empty, or holds something else.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / DATASET_FILE
        if not path.is_file():
            raise DataError(
                f"{folder}: no prepared data here ({DATASET_FILE} is missing); run `lesionseg prepare` first"
            )
        try:
            self.record = json.loads(path.read_text(encoding="utf-8"))
            version, cases = self.record["format_version"], self.record["cases"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged ({error}); prepare the data again") from error
        if version != FORMAT_VERSION:
            raise DataError(f"{path}: format {version}, this version reads {FORMAT_VERSION}; prepare the data again")
        if not cases:
            raise DataError(f"{path}: holds no case; see its list of rejected files")
        self.cases = [PreparedCase(self.folder / "cases" / case["id"], case) for case in cases]

    @property
    def name(self):
        return self.record["name"]

    @property
    def synthetic(self):
        """Whether the lesions are generated; wherever a score is shown, it is said."""
        return self.record["synthetic"]

    @property
    def licence(self):
        return self.record.get("licence", "")

    @property
    def channel_names(self):
        return self.record["channel_names"]

    @property
    def rejected(self):
        """Files that were left out: dicts with ``path`` and ``reason``."""
        return self.record["rejected"]

    def processor(self):
        """The image processor that made the slices."""
        return LesionImageProcessor.from_pretrained(self.folder)

    def splits(self):
        """Split name -> case ids, from ``splits.json``."""
        return load_splits(self.folder / SPLITS_FILE, [case.id for case in self.cases])

    def select(self, split):
        """The cases of one split; none where there is no such split."""
        chosen = set(self.splits().get(split, ()))
        return [case for case in self.cases if case.id in chosen]

    def fingerprint(self):
        """Hash of the cases, their splits and the processor: another data set has another one."""
        content = {
            "cases": sorted((case.id, case.num_slices, case.lesion_ml) for case in self.cases),
            "splits": {name: sorted(ids) for name, ids in self.splits().items()},
            "processor": json.loads((self.folder / PROCESSOR_FILE).read_text(encoding="utf-8")),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
