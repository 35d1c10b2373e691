"""Prepared data as they lie on disk, opened for reading.

A folder holds ``dataset.json`` (what it is, its cases, what was rejected and why), ``preprocessor_config.json``,
``splits.json`` and, per case, ``cases/<id>/``: ``pixel_values.npy`` (num_slices, C, H, W), float16 or, where that would
cost contrast, float32; ``labels.npy`` uint8 (num_slices, H, W), ``truth.nii.gz`` (the lesion on the scan's own grid)
and ``case.json``. Slices lie there by themselves; the processor's ``slice_stack`` is made of them when they are read.
Where the data set has ``target_channels``, images that training learns from and no network takes, they are in
``targets.npy``, of the same types (num_slices, targets, H, W).

What is held in memory: names, numbers and lists of slices, about 4 kB per case, 3 MB for 655 cases. Arrays are mapped
when they are read and let go at once.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...models.file_diagnosis import is_file, what_is_denied
from ...models.slice_stack import stack_slices, stacked_channels
from .mapped import map_array
from .splits import load_splits

__all__ = [
    "CASES",
    "DATASET",
    "FORMAT_VERSION",
    "HEADS",
    "PROCESSOR",
    "SPLITS",
    "PreparedCase",
    "PreparedDataset",
    "typical_grid",
]

FORMAT_VERSION = 1
DATASET = "dataset.json"
PROCESSOR = "preprocessor_config.json"
SPLITS = "splits.json"
CASES = "cases"
HEADS = "heads"


class PreparedCase:
    """One case of a prepared folder.

    Attributes
    ----------
    id, person : str
    lesion_ml, voxel_ml : mL, on the scan's own grid
    shape : (num_slices, C, H, W), as it lies on disk
    slice_stack : "single", "repeat" or "neighbours": what a slice is read as
    target_channels : names of the images to learn from
    lesion_slices, tissue_slices : int arrays, numbers of the slices that show some
    sources : files of the channels, relative to the data set's folder
    scans : the same files by channel, where they lay when they were prepared; none where that is not known
    notes : what the reader or generator noted of the case
    warnings : what was odd in the files and how it was read
    made_from_series : channels without a file of their own, made from the raw perfusion series
    target_sha256 : hash of the file of each target, by name
    content : hashes of its scans, masks and their JSON files; empty where it was prepared by a version that kept none
    """

    def __init__(
        self,
        folder: Path,
        record: Mapping,
        slice_stack: str = "single",
        target_channels: tuple[str, ...] = (),
        source: Path | None = None,
    ):
        self.folder = folder
        absolute = all(Path(path).is_absolute() for path in record["images"].values())
        known = absolute or source is not None
        self.scans = {name: Path(source or "", path) for name, path in record["images"].items()} if known else {}
        self.target_channels = target_channels
        self.slice_stack = slice_stack
        self.id: str = record["id"]
        self.person: str = record["person"]
        self.lesion_ml = float(record["lesion_ml"])
        self.voxel_ml = float(record["voxel_ml"])
        self.shape = tuple(record["shape"])
        self.lesion_slices = np.asarray(record["lesion_slices"], np.int32)
        self.tissue_slices = np.asarray(record["tissue_slices"], np.int32)
        self.sources: tuple[str, ...] = tuple(record["images"].values())
        self.notes: Mapping = record.get("notes") or {}
        self.warnings: tuple[str, ...] = tuple(record.get("warnings") or ())
        self.made_from_series: tuple[str, ...] = tuple(record.get("made_from_series") or ())
        self.content: tuple[str | None, ...] = tuple(record.get("sha256") or ())
        self.target_sha256 = {name: each.get("sha256") for name, each in (record.get("targets") or {}).items()}

    def __repr__(self) -> str:
        return f"PreparedCase({self.id!r}, {self.num_slices} slices, {self.lesion_ml:.2f} mL)"

    @property
    def num_slices(self) -> int:
        return self.shape[0]

    @cached_property
    def geometry(self):
        """SliceGeometry of the case: the way back to the scan's own grid."""
        from ...models.volume_geometry import SliceGeometry

        return SliceGeometry.from_dict(_read_json(self.folder / "case.json")["geometry"])

    def pixel_values(self, index: int | slice | np.ndarray = slice(None)) -> np.ndarray:
        """Float32 (..., channels, H, W), stacked: one slice for a number, several for a slice or array of numbers."""
        return self._read("pixel_values.npy", index, np.float32, self.slice_stack)

    def planes(self, index: int | slice | np.ndarray = slice(None)) -> np.ndarray:
        """Float32 (..., C, H, W): the slices themselves, without their stack."""
        return self._read("pixel_values.npy", index, np.float32)

    def labels(self, index: int | slice | np.ndarray = slice(None)) -> np.ndarray:
        """Uint8 (..., H, W), 0 or 1, of the same slices."""
        labels = self._read("labels.npy", index, np.uint8)
        if labels.max(initial=0) > 1:
            raise DataError(
                f"{self.folder / 'labels.npy'}: holds {labels.max()}, not only 0 (background) and 1 (lesion); delete "
                "this case and run `lesionseg prepare` again"
            )
        return labels

    def target(self, name: str, index: int | slice | np.ndarray = slice(None)) -> np.ndarray:
        """Float32 (..., H, W) of one of the target channels, of the same slices."""
        if name not in self.target_channels:
            raise DataError(f"{self.folder}: has no target channel {name!r}; prepare the data with target_channels")
        return self._read("targets.npy", index, np.float32)[..., self.target_channels.index(name), :, :]

    def truth(self):
        """The lesion on the scan's own grid: `imaging.Scan` with uint8 0 and 1."""
        from ...imaging import read_mask

        return read_mask(self.folder / "truth.nii.gz")

    def _read(self, name: str, index, dtype, slice_stack: str = "single") -> np.ndarray:
        # mapped, copied and let go: a map that stays open keeps its touched pages in this process
        try:
            mapped = map_array(self.folder / name)
        except (OSError, ValueError) as error:
            reason = what_is_denied(self.folder / name)
            remedy = f"cannot be read ({error}); delete this case and run `lesionseg prepare` again"
            raise DataError(f"{self.folder / name}: {reason or remedy}") from error
        if slice_stack == "repeat":  # of the slices in memory, where it takes none
            return stack_slices(np.array(mapped[index], dtype=dtype), slice_stack, ...)
        return np.array(stack_slices(mapped, slice_stack, index), dtype=dtype)


