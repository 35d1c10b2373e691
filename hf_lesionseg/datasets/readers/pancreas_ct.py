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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, GridMismatchError, RejectedCasesError
from ...imaging import Scan, read_scan, replace_folder_aside, write_mask, write_volume
from ...imaging.dicom import read_dicom_series, require_pydicom
from ...imaging.file_identity import files_sha256
from ...imaging.folder_lock import one_run_at_a_time
from ...imaging.label_census import LabelCensus
from ...imaging.scan import read_label_map
from ..prepared.label_tables import choose_values
from ..prepared.reading import PreparedDataset
from ..prepared.records import CaseRecord, RejectedCase
from ..prepared.splits import split_prepared
from ..prepared.writing import claim_output, prepare_cases
from ..workers import run_tasks
from .file_search import NIFTI, rejection, walk_files
from .label_overlap import HU_RANGE, check_label

__all__ = ["PANCREAS_FRACTIONS", "PancreasCase", "default_processor", "find_pancreas_cases", "prepare_pancreas_ct"]

PANCREAS_FRACTIONS = {"train": 0.65, "validation": 0.1, "test": 0.25}
"""One fold of four for the test, as in cross-validation on this data set."""

_LICENCE = "Pancreas-CT (Roth et al., The Cancer Imaging Archive, 2016): used under the terms on its page there"
_WITHDRAWN = {"PANCREAS_0025": "PANCREAS_0002", "PANCREAS_0070": "PANCREAS_0002"}
_CASE = re.compile(r"PANCREAS_(\d{4})", re.IGNORECASE)
_LABEL = re.compile(r"^label_?(\d{4})" + NIFTI, re.IGNORECASE)
_SCAN = re.compile(r"^PANCREAS_(\d{4})" + NIFTI, re.IGNORECASE)
_REMEDY = (
    "give the folder that holds PANCREAS_0001/.../*.dcm or PANCREAS_0001.nii.gz, and the labels label0001.nii.gz in it "
    "or named apart"
)


