"""Find the cases of ISLES 2024: acute CT with perfusion, follow-up MRI, and the final infarct outlined.

* raw: ``rawdata/sub-stroke0014/ses-01/sub-stroke0014_ses-01_{ncct,cta,ctp}.nii.gz`` (also ``raw_data``),
  ``ses-01/perfusion-maps/..._{tmax,mtt,cbf,cbv}.nii.gz``, ``ses-02/..._{dwi,adc}.nii.gz``, each on its own grid;
* derivatives, on the grid of the non-contrast CT: ``derivatives/sub-stroke0014/ses-01/perfusion-maps/
  sub-stroke0014_ses-01_space-ncct_cbf.nii.gz``, and the truth ``ses-02/sub-stroke0014_ses-02_lesion-msk.nii.gz`` or
  ``..._space-ncct_lesion-msk.nii.gz``.

Of several files of a kind, that in the space of the CT is taken, then a derivative: masks in native space occur beside
those on the CT. Ids and sessions vary (``sub-strokecase0001``, ``ses-0001``); a person is one case.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..prepared.reading import PreparedDataset
from ..prepared.records import CaseRecord, RejectedCase
from .file_search import NIFTI
from .isles import FRACTIONS, PERFUSION_MAPS, build_records, find_volumes, foreign_error, prepare_isles

__all__ = ["channel_of", "default_processor", "find_isles2024_cases", "prepare_isles2024"]

LICENCE = (
    "ISLES 2024 (Riedel et al., arXiv:2408.11142, 2024): used under the terms of the copy that you downloaded, which "
    "ask for this citation"
)
CHANNELS = ("tmax", "cbf", "cbv", "mtt", "ncct", "cta", "ctp", "dwi", "adc")

_VOLUME = re.compile(
    r"^(?P<person>sub-[A-Za-z0-9]+)(?:_ses-[A-Za-z0-9]+)?(?P<space>_space-ncct)?"
    r"_(?P<kind>ncct|cta|ctp|tmax|mtt|cbf|cbv|dwi|adc|lesion-msk)" + NIFTI,
    re.IGNORECASE,
)
_REMEDY = (
    "give the unpacked folder, with files like sub-stroke0014_ses-01_space-ncct_cbf.nii.gz and ..._lesion-msk.nii.gz"
)


def channel_of(name: str) -> str | None:
    """Image that a file of this data set holds, None for the names of others, and of its truth.

    Examples
    --------
    >>> channel_of("sub-stroke0014_ses-01_ncct.nii.gz"), channel_of("sub-stroke0014_ses-01_space-ncct_cbf.nii.gz")
    ('ncct', 'cbf')
    """
    match = _VOLUME.match(name)
    kind = match["kind"].lower() if match else None
    return kind if kind in CHANNELS else None


def default_processor():
    """Four perfusion maps, each between the percentiles of its non-zero voxels."""
    from ...models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(channel_names=PERFUSION_MAPS)


def find_isles2024_cases(
    source: str | Path, channels: Sequence[str] = PERFUSION_MAPS
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Collect the cases of a folder; no volume is opened.

    Parameters
    ----------
    source : folder, searched in depth; hidden files and folders are skipped
    channels : images that a case must have

    Returns
    -------
    records : one per person
    rejected : cases without a truth, cases that lack an image, cases of another challenge, second copies

    Raises
    ------
    DataError
        Where ``source`` is no folder, or holds no case of ISLES 2024.
    """
    source = Path(source)
    cases, copies = find_volumes(source, "ISLES 2024", _VOLUME, case="person", rank=_rank)
    # ISLES 2022 has dwi and adc by the same names, but no perfusion and another name for the truth.
    if not any(case.problem is None and (case.mask or set(case.images) - {"dwi", "adc"}) for case in cases):
        raise foreign_error(source, "ISLES 2024", _REMEDY)
    records, refused = build_records(source, cases, channels, known=CHANNELS)
    return records, [*copies, *refused]


def _rank(match, path):
    """In the space of the CT, then a derivative, then compressed: a mask known to lie in native space was not."""
    return match["space"] is None, "derivatives" not in path.parts, path.suffix != ".gz"


def prepare_isles2024(
    source: str | Path,
    output: str | Path,
    *,
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
    """Prepare ISLES 2024 for training, and split it by person.

    Parameters
    ----------
    source : as for `find_isles2024_cases`
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
    MissingTargetWarning
        Where no case has the targets that are asked for.

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    """
    processor = processor or default_processor()
    return prepare_isles(
        find_isles2024_cases(source, processor.channel_names),
        Path(source),
        output,
        processor,
        name="ISLES 2024",
        label=label,
        licence=LICENCE,
        target_channels=target_channels,
        dwi=dwi,
        resample_dwi=resample_dwi,
        fractions=fractions,
        seed=seed,
        workers=workers,
        progress=progress,
    )
