"""Whole scans of generated heads, laid out and prepared like any other data set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...prepared.records import CaseRecord
from ..generated_folder import check_amount, claim_described_folder, generate_missing
from .artefacts import add_artefacts
from .catalogue import HeadCatalogue
from .head_files import write_head
from .plan import draw_head
from .render import render_slices

__all__ = ["find_heads", "render_head", "render_heads"]

_VERSION = 2
_PIXELS = (0.8, 1.0, 1.0, 1.0, 1.2)  # mm in-plane
_STORED = 1000.0  # of white matter in the files
_FREE = 3  # one of so many heads has no stroke
_SLICES_AT_ONCE = 16


def render_head(catalogue: HeadCatalogue, split: str, seed: int, index: int, spacing=None):
    """Render one whole head.

    Every third one has no stroke. The volume of the others is log-uniform, drawn so that any run of heads covers it.

    Parameters
    ----------
    catalogue : HeadCatalogue
    split : "fit", "choose" or "report"
    seed, index : what the head depends on, beside catalogue and split
    spacing : (in-plane, between slices), mm; drawn for each head by default

    Returns
    -------
    scan : int16 array (X, Y, Z), RAS+
    truth : uint8 array of the same shape
    affine : (4, 4), mm
    record : dict
        What was drawn, for a table of results by condition.
    """
    rng = np.random.default_rng([seed, index, 7])
    with_stroke = index % _FREE != 0
    volume = None
    if with_stroke:
        place = (index * 0.6180339887 + rng.uniform(0, 0.05)) % 1  # golden ratio: evenly spread whatever the count
        volume = float(np.exp(np.log(0.5) + place * np.log(250 / 0.5)))
    plan = draw_head(catalogue, split, rng, with_stroke=with_stroke, volume_ml=volume)
    pixel = float(rng.choice(_PIXELS))
    if spacing is not None:
        pixel, distance = (float(size) for size in spacing)
        plan = replace(plan, scanning=replace(plan.scanning, slice_distance=distance, slice_thickness=distance))
    bottom, top = plan.heights
    heights = np.arange(bottom, top, plan.scanning.slice_distance, dtype=np.float32)
    shape = (round(236 / pixel), round(190 / pixel))
    centre = (4.0, 0.0)
    scans, truths = [], []
    for first in range(0, len(heights), _SLICES_AT_ONCE):
        values, lesion, _ = render_slices(
            plan, heights[first : first + _SLICES_AT_ONCE], shape, (pixel, pixel), centre,
            plan.scanning.slice_thickness,
        )  # fmt: skip
        values = add_artefacts(plan, values, (pixel, pixel), rng)
        scans.append(np.clip(np.rint(values * _STORED), 0, 32767).astype(np.int16))
        truths.append(lesion.astype(np.uint8))
    scan, truth = (np.ascontiguousarray(np.concatenate(each).transpose(2, 1, 0)) for each in (scans, truths))
    distance = plan.scanning.slice_distance
    affine = np.diag([pixel, pixel, distance, 1.0])
    affine[:3, 3] = (
        centre[1] - (shape[1] - 1) / 2 * pixel, centre[0] - (shape[0] - 1) / 2 * pixel, bottom,
    )  # fmt: skip
    return scan, truth, affine, _describe(plan, truth, pixel, seed, index, split)


def _describe(plan, truth, pixel, seed, index, split):
    stroke, scanning, ageing = plan.stroke, plan.scanning, plan.ageing
    return {
        "seed": seed,
        "index": index,
        "split": split,
        "skull": plan.outer.id,
        "brain": plan.inner.id,
        "lesion_ml": round(float(truth.sum()) * pixel * pixel * scanning.slice_distance / 1000, 4),
        "kind": None if stroke is None else stroke.kind,
        "pixel_mm": pixel,
        "slice_mm": round(scanning.slice_distance, 3),
        "noise": round(scanning.noise, 4),
        "grey_to_white": round(float(plan.contrast.knots[1]), 3),
        "csf_to_white": round(float(plan.contrast.knots[0]), 3),
        "stripped": scanning.stripped is not None or plan.outer.kind == "brain",
        "ventricles_mm": round(ageing.ventricles, 2),
        "sulci_mm": round(ageing.sulci, 2),
        "caps_mm": round(ageing.caps, 2),
    }


def render_heads(
    catalogue: HeadCatalogue,
    output: Path,
    *,
    count: int,
    split: str,
    seed: int = 0,
    spacing: tuple[float, float] | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Path:
    """Write ``count`` whole heads of a split as a BIDS-like folder of T1w scans, masks and records.

    Head ``i`` depends on catalogue, split, seed and ``i`` alone; heads that are there already are kept.

    Raises
    ------
    DataError
        Where the folder holds heads of other settings, or something else.
    """
    check_amount("count", count, seed)
    spacing = None if spacing is None else [float(size) for size in spacing]
    settings = {
        "seed": seed,
        "split": split,
        "spacing_mm": spacing,
        "catalogue": catalogue.fingerprint,
        "version": _VERSION,
    }
    description = {
        "Name": "Generated heads with strokes (synthetic, no patients)",
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "Synthetic": True,
        "License": "; ".join(f"{name}: {licence}" for name, licence in catalogue.licences().items()),
        "GeneratedBy": [{"Name": "hf_lesionseg", "Settings": settings}],
    }
    claim_described_folder(
        output / "dataset_description.json", description, lambda found: found["GeneratedBy"][0]["Settings"], "heads"
    )
    missing = [index for index in range(count) if not (output / _name(split, index)).is_dir()]
    tasks = [(catalogue.folder, output, split, seed, index, spacing) for index in missing]
    generate_missing(_write_head, tasks, [f"head {index}" for index in missing], output, workers, progress)
    return output


def find_heads(folder: Path, split: str, count: int) -> list[CaseRecord]:
    """Records of heads that :func:`render_heads` wrote."""
    records = []
    for index in range(count):
        name = _name(split, index)
        stem = folder / name / "anat" / name
        notes = json.loads(Path(f"{stem}_T1w.json").read_text())
        scan, mask = Path(f"{stem}_T1w.nii.gz"), Path(f"{stem}_label-lesion_mask.nii.gz")
        records.append(CaseRecord(name, name, {"t1w": scan}, [mask], notes=notes))
    return records


def _name(split, index):
    return f"sub-{split}{index:04d}"


def _write_head(folder, output, split, seed, index, spacing):
    scan, truth, affine, record = render_head(HeadCatalogue(folder), split, seed, index, spacing)
    name = _name(split, index)
    write_head(output, name, scan, truth, affine, record, description=b"hf_lesionseg generated head (synthetic)")
