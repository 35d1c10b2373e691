"""Find the cases of ISLES 2022: DWI, ADC and FLAIR of acute and subacute stroke, with the infarct outlined.

* as on Zenodo: ``sub-strokecase0001/ses-0001/dwi/sub-strokecase0001_ses-0001_dwi.nii.gz``, ``..._adc.nii.gz``,
  ``anat/..._FLAIR.nii.gz``, the truth ``derivatives/sub-strokecase0001/ses-0001/..._msk.nii.gz``;
* as on GitHub: ``rawdata/sub-strokecase0009/ses-0001/..._{adc,dwi,flair}.nii.gz``, without subfolders.

DWI, ADC and truth lie on one grid, FLAIR on its own: it must be registered to the DWI before it can be a channel.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..prepared.reading import PreparedDataset
from ..prepared.records import CaseRecord, RejectedCase
from .file_search import NIFTI
from .isles import FRACTIONS, build_records, find_volumes, foreign_error, prepare_isles

__all__ = ["default_processor", "find_isles2022_cases", "prepare_isles2022"]

LICENCE = (
    "ISLES 2022 (Hernandez Petzsche et al., Scientific Data 9:762, 2022): used under the licence of the copy that you "
    "downloaded, a Creative Commons one that asks for this citation"
)
CHANNELS = ("dwi", "adc", "flair")

_VOLUME = re.compile(
    r"^(?P<case>(?P<person>sub-[A-Za-z0-9]+)(?:_ses-[A-Za-z0-9]+)?)_(?P<kind>dwi|adc|flair|msk)" + NIFTI, re.IGNORECASE
)
_REMEDY = "give the unpacked folder, with files like sub-strokecase0001_ses-0001_dwi.nii.gz and ..._msk.nii.gz"


def default_processor():
    """DWI and ADC, each between the percentiles of its non-zero voxels."""
    from ...models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(channel_names=CHANNELS[:2])


def find_isles2022_cases(
    source: str | Path, channels: Sequence[str] = CHANNELS[:2]
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Collect the cases of a folder; no volume is opened.

    Parameters
    ----------
    source : folder, searched in depth; hidden files and folders are skipped
    channels : images that a case must have

    Returns
    -------
    records : sessions of one person share their person
    rejected : cases without a truth, cases that lack an image, cases of another challenge, second copies

    Raises
    ------
    DataError
        Where ``source`` is no folder, or holds no case of ISLES 2022.
    """
    source = Path(source)
    cases, copies = find_volumes(source, "ISLES 2022", _VOLUME, case="case")
    if not any(case.problem is None for case in cases):
        raise foreign_error(source, "ISLES 2022", _REMEDY)
    records, refused = build_records(source, cases, channels, known=CHANNELS)
    return records, [*copies, *refused]


def prepare_isles2022(
    source: str | Path,
    output: str | Path,
    *,
    processor=None,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
    label: str | None = None,
) -> PreparedDataset:
    """Prepare ISLES 2022 for training, and split it by person.

    Parameters
    ----------
    source : as for `find_isles2022_cases`
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor, whose channels are asked for; by default `default_processor`
    fractions : share of each split, by name
    seed : of the split
    workers : processes; 0 works in this one
    progress : show a progress bar
    label : value of the label that is the lesion, several with commas; all values above 0 by default

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    """
    processor = processor or default_processor()
    return prepare_isles(
        find_isles2022_cases(source, processor.channel_names),
        Path(source),
        output,
        processor,
        name="ISLES 2022",
        label=label,
        licence=LICENCE,
        fractions=fractions,
        seed=seed,
        workers=workers,
        progress=progress,
    )