class PreparedDataset:
    """A folder that ``lesionseg prepare`` wrote.

    Parameters
    ----------
    folder : str or Path

    Attributes
    ----------
    name, licence : of the data set
    synthetic : whether its scans are generated
    channel_names : images of a case
    target_channels : images that training can learn from beside the lesion; in no network's channels
    slice_stack : of the processor
    perfusion_maps : what made the perfusion maps among the channels, see `imaging.perfusion.map_origin`; empty where
        unknown
    remarks : what a person should know of the data set as a whole, such as labels that count as one
    cases : list of PreparedCase, in the order of their ids
    rejected : list of {"path", "reason"}

    Raises
    ------
    DataError
        For a folder that is missing, foreign, unfinished or damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / DATASET
        if not is_file(path):
            if reason := what_is_denied(path):
                raise DataError(f"{path}: {reason}")
            raise DataError(f"{self.folder}: holds no prepared data ({DATASET}); make them with `lesionseg prepare`")
        record = _read_json(path)
        if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
            raise DataError(f"{path}: is not of format {FORMAT_VERSION}; prepare the data again with this version")
        if not record.get("complete"):
            raise DataError(f"{self.folder}: is not finished; run the same `lesionseg prepare` again, it goes on")
        try:
            self.name: str = record["name"]
            self.synthetic = bool(record["synthetic"])
            self.licence: str = record["licence"]
            self.channel_names = tuple(record["channel_names"])
            self.target_channels = tuple(record.get("target_channels", ()))
            self.rejected: list[dict] = list(record["rejected"])
            self.remarks: list[str] = list(record.get("remarks", ()))
            self.perfusion_maps = sorted({made for each in record["cases"] for made in each.get("perfusion_maps", ())})
            settings = _read_json(self.folder / PROCESSOR) if (self.folder / PROCESSOR).is_file() else {}
            self.slice_stack: str = settings.get("slice_stack", "single")
            stacked_channels(1, self.slice_stack)  # a KeyError for one that is unknown
            folders = self.folder / CASES
            source = None if record.get("source") is None else self.folder / record["source"]
            self.cases = [
                PreparedCase(folders / each["id"], each, self.slice_stack, self.target_channels, source)
                for each in record["cases"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: is damaged ({error!r}); prepare the data again") from error
        for case in self.cases:
            if not (case.folder / "case.json").is_file():
                raise DataError(f"{case.folder}: is missing; run the same `lesionseg prepare` again")

    def __repr__(self) -> str:
        return f"PreparedDataset({str(self.folder)!r}, {len(self.cases)} cases)"

    @cached_property
    def heads(self):
        """The catalogue of heads whose slices training renders, or None."""
        folder = self.folder / HEADS
        if not folder.is_dir():
            return None
        from ..synthetic.heads.catalogue import HeadCatalogue

        return HeadCatalogue(folder)

    @property
    def num_channels(self) -> int:
        """Channels of ``pixel_values`` as they are read: what the network takes."""
        return stacked_channels(len(self.channel_names), self.slice_stack)

    def processor(self):
        """The `LesionImageProcessor` that the slices were made with."""
        from ...models.image_processing_lesion import LesionImageProcessor

        return LesionImageProcessor.from_pretrained(self.folder)

    def splits(self) -> dict[str, list[str]]:
        """Case ids of each split, checked against the cases."""
        return load_splits(self.folder / SPLITS, self.cases)

    def select(self, split: str) -> list[PreparedCase]:
        """Cases of one split."""
        splits = self.splits()
        if split not in splits:
            raise DataError(f"{self.folder}: has no split {split!r}, but {', '.join(splits)}")
        wanted = set(splits[split])
        return [case for case in self.cases if case.id in wanted]

    def content(self) -> str | None:
        """Hash of the files that the cases were made of; None where versions before kept none of some case."""
        found = [[case.id, *case.content] for case in self.cases]
        if not all(case.content for case in self.cases):
            return None
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()

    def fingerprint(self) -> str:
        """Hash of what training on this folder depends on: format, processor, cases, their lesions and targets."""
        identity = {
            "format_version": FORMAT_VERSION,
            "processor": _read_json(self.folder / PROCESSOR),
            "cases": [[case.id, case.person, case.lesion_ml, *case.shape] for case in self.cases],
        }
        if self.target_channels:  # data without keep the hash that they had before there were any
            identity["target_channels"] = list(self.target_channels)
            hashes = [[case.target_sha256.get(name) for name in self.target_channels] for case in self.cases]
            if any(any(each) for each in hashes):  # nor do those of versions that kept none get another
                identity["targets"] = hashes
        if self.heads is not None:
            identity["heads"] = [self.heads.fingerprint, self.heads.hard_negatives]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def typical_grid(cases) -> list[float]:
    """Median distance in mm of rows, columns and slices in the scans of these cases, before resampling."""
    sides = []
    for case in cases:
        geometry = case.geometry
        kept = zip(geometry.plane_spacing, geometry.plane_shape, geometry.resampled_shape, strict=True)
        sides.append([*(side * after / before for side, before, after in kept), geometry.slice_spacing])
    return [round(float(side), 4) for side in np.median(sides, axis=0)]


def _read_json(path: Path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        remedy = f"cannot be read ({error}); run `lesionseg prepare` again"
        raise DataError(f"{path}: {what_is_denied(path) or remedy}") from error
