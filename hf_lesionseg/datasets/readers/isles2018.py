"""Find the cases of ISLES 2018: perfusion maps of acute CT with the infarct core outlined on DWI.

``TRAINING/case_7/SMIR.Brain.XX.O.CT_CBF.345562/SMIR.Brain.XX.O.CT_CBF.345562.nii``: a folder per volume, named as its
file, with a JSON beside it; also without these folders, and compressed. The first release called the maps ``MR_CBF``
and so on and had a DWI, the later one ``CT_CBF`` and none. ``OT`` is the truth; the cases of ``TESTING`` have none.

Two cases may be slabs of one patient. The JSON of ``OT`` tells, in the third part of its description (``Train_40_A``
and ``Train_40_B``); copies without it need a CSV file. Without either a patient could be in training and test at once.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...errors import DataError
from ...models.scan_formats import scan_stem
from ..prepared.reading import PreparedDataset
from ..prepared.records import CaseRecord, RejectedCase
from ..synthetic.template import TEMPLATE_LICENCE
from .file_search import NIFTI, walk_files
from .isles import (
    FRACTIONS,
    PERFUSION_MAPS,
    FoundCase,
    build_records,
    challenge_of,
    foreign_error,
    keep_volume,
    named_as,
    prepare_isles,
)
from .isles2018_people import LeakageWarning, people_warning, tell_people

__all__ = [
    "LeakageWarning",
    "channel_of",
    "default_processor",
    "find_isles2018_cases",
    "find_mtt_id",
    "people_warning",
    "prepare_isles2018",
]

LICENCE = (
    "ISLES 2018 (Hakim et al., Stroke 52:2328, 2021): used under the terms that you accepted when you downloaded it; "
    "they do not let you pass scans or masks on"
)
CHANNELS = ("tmax", "cbf", "cbv", "mtt", "ct", "ctp", "dwi")

# The dot after the kind: CT must not find CT_CBF, nor DWI 4DPWI.
_VOLUME = re.compile(r"^SMIR\.\w+\.\w+\.\w+\.(?:(?:CT|MR)_)?(?P<kind>[A-Za-z0-9]+)\.(?P<id>\d+)" + NIFTI)
_KINDS = {
    "tmax": "tmax",
    "cbf": "cbf",
    "cbv": "cbv",
    "mtt": "mtt",
    "ct": "ct",
    "4dpwi": "ctp",
    "dwi": "dwi",
    "ot": "mask",
}
_CASE = re.compile(r"case_?\d+", re.IGNORECASE)
_REMEDY = "give the unpacked TRAINING folder, with files like case_1/SMIR.Brain.XX.O.CT_CBF.345562/...nii"


def channel_of(name: str) -> str | None:
    """Image that a file of this data set holds, None for the names of others, and of its truth.

    Examples
    --------
    >>> channel_of("SMIR.Brain.XX.O.CT.345562.nii"), channel_of("SMIR.Brain.XX.O.CT_CBF.345563.nii")
    ('ct', 'cbf')
    """
    match = _VOLUME.match(name)
    kind = _KINDS.get(match["kind"].lower()) if match else None
    return kind if kind in CHANNELS else None


def default_processor():
    """Four perfusion maps, each between the percentiles of its non-zero voxels."""
    from ...models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(channel_names=PERFUSION_MAPS)


def find_isles2018_cases(
    source: str | Path, channels: Sequence[str] = PERFUSION_MAPS, people: str | Path | None = None
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Collect the cases of a folder; no volume is opened.

    Parameters
    ----------
    source : folder, searched in depth; ``__MACOSX`` and hidden files are skipped
    channels : maps that a case must have
    people : CSV file with the columns "case" and "person", such as ``case_64,Train_40``; goes before the JSON files;
        where it names one slab of a patient, the others go with it

    Returns
    -------
    records : slabs of one patient share their person; ``notes`` hold ``mtt_id``, by which submissions are named, and
        ``person_from``: "mapping", "json", or "case" where nobody told
    rejected : cases without ``OT``, cases that lack a map, cases of another challenge

    Raises
    ------
    DataError
        Where ``source`` is no folder, holds no volume of ISLES 2018, or the CSV file cannot be read or names other
        cases.
    """
    source = Path(source)
    cases: dict[Path, FoundCase] = {}
    rejected = []
    for path in walk_files(source, NIFTI):
        match = _VOLUME.match(path.name)
        folder = _case_folder(path, source)
        if match is None:
            other = challenge_of(path.name)
            # Its own prefix with a kind that is unknown is no other challenge, only more than is needed.
            if other is not None and other[0] != "ISLES 2018":
                case = cases.setdefault(folder, _new_case(folder))
                case.problem = f"{path.name} is {named_as(*other)}"
            continue
        case = cases.setdefault(folder, _new_case(folder))
        kind = _KINDS.get(match["kind"].lower())
        if kind is None:
            continue
        copy = keep_volume(case, kind, path, source)
        if copy is not None:
            same = scan_stem(case.mask if kind == "mask" else case.images[kind])
            if same == scan_stem(path):
                rejected.append(copy)
            else:
                case.problem = f"{same} and {path.name} are both its {match['kind']}; keep one"
        elif kind == "mtt":
            case.notes["mtt_id"] = match["id"]
    if not any(case.images or case.mask for case in cases.values()):
        raise foreign_error(source, "ISLES 2018", _REMEDY)
    tell_people(list(cases.values()), None if people is None else Path(people))
    records, refused = build_records(source, cases.values(), channels, known=CHANNELS)
    return records, [*rejected, *refused]


