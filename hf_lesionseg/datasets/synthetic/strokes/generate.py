"""Generated strokes: scans with known truth for tests, demonstrations and warm-up, laid out like ATLAS R2.0.

What is measured on them says that code learns; it says nothing about patients, and is marked synthetic everywhere.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np

from ....imaging.atomic import replace_folder_aside
from ...prepared.splits import PAPER_FRACTIONS
from ...readers.atlas import ATLAS
from ...readers.reader import Found, Option
from ..generated_folder import check_amount, claim_generated_folder, generate_missing
from ..generator import Generator
from ..template import TEMPLATE_LICENCE, load_template
from .case import generate_case
from .presets import find_preset

__all__ = ["Strokes", "generate_strokes"]

_COHORT = "R900"  # no cohort of ATLAS has this number
_SPACE = "space-MNI152NLin2009aSym"
_SCAN_SLOPE = 100 / 255
_GENERATOR_VERSION = 1


def generate_strokes(
    output: str | Path,
    *,
    count: int,
    seed: int = 0,
    preset: str = "atlas",
    spacing: int = 1,
    minimum_ml: float | None = None,
    maximum_ml: float | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Path:
    """Write generated cases: a T1w scan (0..100), a mask and a JSON record each.

    Case ``i`` depends on ``seed`` and ``i`` only: not on ``count``, nor on the number of workers. Cases that are there
    already are kept, so that a stopped run goes on, and a larger ``count`` adds to a folder.

    Parameters
    ----------
    output : folder, new or of an earlier call with the same settings
    count : number of cases
    seed : of the whole set
    preset : "atlas" (chronic, median 5 mL) or "acute" (as SOOP, median 10 mL)
    spacing : 1, 2, 3 or 4 mm; 1 mm is the grid of ATLAS, 197 x 233 x 189
    minimum_ml, maximum_ml : keep to a part of the preset's volumes
    workers : processes; 0 works in this one
    progress : show a progress bar

    Returns
    -------
    ``output``, as a path

    Raises
    ------
    UsageError
        Where the settings are impossible.
    DataError
        Where nilearn is missing, or the folder holds something else.
    OutputError
        Where it cannot be written.
    """
    output = Path(output)
    check_amount("count", count, seed)
    _check_strokes(preset, spacing, minimum_ml, maximum_ml)
    settings = {
        "seed": seed,
        "preset": preset,
        "spacing_mm": spacing,
        "minimum_ml": minimum_ml,
        "maximum_ml": maximum_ml,
        "generator_version": _GENERATOR_VERSION,
    }
    claim_generated_folder(output, settings, "strokes")
    missing = [index for index in range(count) if not _case_folder(output, index).is_dir()]
    tasks = [(output, settings, index) for index in missing]
    generate_missing(_write_case, tasks, [f"case {index}" for index in missing], output, workers, progress)
    return output


def _check_strokes(preset: str, spacing: int, minimum_ml: float | None, maximum_ml: float | None) -> None:
    find_preset(preset).volume_ml(0.5, minimum_ml, maximum_ml)  # refuses limits that leave nothing
    load_template(spacing)  # the errors of a missing template belong here, not into the workers


@dataclass(frozen=True, kw_only=True)
class Strokes(Generator):
    """Generated strokes; the attributes are those of `generate_strokes`."""

    command = "synthetic"
    title = "generated strokes"
    licence = TEMPLATE_LICENCE
    help = """Generate T1w scans with strokes of known outline, and prepare them.

    They are for tests, demonstrations and warm-up. Everything made from them is marked synthetic.

    `lesionseg prepare synthetic -o strokes --count 40 --minimum-ml 5 --workers 2`
    """
    fractions = PAPER_FRACTIONS
    recipe = "clci-net-atlas"

    preset: Annotated[
        str, Option("Lesions to draw: atlas (chronic, median 5 mL) or acute (median 10 mL).", metavar="NAME")
    ] = "atlas"
    spacing: Annotated[int, Option("Voxel size of the scans in mm: 1, 2, 3 or 4.", metavar="MM")] = 1
    minimum_ml: Annotated[float | None, Option("Volume in mL of the smallest lesion to draw.", metavar="ML")] = None
    maximum_ml: Annotated[float | None, Option("Volume in mL of the largest lesion to draw.", metavar="ML")] = None

    @property
    def name(self) -> str:
        """With the preset."""
        return f"{self.title} ({self.preset})"

    def default_processor(self, source: str | Path | None = None):
        """Image processor of CLCI-Net on ATLAS."""
        return ATLAS().default_processor()

    def check(self) -> None:
        """Preset, volumes and template, too."""
        super().check()
        _check_strokes(self.preset, self.spacing, self.minimum_ml, self.maximum_ml)

    def generate(self, output: Path, *, workers: int, progress: bool) -> Path:
        """As `generate_strokes`."""
        return generate_strokes(output / "source", **vars(self), workers=workers, progress=progress)

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """The first ``count`` of the cases that are there."""
        records, rejected = ATLAS().find(source)
        wanted = {_case_name(index) for index in range(self.count)}
        return [record for record in records if record.person in wanted], rejected


def _case_name(index: int) -> str:
    return f"sub-{_COHORT.lower()}s{index + 1:04d}"


def _case_folder(output: Path, index: int) -> Path:
    return output / "Training" / _COHORT / _case_name(index)


def _write_case(output: Path, settings: dict, index: int) -> None:
    """Generate one case and write its folder; runs in a worker."""
    template = load_template(settings["spacing_mm"])
    case = generate_case(
        template,
        find_preset(settings["preset"]),
        settings["seed"],
        index,
        settings["minimum_ml"],
        settings["maximum_ml"],
    )
    stem = f"{_case_name(index)}_ses-1_{_SPACE}"
    with replace_folder_aside(_case_folder(output, index)) as aside:
        anat = aside / "ses-1" / "anat"
        anat.mkdir(parents=True)
        stored = np.round(case.scan / _SCAN_SLOPE).astype(np.uint8)
        _write_nifti(anat / f"{stem}_T1w.nii.gz", stored, template.affine, _SCAN_SLOPE)
        _write_nifti(anat / f"{stem}_label-L_desc-T1lesion_mask.nii.gz", case.mask, template.affine, 1.0)
        (anat / f"{stem}_T1w.json").write_text(json.dumps(case.record, indent=2) + "\n")


def _write_nifti(path: Path, stored: np.ndarray, affine: np.ndarray, slope: float) -> None:
    """Write bytes as they are, with their slope; level 1 is fast, and no time stamp makes equal cases equal files."""
    header = nib.Nifti1Header()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_sform(affine, 4)  # 4: MNI space
    header.set_qform(affine, 4)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, 0
    header["descrip"] = b"hf_lesionseg generated stroke (synthetic)"
    header.set_data_offset(header.single_vox_offset)
    header["magic"] = header.single_magic
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as stream:
        header.write_to(stream)
        stream.write(b"\x00" * (header.single_vox_offset - header.sizeof_hdr))
        stream.write(stored.tobytes(order="F"))
