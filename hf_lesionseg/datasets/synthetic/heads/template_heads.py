"""Whole heads that anybody with this package can make: nilearn's brain in a made skull and face, with a grown stroke.

For the demonstration, for tests, and to measure what fine-tuning gains on another scanner. The network that comes with
the package has never seen them. A head depends on (seed, index, scanner, volumes) alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from scipy import ndimage as ndi

from ....errors import UsageError
from ...prepared.records import CaseRecord
from ...readers.reader import Found, Option
from ..generated_folder import claim_generated_folder, generate_missing
from ..generator import Generator
from ..random_fields import smooth_field
from ..strokes.case import draw_ill_brain
from ..strokes.presets import find_preset
from ..template import TEMPLATE_LICENCE, load_template
from .head_files import write_head
from .made_head import add_head, head_grid

__all__ = ["SCANNERS", "Scanner", "TemplateHeads", "make_template_head"]

_VERSION = 1
_SPACING = 2  # mm
_STORED = 800.0  # of white matter in the files
_STREAM = 11  # of the random numbers of skull and scanner


@dataclass(frozen=True)
class Scanner:
    """How heads are scanned; each range is drawn from evenly.

    Attributes
    ----------
    power : of the brightness; the average of 152 brains needs more than 1 to look like one brain, less makes it flat
    shading : strength of the coil's shading, in powers of e
    noise : standard deviation, relative to white matter
    slices : voxels that are averaged into one slice
    air_is_zero : whether the scanner blanks what is nothing but noise
    """

    power: tuple[float, float]
    shading: tuple[float, float]
    noise: tuple[float, float]
    slices: int
    air_is_zero: bool


#: "ordinary" is a T1w scan of 2 mm; "low-field" one of a weak magnet: flat, noisy, shaded, slices of 6 mm.
SCANNERS = {
    "ordinary": Scanner((1.15, 1.45), (0.03, 0.1), (0.012, 0.03), 1, True),
    "low-field": Scanner((0.5, 0.7), (0.25, 0.45), (0.07, 0.12), 3, False),
}


def make_template_head(
    seed: int,
    index: int,
    *,
    scanner: str = "ordinary",
    minimum_ml: float | None = None,
    maximum_ml: float | None = None,
):
    """Make one head.

    Parameters
    ----------
    seed, index : what it depends on
    scanner : a name of :data:`SCANNERS`
    minimum_ml, maximum_ml : of the stroke

    Returns
    -------
    scan : int16 array (X, Y, Z), RAS+
    truth : uint8 array of the same shape
    affine : (4, 4), mm
    record : dict, what was drawn

    Raises
    ------
    UsageError
        There is no such scanner.
    DataError
        Where nilearn is missing or the volumes leave no stroke.
    """
    chosen = _scanner(scanner)
    template = load_template(_SPACING)
    drawn = draw_ill_brain(template, find_preset("atlas"), seed, index, minimum_ml, maximum_ml)
    rng = np.random.default_rng([seed, index, _STREAM])
    shape, affine, offset = head_grid(template.shape, template.affine, template.spacing)

    def place(values, box, dtype):
        wide = np.zeros(shape, dtype)
        wide[tuple(slice(o + b.start, o + b.stop) for o, b in zip(offset, box, strict=True))] = values
        return wide

    anatomy = drawn.anatomy
    white = float(np.median(drawn.t1[anatomy.white > 0.9]))
    power = rng.uniform(*chosen.power)
    brain = place((np.clip(drawn.t1 / white, 0, 1.5) ** power).astype(np.float32), anatomy.box, np.float32)
    inside = place(anatomy.surface_distance < 0, anatomy.box, bool)
    truth = place(drawn.mask, tuple(slice(0, size) for size in template.shape), np.uint8)
    values = add_head(rng, brain, inside, affine, fluid=(drawn.fluid / white) ** power)
    values, truth, affine = _scan(rng, chosen, values, truth, affine)
    record = drawn.record | {"scanner": scanner, "lesion_ml": float(truth.sum() * abs(np.linalg.det(affine)) / 1000)}
    return np.clip(np.rint(values * _STORED), 0, 32767).astype(np.int16), truth, affine, record


def _scanner(name):
    if name not in SCANNERS:
        raise UsageError(f"scanner {name!r} is unknown; use {' or '.join(SCANNERS)}")
    return SCANNERS[name]


def _scan(rng, scanner, values, truth, affine):
    shading = rng.uniform(*scanner.shading) * smooth_field(rng, values.shape, 70 / _SPACING)
    values = values * np.exp(shading)
    if scanner.slices > 1:
        count = values.shape[2] // scanner.slices
        blocks = (*values.shape[:2], count, scanner.slices)
        values = values[..., : count * scanner.slices].reshape(blocks).mean(-1)
        truth = truth[..., : count * scanner.slices].reshape(blocks).mean(-1) >= 0.5
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (scanner.slices - 1) / 2
        affine[:3, 2] *= scanner.slices
    values = ndi.gaussian_filter(values, (0.35, 0.35, 0))
    sigma = np.float32(rng.uniform(*scanner.noise))
    real, imaginary = rng.standard_normal((2, *values.shape), dtype=np.float32) * sigma
    scanned = np.hypot(values + real, imaginary)
    if scanner.air_is_zero:
        scanned[values < 0.01] = 0
    return scanned, truth.astype(np.uint8), affine


@dataclass(frozen=True, kw_only=True)
class TemplateHeads(Generator):
    """Heads made around a template.

    Attributes
    ----------
    count, seed, scanner, minimum_ml, maximum_ml : of the heads, see :func:`make_template_head`
    """

    command = "template-heads"
    title = "heads made around a template"
    licence = TEMPLATE_LICENCE
    help = """Make whole heads with strokes around nilearn's brain template, and prepare them.

    They are for demonstrations, tests and first trials of fine-tuning. Everything made from them is marked synthetic.

    `lesionseg prepare template-heads -o heads --count 20 --scanner low-field --workers 2`
    """
    recipe = "clci-net-heads-finetune"

    count: Annotated[int, Option("Heads to make. A higher number adds to a folder.")]
    seed: Annotated[int, Option("Seed; equal seeds give equal heads.")] = 0
    scanner: Annotated[
        str, Option("Scanner to imitate: ordinary, or low-field (flat, noisy, shaded, slices of 6 mm).", metavar="NAME")
    ] = "ordinary"
    minimum_ml: Annotated[
        float | None, Option("Volume in mL of the smallest lesion to draw.", metavar="ML", given_as=float)
    ] = 5.0
    maximum_ml: Annotated[float | None, Option("Volume in mL of the largest lesion to draw.", metavar="ML")] = None

    @property
    def name(self) -> str:
        """With the scanner."""
        return f"{self.title}, {self.scanner} scanner"

    def check(self) -> None:
        """Scanner, volumes and template, too."""
        super().check()
        _scanner(self.scanner)
        find_preset("atlas").volume_ml(0.5, self.minimum_ml, self.maximum_ml)  # refuses limits that leave nothing
        load_template(_SPACING)

    def generate(self, output: Path, *, workers: int, progress: bool) -> Path:
        """Make heads in ``output / "source"``."""
        settings = {name: getattr(self, name) for name in ("seed", "scanner", "minimum_ml", "maximum_ml")}
        source = output / "source"
        claim_generated_folder(source, settings | {"version": _VERSION}, "heads around a template")
        missing = [index for index in range(self.count) if not (source / _name(index)).is_dir()]
        tasks = [(source, settings, index) for index in missing]
        generate_missing(_write_head, tasks, [f"head {index}" for index in missing], source, workers, progress)
        return source

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """The first ``count`` heads that are there."""
        return [_record(Path(source), index) for index in range(self.count)], []


def _name(index):
    return f"sub-head{index + 1:03d}"


def _record(source, index):
    name = _name(index)
    stem = source / name / "anat" / name
    notes = json.loads(Path(f"{stem}_T1w.json").read_text())
    return CaseRecord(
        name, name, {"t1w": Path(f"{stem}_T1w.nii.gz")}, [Path(f"{stem}_label-lesion_mask.nii.gz")], notes=notes
    )


def _write_head(source, settings, index):
    scan, truth, affine, record = make_template_head(index=index, **settings)
    name = _name(index)
    write_head(source, name, scan, truth, affine, record, description=b"hf_lesionseg made head (synthetic)")
