"""Generated CT perfusion of acute strokes in the layout of ISLES 2018: series, maps, CT, infarct and, if asked, DWI.

The maps are made from the noisy series by our own deconvolution, as a scanner's software makes them, not taken from
the truth. What is measured on these cases says that code learns; it says nothing about patients.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np

from ....errors import UsageError
from ....imaging.atomic import replace_folder_aside, write_aside
from ....imaging.perfusion.deconvolution import perfusion_maps
from ....imaging.perfusion.series import PerfusionSeries
from ...readers.isles2018 import ISLES2018
from ...readers.reader import Found, Option
from ..generated_folder import check_amount, claim_generated_folder, generate_missing
from ..generator import Generator
from ..template import TEMPLATE_LICENCE, load_template
from .case import FIELD_OF_VIEW_MM, GeneratedPerfusion, PerfusionPatient, draw_patient, draw_slabs, scan_slab

__all__ = ["Perfusion", "generate_perfusion"]

_GENERATOR_VERSION = 1
_TEMPLATE_MM = 2
_FIRST_ID = {"CT": 345561, "MR": 339201}  # where the two releases of ISLES 2018 begin
_VOLUMES = ("CT", "4DPWI", "CBF", "CBV", "MTT", "Tmax", "OT", "DWI")
_MAP_SCALE = 10  # CBF and CBV are stored as integers of a vendor's unit in ISLES 2018
_SIZES, _SLICES, _FRAMES = (64, 512), (1, 16), (30, 120)
_TWO_SLABS = 0.5  # 31 of the 63 people of ISLES 2018


def generate_perfusion(
    output: str | Path,
    *,
    patients: int,
    seed: int = 0,
    size: int = 128,
    num_slices: int | None = None,
    num_frames: int | None = None,
    prefix: str = "CT",
    dwi: bool = True,
    workers: int = 0,
    progress: bool = True,
) -> Path:
    """Write ``TRAINING/case_N`` folders, one or two per patient, as ISLES 2018 has them.

    Each volume has a folder of its own name with a JSON file; the one of ``OT`` tells the patient in the third part of
    its description (``Train_7_A``). Patient ``i`` depends on ``seed`` and ``i`` only. Cases that are there already are
    kept, so that a stopped run goes on, and more ``patients`` add to a folder.

    Parameters
    ----------
    output : folder, new or of an earlier call with the same settings
    patients : people; half of them have two slabs, which are two cases, and the upper one may show no infarct
    seed : of the whole set
    size : rows and columns, of 220 mm; ISLES 2018 has 256
    num_slices : of each slab; 2, 4 or 8 by chance where not given
    num_frames : of each series, a second each; 40 to 60 by chance where not given
    prefix : of the maps' names, "CT" as in the later release or "MR" as in the first
    dwi : write an ``MR_DWI`` on the same grid, as the first release had
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
    check_amount("patients", patients, seed)
    if prefix not in _FIRST_ID:
        raise UsageError(f"prefix is {prefix!r}; take 'CT' or 'MR', the two that ISLES 2018 has")
    _check_grid(size, num_slices, num_frames)
    settings = {
        "seed": seed,
        "size": size,
        "num_slices": num_slices,
        "num_frames": num_frames,
        "prefix": prefix,
        "dwi": dwi,
        "generator_version": _GENERATOR_VERSION,
    }
    claim_generated_folder(output, settings, "CT perfusion cases")
    cases = _cases_of_patients(seed, patients)
    missing = [
        index for index in range(patients) if not all(_case_folder(output, case).is_dir() for case in cases[index])
    ]
    tasks = [(output, settings, index, cases[index]) for index in missing]
    names = [f"patient {index + 1}" for index in missing]
    generate_missing(_write_patient, tasks, names, output, workers, progress)
    return output


def _check_grid(size: int, num_slices: int | None, num_frames: int | None) -> None:
    limits = (("size", size, _SIZES), ("num_slices", num_slices, _SLICES), ("num_frames", num_frames, _FRAMES))
    for name, value, (low, high) in limits:
        if value is not None and not low <= value <= high:
            raise UsageError(f"{name} is {value}; take {low} to {high}")
    load_template(_TEMPLATE_MM)  # the errors of a missing template belong here, not into the workers


@dataclass(frozen=True, kw_only=True)
class Perfusion(Generator):
    """Generated CT perfusion: all cases have the maps, the series and the DWI, of which the channels are read.

    Attributes
    ----------
    count, size, slices, frames : as ``patients``, ``size``, ``num_slices`` and ``num_frames`` of `generate_perfusion`
    """

    command = "synthetic-perfusion"
    title = "generated CT perfusion"
    licence = TEMPLATE_LICENCE
    help = """Generate CT perfusion of acute strokes in ISLES 2018's layout, and prepare it.

    The command makes series by the physics of a phantom, maps from the series, a DWI, and the infarct as truth. It
    keeps the files in OUTPUT/source. It cuts a recipe's slice size down to that of the generated slices. Everything
    made from these cases is marked synthetic.

    `lesionseg prepare synthetic-perfusion -o perfusion --count 12 --size 64 --recipe ms-dcnn-isles2018`
    """
    channels = ISLES2018.channels
    recipe_help = ISLES2018.recipe_help
    takes_targets = True

    count: Annotated[
        int,
        Option(
            "People to generate; half of them have two slabs, which are two cases. A higher number adds to a folder."
        ),
    ]
    size: Annotated[int, Option("Rows and columns of a slice of 220 mm, 64 to 512.")] = 128
    slices: Annotated[int | None, Option("Slices per slab, 1 to 16. Default: 2, 4 or 8 by chance.")] = None
    frames: Annotated[
        int | None, Option("Frames per series, one per second, 30 to 120. Default: 40 to 60 by chance.")
    ] = None

    def adapt(self, processor):
        """Cut a size larger than the generated slices down to them: what is beyond would only cost time."""
        return _without_margin(processor, self.size)

    def check(self) -> None:
        """Size, slices, frames and template, too."""
        super().check()
        _check_grid(self.size, self.slices, self.frames)

    def generate(self, output: Path, *, workers: int, progress: bool) -> Path:
        """As `generate_perfusion`."""
        return generate_perfusion(
            output / "source",
            patients=self.count,
            seed=self.seed,
            size=self.size,
            num_slices=self.slices,
            num_frames=self.frames,
            workers=workers,
            progress=progress,
        )

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """The cases of the first ``count`` people that are there; slabs of one share their person."""
        records, rejected = ISLES2018().find(source, channels)
        wanted = {_patient_name(index) for index in range(self.count)}
        return [record for record in records if record.person in wanted], rejected