def prepare_isles2018(
    source: str | Path,
    output: str | Path,
    *,
    people: str | Path | None = None,
    processor=None,
    target_channels: Sequence[str] = (),
    dwi: str | Path | None = None,
    resample_dwi: bool = False,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
    label: str | None = None,
) -> PreparedDataset:
    """Prepare ISLES 2018 for training, and split it by patient.

    Parameters
    ----------
    source, people : as for `find_isles2018_cases`
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor, whose channels are asked for; by default `default_processor`
    target_channels : images to learn from beside the lesion, such as "dwi"; none where no case has any, with a warning
    dwi : folder with the DWI of each case, in files named by case; goes before those of the data set
    resample_dwi : bring a DWI that lies on another grid onto that of its case
    fractions : share of each split, by name
    seed : of the split
    workers : processes; 0 works in this one
    progress : show a progress bar
    label : value of the label that is the lesion, several with commas; all values above 0 by default

    Warns
    -----
    LeakageWarning
        Where the patient of a case is unknown.
    MissingTargetWarning
        Where no case has the targets that are asked for.

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    """
    processor = processor or default_processor()
    found = find_isles2018_cases(source, processor.channel_names, people)
    generated = [record.id for record in found[0] if record.notes.get("synthetic")]
    if generated and len(generated) < len(found[0]):
        raise DataError(
            f"{source}: {generated[0]} is generated and others are not; prepare them in folders of their own"
        )
    dataset = prepare_isles(
        found,
        Path(source),
        output,
        processor,
        name="generated CT perfusion" if generated else "ISLES 2018",
        label=label,
        licence=TEMPLATE_LICENCE if generated else LICENCE,
        synthetic=bool(generated),
        target_channels=target_channels,
        dwi=dwi,
        resample_dwi=resample_dwi,
        fractions=fractions,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    if message := people_warning(dataset.cases):
        warnings.warn(message, LeakageWarning, stacklevel=2)
    return dataset


def find_mtt_id(files: Iterable[Path]) -> str | None:
    """Id of the MTT volume of a case, by which SMIR knows it: of one of these files, or of one beside them.

    Parameters
    ----------
    files : volumes of one case

    Returns
    -------
    str or None
        None where no MTT volume is found, or several in one case's folder.
    """
    files = [Path(path).resolve() for path in files]
    found = _mtt_ids(files)
    if not found and files:
        folder = next((folder for folder in files[0].parents if _CASE.fullmatch(folder.name)), None)
        found = _mtt_ids(walk_files(folder, NIFTI)) if folder is not None else set()
    return found.pop() if len(found) == 1 else None


def _mtt_ids(files: Iterable[Path]) -> set[str]:
    matches = [_VOLUME.match(path.name) for path in files]
    return {match["id"] for match in matches if match and match["kind"].lower() == "mtt"}


def _new_case(folder: Path) -> FoundCase:
    name = folder.name or folder.resolve().name  # of ".", the folder that one stands in
    return FoundCase(name, name, folder)


def _case_folder(path: Path, source: Path) -> Path:
    """The folder of a volume's case: the nearest one named ``case_N``, else that which holds the volume's own."""
    for folder in path.parents:
        if _CASE.fullmatch(folder.name):
            return folder
        if folder == source:
            break
    own = scan_stem(path)
    return path.parent.parent if path.parent.name == own and path.parent != source else path.parent
