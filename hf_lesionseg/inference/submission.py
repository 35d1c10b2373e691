"""Masks of ``lesionseg segment`` under the names by which a challenge takes them.

ISLES 2018 was submitted to SMIR, which knows a case by the id of its MTT volume: the mask of a case whose MTT map is
``SMIR.Brain.XX.O.CT_MTT.345567.nii`` is ``SMIR.NAME.345567.nii``, not compressed, on the grid of the maps.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..datasets.readers.isles2018 import find_mtt_id
from ..errors import DataError, LesionSegError, OutputError, UsageError
from ..imaging import read_mask, write_mask
from ..provenance import marks, of_record, of_several

RECORD_ENDING = "_record.json"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Submission:
    """What was written, and what could not be.

    Attributes
    ----------
    written : dict of str to Path
        File of each case, by the case's name.
    failed : dict of str to str
        Reason of each case without a file.
    notice : str
        That the network learned from generated data, where it did.
    """

    written: dict[str, Path]
    failed: dict[str, str]
    notice: str = ""


def export_smir(masks: str | os.PathLike, output: str | os.PathLike, *, name: str = "lesionseg") -> Submission:
    """Write the masks of a folder under SMIR's names.

    Parameters
    ----------
    masks : path
        Folder that ``lesionseg segment`` wrote; the run records say which MTT volume a mask belongs to.
    output : path
        Folder for the renamed masks, new or empty but for those of an earlier export.
    name : str
        Name of the submission; letters, digits, ``_`` and ``-``.

    Raises
    ------
    DataError
        The folder holds no result of ``lesionseg segment``.
    UsageError
        The name would not stand between two dots.
    OutputError
        The output holds something else, or cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"submission name {name!r} is not allowed; use letters, digits, _ and - only, since dots divide it"
        )
    masks, output = Path(masks), Path(output)
    records = find_results(masks)
    _claim(output)
    written, failed, owner = {}, {}, {}
    for case, record in records.items():
        try:
            mtt_id = _mtt_id(record)
            if mtt_id in owner:
                raise DataError(f"{record}: uses MTT volume {mtt_id}, as case {owner[mtt_id]} does; keep one of them")
            mask = read_mask(record.with_name(f"{case}_mask.nii.gz"))
            written[case] = write_mask(output / f"SMIR.{name}.{mtt_id}.nii", mask.data, like=mask)
            owner[mtt_id] = case
        except OutputError:
            raise
        except LesionSegError as error:
            failed[case] = str(error)
    return Submission(written, failed, notice_of(records.values()))


def find_results(masks: Path) -> dict[str, Path]:
    """Run record of each case of a folder that ``lesionseg segment`` wrote, in the order of their names.

    Raises
    ------
    DataError
        There is none.
    """
    records = sorted(path for path in masks.glob(f"*{RECORD_ENDING}") if not path.name.startswith("."))
    if not records:
        raise DataError(f"{masks}: holds no result of `lesionseg segment` (*{RECORD_ENDING}); give its output folder")
    return {record.name[: -len(RECORD_ENDING)]: record for record in records}


def read_inputs(record: Path) -> dict[str, Path]:
    """Files that a case was made of, by channel.

    Raises
    ------
    DataError
        The file is not a run record.
    """
    try:
        return {each["channel"]: Path(each["file"]) for each in json.loads(record.read_text("utf-8"))["inputs"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record}: is not a run record ({error!r}); segment this case again") from error


def notice_of(records: Iterable[Path]) -> str:
    """The notice of the run records; empty where none says that its network learned from generated data."""
    return marks(of_several(map(of_record, records))).get("notice", "")


def _mtt_id(record: Path) -> str:
    """Id of the MTT volume that a run record speaks of."""
    mtt_id = find_mtt_id(read_inputs(record).values())
    if mtt_id is None:
        raise DataError(
            f"{record}: neither its inputs nor their folder name an MTT volume (SMIR.Brain.XX.O.CT_MTT.<id>.nii); "
            "segment the files of ISLES 2018 under their own names"
        )
    return mtt_id


def _claim(output: Path) -> None:
    """Make the folder, and take an earlier export out of it: an old mask must not be sent as a new one."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        former = [path for path in output.iterdir() if not path.name.startswith(".")]
        foreign = [path.name for path in former if not re.fullmatch(r"SMIR\.[A-Za-z0-9_-]+\.\d+\.nii", path.name)]
        if foreign:
            raise OutputError(f"{output}: holds {sorted(foreign)[0]}, which is not a submission; choose a new folder")
        for path in former:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{output}: cannot be written to ({error.strerror}); choose another folder") from error
