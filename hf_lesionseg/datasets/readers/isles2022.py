"""Find the cases of ISLES 2022: DWI, ADC and FLAIR of acute and subacute stroke, with the infarct outlined.

* as on Zenodo: ``sub-strokecase0001/ses-0001/dwi/sub-strokecase0001_ses-0001_dwi.nii.gz``, ``..._adc.nii.gz``,
  ``anat/..._FLAIR.nii.gz``, the truth ``derivatives/sub-strokecase0001/ses-0001/..._msk.nii.gz``;
* as on GitHub: ``rawdata/sub-strokecase0009/ses-0001/..._{adc,dwi,flair}.nii.gz``, without subfolders.

DWI, ADC and truth lie on one grid, FLAIR on its own: it must be registered to the DWI before it can be a channel.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .file_search import NIFTI
from .isles import ISLES, build_records, find_volumes, foreign_error
from .reader import Found

__all__ = ["ISLES2022"]

CHANNELS = ("dwi", "adc", "flair")

_VOLUME = re.compile(
    r"^(?P<case>(?P<person>sub-[A-Za-z0-9]+)(?:_ses-[A-Za-z0-9]+)?)_(?P<kind>dwi|adc|flair|msk)" + NIFTI, re.IGNORECASE
)
_REMEDY = "give the unpacked folder, with files like sub-strokecase0001_ses-0001_dwi.nii.gz and ..._msk.nii.gz"


@dataclass(frozen=True, kw_only=True)
class ISLES2022(ISLES):
    """ISLES 2022; sessions of one person are cases of their own."""

    command = "isles2022"
    title = "ISLES 2022"
    licence = (
        "ISLES 2022 (Hernandez Petzsche et al., Scientific Data 9:762, 2022): used under the licence of the copy that "
        "you downloaded, a Creative Commons one that asks for this citation"
    )
    help = """Prepare ISLES 2022: DWI and ADC of acute and subacute stroke with the infarct.

    The command reads the folders of Zenodo and of GitHub. FLAIR lies on another grid than DWI: resample it onto the DWI
    before you use it as a channel. The command names a case that lacks an image or that it cannot read, and prepares
    the others; the exit status is then 1.

    `lesionseg prepare isles2022 ISLES-2022 -o diffusion`
    """
    channels = CHANNELS[:2]
    recipe_help = "dwi and adc between their percentiles"

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases; rejected are those without a truth or an image, of another challenge, and copies."""
        source = Path(source)
        cases, copies = find_volumes(source, self.title, _VOLUME, case="case")
        if not any(case.problem is None for case in cases):
            raise foreign_error(source, self.title, _REMEDY)
        records, refused = build_records(source, cases, tuple(channels or self.channels), known=CHANNELS)
        return records, [*copies, *refused]
