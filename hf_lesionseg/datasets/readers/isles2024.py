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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .file_search import NIFTI
from .isles import PerfusionReader, build_records, find_volumes, foreign_error
from .reader import Found

__all__ = ["ISLES2024", "channel_of"]

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


@dataclass(frozen=True, kw_only=True)
class ISLES2024(PerfusionReader):
    """ISLES 2024; a person is one case."""

    command = "isles2024"
    title = "ISLES 2024"
    licence = (
        "ISLES 2024 (Riedel et al., arXiv:2408.11142, 2024): used under the terms of the copy that you downloaded, "
        "which ask for this citation"
    )
    help = """Prepare ISLES 2024: CT perfusion maps of acute stroke with the final infarct.

    The command takes maps and masks in the space of the non-contrast CT if there are any. It names a case that lacks a
    map or that it cannot read, and prepares the others; the exit status is then 1.

    If no case has maps, the command makes them from the raw series (ctp), as `lesionseg perfusion` does. The series
    must lie on the grid of the mask.

    A recipe that learns from a DWI (egs-net-isles2018) takes the DWI in the space of the CT if there is one. For a DWI
    in its own space give --resample-dwi, for DWIs of your own --dwi.

    `lesionseg prepare isles2024 ISLES-2024 -o perfusion`

    `lesionseg prepare isles2024 ISLES-2024 -o perfusion --recipe egs-net-isles2018 --resample-dwi`
    """

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases; rejected are those without a truth or an image, of another challenge, and copies."""
        source = Path(source)
        cases, copies = find_volumes(source, self.title, _VOLUME, case="person", rank=_rank)
        # ISLES 2022 has dwi and adc by the same names, but no perfusion and another name for the truth.
        if not any(case.problem is None and (case.mask or set(case.images) - {"dwi", "adc"}) for case in cases):
            raise foreign_error(source, self.title, _REMEDY)
        records, refused = build_records(source, cases, tuple(channels or self.channels), known=CHANNELS)
        return records, [*copies, *refused]


def _rank(match, path):
    """In the space of the CT, then a derivative, then compressed: a mask known to lie in native space was not."""
    return match["space"] is None, "derivatives" not in path.parts, path.suffix != ".gz"