@dataclass(frozen=True)
class PancreasCase:
    """One scan with its label, as they lie on disk.

    Attributes
    ----------
    id : PANCREAS_0001 and so on
    label : NIfTI file
    scan : NIfTI file, or None where there are series
    series : files of each DICOM series, one folder each
    """

    id: str
    label: Path
    scan: Path | None
    series: tuple[tuple[Path, ...], ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case."""
        return (self.label, *((self.scan,) if self.scan else ()), *(path for each in self.series for path in each))

    @property
    def source(self) -> Path:
        """What a message names: the scan, or the folder of the first series."""
        return self.scan or self.series[0][0].parent


def default_processor():
    """CT window of -100 to 240 HU (as OrganSegRSTN's code), the grey slice as three channels (papers' ResNets)."""
    from ...models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(
        channel_names=("ct",), normalization="window", intensity_range=(-100.0, 240.0), slice_stack="repeat"
    )


def find_pancreas_cases(
    source: str | Path, labels: str | Path | None = None
) -> tuple[list[PancreasCase], list[RejectedCase]]:
    """Collect the cases of a Pancreas-CT folder by names; nothing is opened.

    Parameters
    ----------
    source : folder, searched in depth
    labels : folder of the labels, where they do not lie in ``source``

    Returns
    -------
    cases : in the order of their ids
    rejected : cases 25 and 70 (withdrawn), scans without label, labels without scan, second copies

    Raises
    ------
    DataError
        Where a folder is missing or holds no scan.
    """
    source = Path(source)
    for folder in (source, source if labels is None else Path(labels)):
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
    for path in walk_files(source if labels is None else Path(labels), NIFTI):
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
            cases.append(PancreasCase(case, label, None if folders else scans[case][0], tuple(folders)))
    return cases, rejected


@one_run_at_a_time("lesionseg prepare")
def prepare_pancreas_ct(
    source: str | Path,
    output: str | Path,
    *,
    labels: str | Path | None = None,
    processor=None,
    hu_range: tuple[float, float] = HU_RANGE,
    fractions: Mapping[str, float] = PANCREAS_FRACTIONS,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
    label: str | None = None,
) -> PreparedDataset:
    """Check every label against its scan, and prepare the cases for training.

    Each DICOM series is written once as NIfTI into ``output/source``, 5 GB for all 80; a stopped run goes on there.
    What was found out about each label is in the case's ``notes`` under "label_check".

    Parameters
    ----------
    source, labels : as for `find_pancreas_cases`
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor; by default `default_processor`
    hu_range : mean under a label that lies on its organ, HU
    fractions : share of each split, by name
    seed : of the split
    workers : processes; 0 works in this one
    progress : show progress bars
    label : value of the label that is the organ, several with commas; all values above 0 by default

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    UsageError
        Where there are DICOM files and pydicom is not installed.
    """
    output = Path(output)
    processor = processor or default_processor()
    cases, rejected = find_pancreas_cases(source, labels)
    if not cases:
        raise RejectedCasesError(
            f"{source}: none of its {len(rejected)} files can be used, {rejected[0].path}: {rejected[0].reason}; "
            f"{_REMEDY}",
            rejected,
        )
    if any(case.series for case in cases):
        require_pydicom()
    values = None if label is None else choose_values(label, {}, source)
    name = "Pancreas-CT" if label is None else f"Pancreas-CT ({label})"
    claim_output(output, processor, name=name, synthetic=False)
    todo = [case for case in cases if not _is_converted(case, output / "source", hu_range, values)]
    failed = {}
    tasks = [(case, output / "source", tuple(hu_range), values) for case in todo]
    for index, error in run_tasks(_convert_case, tasks, workers, "checking labels", progress):
        if error is not None:
            failed[todo[index].id] = rejection(Path(source), todo[index].source, " ".join(str(error).split()))
    records = [_record(case, output / "source") for case in cases if case.id not in failed]
    if not records:
        first = next(iter(failed.values()))
        refused = [*rejected, *failed.values()]
        raise RejectedCasesError(f"Pancreas-CT: no case could be prepared; {first.path}: {first.reason}", refused)
    remarks = _told_of_labels(records, output / "source", values, name)
    dataset = prepare_cases(
        records,
        output,
        processor,
        name=name,
        remarks=remarks,
        synthetic=False,
        licence=_LICENCE,
        source=output / "source",
        rejected=[*rejected, *failed.values()],
        workers=workers,
        progress=progress,
    )
    split_prepared(dataset, fractions, seed)
    return dataset


def _id(match: re.Match) -> str:
    return f"PANCREAS_{match[1]}"


def _told_of_labels(
    records: Iterable[CaseRecord], folder: Path, values: tuple[int, ...] | None, name: str
) -> list[str]:
    """What is to be said of the labels that the converted ones were made of; raises where none is wanted."""
    census = LabelCensus(name)
    for record in records:
        check = json.loads((folder / record.id / "check.json").read_text())
        if "labels" in check:  # versions before did not keep them
            census.add(record.id, map(int, check["labels"]), values, check["warnings"])
    census.check()
    return census.remarks()


def _signature(case: PancreasCase, hu_range: tuple[float, float], values: tuple[int, ...] | None = None) -> dict:
    """What tells whether a converted case is still the one of these files."""
    return {
        "label": str(case.label),
        "source": str(case.source),
        "files": len(case.files),
        "sha256": files_sha256(case.files),
        "hu_range": list(hu_range),
        **({} if values is None else {"label_values": list(values)}),
    }


def _is_converted(
    case: PancreasCase, folder: Path, hu_range: tuple[float, float], values: tuple[int, ...] | None = None
) -> bool:
    made = folder / case.id
    try:
        before = json.loads((made / "check.json").read_text())["signature"]
    except (OSError, ValueError, KeyError, TypeError):  # not yet, or damaged: converted anew
        return False
    files = ("label.nii.gz", "scan.nii.gz") if case.series else ("label.nii.gz",)
    complete = all((made / name).is_file() and (made / name).stat().st_size for name in files)
    return complete and before == _signature(case, hu_range, values)


def _record(case: PancreasCase, folder: Path) -> CaseRecord:
    folder = folder / case.id
    check = json.loads((folder / "check.json").read_text())["label_check"]
    image = folder / "scan.nii.gz" if case.series else case.scan
    return CaseRecord(case.id, case.id, {"ct": image}, (folder / "label.nii.gz",), notes={"label_check": check})


def _convert_case(
    case: PancreasCase, folder: Path, hu_range: tuple[float, float], values: tuple[int, ...] | None = None
) -> None:
    """Write label and check, and the scan where it was DICOM, into the case's own folder; runs in a worker."""
    label, reading = read_label_map(case.label, values=values)
    if case.series:
        series = read_dicom_series(_choose_series(case, label.shape[2]))
        image = series.to_nibabel()
        scan = Scan(case.source, series.data, series.affine, image.header)
    else:
        scan = read_scan(case.scan)
    if scan.shape != label.shape:
        raise GridMismatchError(
            f"{case.label}: shape {label.shape}, but the scan {case.source} has {scan.shape}; the two cannot be "
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
        found = {"signature": _signature(case, hu_range, values), "label_check": check.to_dict()}
        found["labels"] = {str(value): reading.labels[value] for value in sorted(reading.labels)}
        found["warnings"] = list(reading.warnings)
        (aside / "check.json").write_text(json.dumps(found, indent=1) + "\n")


def _choose_series(case: PancreasCase, num_slices: int) -> tuple[Path, ...]:
    """The series with as many files as the label has slices; of one series its reader tells what is wrong."""
    if len(case.series) == 1:
        return case.series[0]
    fitting = [files for files in case.series if len(files) == num_slices]
    if not fitting:
        counts = ", ".join(str(len(files)) for files in case.series)
        raise GridMismatchError(
            f"{case.label}: has {num_slices} slices, but the series of {case.id} have {counts}; download the scan again"
        )
    return fitting[0]
