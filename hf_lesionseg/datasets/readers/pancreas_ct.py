"""Pancreas-CT of the NIH (TCIA): DICOM series or converted scans, matched with their labels by array index.

* NBIA: ``manifest-1599750808610/Pancreas-CT/PANCREAS_0001/<study>/<series>/1-001.dcm``
* older: ``DOI/PANCREAS_0001/<UID>/<UID>/000001.dcm``
* flattened: ``Pancreas-CT/PANCREAS_0001/1-001.dcm``
* converted: ``data/PANCREAS_0001.nii.gz``
* labels: ``TCIA_pancreas_labels-02-05-2017/label0001.nii.gz``

Compressed or not, in any folder. Label voxel [x, y, k] belongs to row y, column x of the slice with InstanceNumber
k + 1: the labels' own affines disagree with the scans and are never used.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from ...errors import DataError, GridMismatchError
from ...imaging import Scan, read_scan, replace_folder_aside, write_mask, write_volume
from ...imaging.dicom import read_dicom_series, require_pydicom
from ...imaging.file_identity import files_sha256
from ...imaging.label_census import LabelCensus
from ...imaging.scan import read_label_map
from ..prepared.records import CaseRecord, Origin, RejectedCase
from ..prepared.writing import claim_output
from ..workers import run_tasks
from .file_search import NIFTI, rejection, walk_files
from .label_overlap import HU_RANGE, check_label
from .reader import Found, Option, Reader

__all__ = ["PancreasCT", "PancreasRecord"]

_WITHDRAWN = {"PANCREAS_0025": "PANCREAS_0002", "PANCREAS_0070": "PANCREAS_0002"}
_CASE = re.compile(r"PANCREAS_(\d{4})", re.IGNORECASE)
_LABEL = re.compile(r"^label_?(\d{4})" + NIFTI, re.IGNORECASE)
_SCAN = re.compile(r"^PANCREAS_(\d{4})" + NIFTI, re.IGNORECASE)
_REMEDY = (
    "give the folder that holds PANCREAS_0001/.../*.dcm or PANCREAS_0001.nii.gz, and the labels label0001.nii.gz in it "
    "or named apart"
)


@dataclass(frozen=True)
class PancreasRecord(CaseRecord):
    """One scan with its label, as they lie on disk.

    Attributes
    ----------
    images : the NIfTI file under "ct", or the folder of the first DICOM series
    series : files of each DICOM series, one folder each
    """

    series: tuple[tuple[Path, ...], ...] = ()

    @property
    def label(self) -> Path:
        """NIfTI file of the label."""
        return self.masks[0]

    @property
    def scan(self) -> Path | None:
        """NIfTI file of the scan, None where it is DICOM."""
        return None if self.series else self.images["ct"]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case."""
        return (self.label, *((self.scan,) if self.scan else ()), *(path for each in self.series for path in each))


