"""Find the cases of ISLES 2018: perfusion maps of acute CT with the infarct core outlined on DWI.

``TRAINING/case_7/SMIR.Brain.XX.O.CT_CBF.345562/SMIR.Brain.XX.O.CT_CBF.345562.nii``: a folder per volume, named as its
file, with a JSON beside it; also without these folders, and compressed. The first release called the maps ``MR_CBF``
and so on and had a DWI, the later one ``CT_CBF`` and none. ``OT`` is the truth; the cases of ``TESTING`` have none.

Two cases may be slabs of one patient. The JSON of ``OT`` tells, in the third part of its description (``Train_40_A``
and ``Train_40_B``); copies without it need a CSV file. Without either a patient could be in training and test at once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ...errors import DataError
from ...models.scan_formats import scan_stem
from ..prepared.records import CaseRecord, DataSetWarning, Origin
from ..synthetic.template import TEMPLATE_LICENCE
from .file_search import NIFTI, walk_files
from .isles import FoundCase, PerfusionReader, build_records, challenge_of, foreign_error, keep_volume, named_as
from .isles2018_people import LeakageWarning, people_warning, tell_people
from .reader import Found, Option

__all__ = ["ISLES2018", "LeakageWarning", "channel_of", "find_mtt_id", "people_warning"]

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


@dataclass(frozen=True, kw_only=True)
class ISLES2018(PerfusionReader):
    """ISLES 2018, and generated cases in its layout.

    Attributes
    ----------
    people : CSV file with the columns "case" and "person", such as ``case_64,Train_40``; goes before the JSON files;
        where it names one slab of a patient, the others go with it
    """

    command = "isles2018"
    title = "ISLES 2018"
    licence = (
        "ISLES 2018 (Hakim et al., Stroke 52:2328, 2021): used under the terms that you accepted when you downloaded "
        "it; they do not let you pass scans or masks on"
    )
    help = """Prepare ISLES 2018: CT perfusion maps of acute stroke with the infarct core.

    The command reads both releases, with maps named CT_CBF or MR_CBF. It puts all slabs of a patient into one split, as
    the JSON files of OT name patients, and warns if a patient is unknown. It names a case that lacks a map or that it
    cannot read, and prepares the others; the exit status is then 1.

    If no case has maps, the command makes them from the raw series (CT_4DPWI), as `lesionseg perfusion` does.

    A recipe that learns from a DWI (egs-net-isles2018) takes the DWI of the first release, or those of your --dwi
    folder. If no case has one, the command warns and prepares the data without.

    `lesionseg prepare isles2018 TRAINING -o perfusion`

    `lesionseg prepare isles2018 TRAINING -o perfusion --recipe egs-net-isles2018 --dwi my-dwi`
    """

    people: Annotated[
        Path | None,
        Option(
            "CSV file with the columns case and person; it goes before the JSON files of OT.",
            metavar="FILE",
            must_exist=True,
        ),
    ] = None

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases; rejected are those without ``OT``, or without a map, and those of another challenge.

        ``notes`` of a record hold ``mtt_id``, by which submissions are named, and ``person_from``: "mapping", "json",
        or "case" where nobody told.

        Raises
        ------
        DataError
            If ``source`` is not a folder, holds no volume of ISLES 2018, or the CSV file cannot be read or names other
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
                # Its own prefix with a kind that is unknown is not another challenge, only more than is needed.
                if other is not None and other[0] != self.title:
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
            raise foreign_error(source, self.title, _REMEDY)
        tell_people(list(cases.values()), None if self.people is None else Path(self.people))
        records, refused = build_records(source, cases.values(), tuple(channels or self.channels), known=CHANNELS)
        return records, [*rejected, *refused]

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """Generated cases say so in their JSON files, and must not be mixed with others."""
        generated = [record.id for record in records if record.notes.get("synthetic")]
        if not generated:
            return super().describe(source, records)
        if len(generated) < len(records):
            raise DataError(
                f"{source}: {generated[0]} is generated and others are not; prepare them in folders of their own"
            )
        return Origin("generated CT perfusion", synthetic=True, licence=TEMPLATE_LICENCE, source=source)

    def cautions(self, dataset: Any) -> list[DataSetWarning]:
        """Cases whose patient is unknown."""
        message = people_warning(dataset.cases)
        return [LeakageWarning(message)] if message else []


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