def _without_margin(processor, size: int):
    """The same processor, whose slices are no larger than ``size`` pixels, in multiples of 16."""
    if processor.size is None or processor.training_spacing is not None or processor.training_plane is not None:
        return processor
    largest = -(-size // 16) * 16
    window = {side: min(length, largest) for side, length in processor.size.items()}
    return type(processor)(**{**processor.settings(), "size": window})


def _patient_name(index: int) -> str:
    return f"Train_{index + 1}"


def _cases_of_patients(seed: int, patients: int) -> list[range]:
    """Case numbers of each patient, counted through."""
    slabs = [2 if np.random.default_rng([seed, index, 0]).random() < _TWO_SLABS else 1 for index in range(patients)]
    ends = 1 + np.cumsum(slabs)
    return [range(int(end) - count, int(end)) for end, count in zip(ends, slabs, strict=True)]


def _case_folder(output: Path, case: int) -> Path:
    return output / "TRAINING" / f"case_{case}"


def _write_patient(output: Path, settings: dict, index: int, cases: range) -> None:
    """Generate one patient and write the cases of all slabs; runs in a worker."""
    rng = np.random.default_rng([settings["seed"], index, 1])
    patient = draw_patient(rng, load_template(_TEMPLATE_MM), settings["num_frames"])
    for number, slab in enumerate(draw_slabs(rng, patient, len(cases), settings["num_slices"])):
        scan_rng = np.random.default_rng([settings["seed"], index, 2 + number])
        scan = scan_slab(scan_rng, patient, slab, settings["size"])
        name = _patient_name(index) + (f"_{'AB'[number]}" if len(cases) > 1 else "")
        with replace_folder_aside(_case_folder(output, cases[number])) as aside:
            _write_case(aside, scan, patient, settings, cases[number], name)


def _write_case(
    folder: Path, scan: GeneratedPerfusion, patient: PerfusionPatient, settings: dict, case: int, name: str
) -> None:
    """Write the volumes of one case, with ISLES 2018's names and data types."""
    affine = np.diag([*scan.spacing, 1.0])
    affine[:3, 3] = [-(FIELD_OF_VIEW_MM - scan.spacing[0]) / 2] * 2 + [0.0]
    header = nib.Nifti1Header()
    series = PerfusionSeries(folder / "series", np.round(scan.series), affine, header, 1.0)
    maps = perfusion_maps(series)
    volumes = {
        "CT": np.round(scan.ct).astype(np.int32),
        "4DPWI": series.data.astype(np.int16),
        "CBF": _as_uint16(_MAP_SCALE * maps.cbf),
        "CBV": _as_uint16(_MAP_SCALE * maps.cbv),
        "MTT": maps.mtt.astype(np.float64),
        "Tmax": maps.tmax.astype(np.float64),
        "OT": scan.mask,
    }
    if settings["dwi"]:
        volumes["DWI"] = _as_uint16(scan.dwi)
    for kind, values in volumes.items():
        stem = f"SMIR.Brain.XX.O.{_kind_name(kind, settings['prefix'])}.{_volume_id(case, kind, settings['prefix'])}"
        home = folder / stem
        home.mkdir(parents=True)
        _write_nifti(home / f"{stem}.nii", values, affine)
        record = {"description": f"Generated, no patient - case_{case} - {name}", "synthetic": True}
        if kind == "OT":
            truth_ml = float(scan.mask.sum() * np.prod(scan.spacing) / 1000)
            record |= {**patient.record, "slab_infarct_ml": truth_ml, "noise_hu": patient.noise_hu}
        with write_aside(home / f"{stem}.json") as aside:
            aside.write_text(json.dumps(record, indent=2) + "\n")


def _kind_name(kind: str, prefix: str) -> str:
    if kind in ("CT", "OT"):
        return kind
    return "MR_DWI" if kind == "DWI" else f"{prefix}_{kind}"


def _volume_id(case: int, kind: str, prefix: str) -> int:
    return _FIRST_ID[prefix] + (case - 1) * len(_VOLUMES) + _VOLUMES.index(kind)


def _as_uint16(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _write_nifti(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(values, affine, dtype=values.dtype)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 4:
        image.header["pixdim"][4] = 1.0
    image.header["descrip"] = b"hf_lesionseg generated CT perfusion (synthetic)"
    nib.save(image, path)