@dataclass(frozen=True, kw_only=True)
class PancreasCT(Reader):
    """Pancreas-CT, whose labels are checked against their scans before they are prepared.

    Attributes
    ----------
    labels : folder of the labels, where they do not lie beside the scans
    hu_range : mean under a label that lies on its organ, HU
    """

    command = "pancreas-ct"
    title = "Pancreas-CT"
    licence = "Pancreas-CT (Roth et al., The Cancer Imaging Archive, 2016): used under the terms on its page there"
    help = """Prepare Pancreas-CT of the NIH: CT scans with the pancreas outlined.

    The command matches scans and labels by array index and checks each label against its scan. If a label does not lie
    on soft tissue, the command tries flips along y and z, and prints its verdict. It leaves out cases 25 and 70, which
    were withdrawn. It names a case that it cannot use, and prepares the others; the exit status is then 1.

    `lesionseg prepare pancreas-ct Pancreas-CT -o pancreas`
    """
    source_help = "Folder of Pancreas-CT: DICOM series or NIfTI scans."
    unit = "files"
    channels = ("ct",)
    #: One fold of four for the test, as in cross-validation on this data set.
    fractions = {"train": 0.65, "validation": 0.1, "test": 0.25}
    recipe = "l-snet-pancreas"
    recipe_help = "CT from -100 to 240 HU, each slice as three equal channels"

    labels: Annotated[Path | None, Option("Folder of the labels. Default: SOURCE.", metavar="DIR", must_exist=True)] = (
        None
    )
    hu_range: Annotated[
        tuple[float, float], Option("Lowest and highest mean HU under a label on the pancreas.", metavar="LOW HIGH")
    ] = HU_RANGE

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases; rejected are 25 and 70 (withdrawn), scans or labels that are alone, and second copies."""
        source = Path(source)
        labels = source if self.labels is None else Path(self.labels)
        for folder in (source, labels):
            if not folder.is_dir():
                raise DataError(f"{folder}: is not a folder; {_REMEDY}")
        series: dict[str, dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
        scans: dict[str, list[Path]] = defaultdict(list)
        for path in walk_files(source, rf"(?:\.dcm|\.DCM|{NIFTI})$"):
            if found := _SCAN.match(path.name):
                scans[_id(found)].append(path)
            elif path.suffix.lower() == ".dcm" and (found := _CASE.search(path.relative_to(source).as_posix())):
                series[_id(found)][path.parent].append(path)
        if not series and not scans:
            raise DataError(f"{source}: holds no scan of Pancreas-CT; {_REMEDY}")
        label_of: dict[str, list[Path]] = defaultdict(list)
        for path in walk_files(labels, NIFTI):
            if found := _LABEL.match(path.name):
                label_of[_id(found)].append(path)

        cases, rejected = [], []
        for case in sorted({*series, *scans, *label_of}):
            folders = [tuple(sorted(files)) for _, files in sorted(series[case].items())]
            here = [*(files[0].parent for files in folders), *scans[case]]
            if case in _WITHDRAWN:
                reason = f"withdrawn in 2020: the same scan as {_WITHDRAWN[case]}"
                rejected += [rejection(source, path, reason) for path in (*here, *label_of[case])]
            elif not here:
                rejected += [rejection(source, path, "label without a scan") for path in label_of[case]]
            elif not label_of[case]:
                rejected += [rejection(source, path, "scan without a label") for path in here]
            else:
                label, *copies = label_of[case]
                copies += scans[case] if folders else scans[case][1:]
                rejected += [rejection(source, path, f"second copy of {case}") for path in copies]
                image = folders[0][0].parent if folders else scans[case][0]
                cases.append(PancreasRecord(case, case, {"ct": image}, (label,), series=tuple(folders)))
        return cases, rejected

    def default_processor(self, source: str | Path | None = None):
        """CT window of -100 to 240 HU (as OrganSegRSTN's code), the grey slice as three channels (papers' ResNets)."""
        from ...models.image_processing_lesion import LesionImageProcessor

        return LesionImageProcessor(
            channel_names=("ct",), normalization="window", intensity_range=(-100.0, 240.0), slice_stack="repeat"
        )

    def advice(self, rejected: Sequence[RejectedCase]) -> str:
        """Which files there should be."""
        return _REMEDY

    def convert(
        self,
        records: Sequence[PancreasRecord],
        output: Path,
        processor: Any,
        origin: Origin,
        *,
        workers: int,
        progress: bool,
    ) -> tuple[list[CaseRecord], list[RejectedCase], Origin]:
        """Check every label against its scan, and write DICOM series as NIfTI: 5 GB for all 80.

        A stopped run goes on there. What was found out about each label is in the case's ``notes`` under
        "label_check".

        Raises
        ------
        DataError
            Where no case can be converted, or none has a label that is wanted.
        UsageError
            Where there are DICOM files and pydicom is not installed.
        """
        if any(record.series for record in records):
            require_pydicom()
        claim_output(output, processor, name=origin.name, synthetic=origin.synthetic)
        folder, hu_range = output / "source", tuple(self.hu_range)
        todo = [record for record in records if not _is_converted(record, folder, hu_range)]
        failed = {}
        tasks = [(record, folder, hu_range) for record in todo]
        for index, error in run_tasks(_convert_case, tasks, workers, "checking labels", progress):
            if error is not None:
                place = todo[index].images["ct"]
                failed[todo[index].id] = rejection(origin.source, place, " ".join(str(error).split()))
        converted = [record for record in records if record.id not in failed]
        remarks = _told_of_labels(converted, folder, origin.name) if converted else []
        origin = replace(origin, source=folder, remarks=remarks)
        return [_converted(record, folder) for record in converted], list(failed.values()), origin


def _id(match: re.Match) -> str:
    return f"PANCREAS_{match[1]}"


def _told_of_labels(records: Iterable[PancreasRecord], folder: Path, name: str) -> list[str]:
    """Remarks on the labels that the converted ones were made from; raises if none is wanted."""
    census = LabelCensus(name)
    for record in records:
        check = json.loads((folder / record.id / "check.json").read_text())
        if "labels" in check:  # versions before did not keep them
            census.add(record.id, map(int, check["labels"]), record.values, check["warnings"])
    census.check()
    return census.remarks()


def _signature(record: PancreasRecord, hu_range: tuple[float, float]) -> dict:
    """A mark that shows whether a converted case still belongs to these files."""
    return {
        "label": str(record.label),
        "source": str(record.images["ct"]),
        "files": len(record.files),
        "sha256": files_sha256(record.files),
        "hu_range": list(hu_range),
        **({} if record.values is None else {"label_values": list(record.values)}),
    }


def _is_converted(record: PancreasRecord, folder: Path, hu_range: tuple[float, float]) -> bool:
    made = folder / record.id
    try:
        before = json.loads((made / "check.json").read_text())["signature"]
    except (OSError, ValueError, KeyError, TypeError):  # not yet, or damaged: converted anew
        return False
    files = ("label.nii.gz", "scan.nii.gz") if record.series else ("label.nii.gz",)
    complete = all((made / name).is_file() and (made / name).stat().st_size for name in files)
    return complete and before == _signature(record, hu_range)


def _converted(record: PancreasRecord, folder: Path) -> CaseRecord:
    """The case of the files that were made, in which nothing but the wanted label is left."""
    folder = folder / record.id
    check = json.loads((folder / "check.json").read_text())["label_check"]
    image = folder / "scan.nii.gz" if record.series else record.scan
    return CaseRecord(record.id, record.person, {"ct": image}, (folder / "label.nii.gz",), notes={"label_check": check})


def _convert_case(case: PancreasRecord, folder: Path, hu_range: tuple[float, float]) -> None:
    """Write label and check, and the scan where it was DICOM, into the case's own folder; runs in a worker."""
    label, reading = read_label_map(case.label, values=case.values)
    if case.series:
        series = read_dicom_series(_choose_series(case, label.shape[2]))
        image = series.to_nibabel()
        scan = Scan(case.images["ct"], series.data, series.affine, image.header)
    else:
        scan = read_scan(case.scan)
    if scan.shape != label.shape:
        raise GridMismatchError(
            f"{case.label}: shape {label.shape}, but the scan {case.images['ct']} has {scan.shape}; the two cannot be "
            "matched by index: download both again, or leave this case out"
        )
    check = check_label(scan.data, label.data, hu_range)
    if not check.usable:
        found = check.overlaps[""]
        raise DataError(
            f"{case.label}: does not lie on the organ of its scan: mean {found.mean_hu:.0f} HU, "
            f"{found.soft_tissue:.0%} soft tissue, and flipped along y, z or both no better; download both again, or "
            "widen --hu-range"
        )
    with replace_folder_aside(folder / case.id) as aside:
        if case.series:
            write_volume(aside / "scan.nii.gz", scan.data, scan, dtype=scan.data.dtype)
        write_mask(aside / "label.nii.gz", check.apply(label.data), scan)
        found = {"signature": _signature(case, hu_range), "label_check": check.to_dict()}
        found["labels"] = {str(value): reading.labels[value] for value in sorted(reading.labels)}
        found["warnings"] = list(reading.warnings)
        (aside / "check.json").write_text(json.dumps(found, indent=1) + "\n")


def _choose_series(case: PancreasRecord, num_slices: int) -> tuple[Path, ...]:
    """The series with as many files as the label has slices; of one series its reader says what is wrong."""
    if len(case.series) == 1:
        return case.series[0]
    fitting = [files for files in case.series if len(files) == num_slices]
    if not fitting:
        counts = ", ".join(str(len(files)) for files in case.series)
        raise GridMismatchError(
            f"{case.label}: has {num_slices} slices, but the series of {case.id} have {counts}; download the scan again"
        )
    return fitting[0]
