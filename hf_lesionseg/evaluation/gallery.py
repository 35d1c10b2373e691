"""The sheet with the worst, the median and the best case (as Fig. 3 of the CLCI-Net paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, ScanError
from ..imaging import Scan, read_mask, read_scan
from ..imaging.scan import on_grid_of
from ..models.mask_options import MaskOptions
from ..models.slice_planes import restore_planes
from ..models.volume_geometry import VolumeError
from .figures import OverlayPanel, extract_panel, overlay_sheet
from .label_choice import LabelChoice
from .matching import TruthCase, TruthSet
from .scored_case import CaseMetrics
from .scoring import read_prediction

if TYPE_CHECKING:
    from ..datasets.prepared import PreparedDataset

LONGEST_NAME = 34


def pick_cases(cases: Sequence[CaseMetrics]) -> list[tuple[str, CaseMetrics]]:
    """Choose worst, median and best case by Dice, ties by name; of two cases worst and best, of one the only.

    Cases without a true lesion are chosen from only where there are no others: their pictures would be empty. The
    median of an even number is the lower of the two in the middle.
    """
    scored = [case for case in cases if not case.failed]
    scored = [case for case in scored if not case.truth_is_empty] or scored
    scored.sort(key=lambda case: (case.dice, case.case))
    if len(scored) < 2:
        return [("only case", case) for case in scored]
    middle = [("median", scored[(len(scored) - 1) // 2])] if len(scored) > 2 else []
    return [("worst", scored[0]), *middle, ("best", scored[-1])]


def _shortened(name: str) -> str:
    """Cut the middle out of a name that would run into the neighbouring panel's."""
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _prepared_scan(prepared: PreparedDataset, case: str) -> np.ndarray:
    """Rebuild the scan of a prepared case on its file's grid, as far as the network saw it.

    float32 (X, Y, Z) of the first channel, normalised intensities; zero outside the window.
    """
    found = next(own for own in prepared.cases if own.id == case)
    return restore_planes(found.planes()[:, 0], found.geometry, order=1)


def _background(
    truth: TruthCase, mask: Scan, scans: Mapping[str, Path] | None, prepared: PreparedDataset | None
) -> tuple[np.ndarray | None, str]:
    """Intensities to draw a case on, or None and, where there should have been some, the reason."""
    try:
        if scans is not None:
            path = next((scans[name] for name in sorted(truth.aliases) if name in scans), None)
            if path is None:
                return None, "no scan of this name"
            return on_grid_of(read_scan(path), mask).data, ""
        return (None, "") if prepared is None else (_prepared_scan(prepared, truth.case), "")
    except (ScanError, DataError, VolumeError) as error:
        return None, str(error)


def draw_gallery(
    cases: Sequence[CaseMetrics],
    truths: TruthSet,
    predictions: Mapping[str, Path],
    path: str | Path,
    *,
    scans: Mapping[str, Path] | None = None,
    options: MaskOptions | None = None,
    slice_axis: str = "axial",
    labels: LabelChoice | None = None,
    synthetic: bool | str = False,
) -> list[str]:
    """Draw worst, median and best case; reads the volumes of one case at a time.

    Parameters
    ----------
    cases : sequence of CaseMetrics
        Scored cases.
    truths : TruthSet
        Where their true masks are.
    predictions : mapping of case to file
        By the truth's case name.
    path : path
        PNG to write.
    scans : mapping of case name to file, optional
        Backgrounds; without it those of a prepared folder, else none.
    options : MaskOptions, optional
        What is done to a prediction before it is scored, and so before it is drawn.
    slice_axis : {"axial", "coronal", "sagittal"}
        As for :func:`~hf_lesionseg.evaluation.scoring.read_prediction`.
    labels : LabelChoice, optional
        Which labels are lesion.
    synthetic : bool or str
        Say in the title that the data are synthetic, or this text.

    Returns
    -------
    list of str
        Why a case has no background although one was asked for. No file is written if no case was scored.
    """
    labels = labels or LabelChoice()
    known = {truth.case: truth for truth in truths.cases}
    panels: list[OverlayPanel] = []
    notes = []
    for rank, case in pick_cases(cases):
        truth = known[case.case]
        mask = read_mask(truth.path, values=labels.truth)
        background, reason = _background(truth, mask, scans, truths.prepared)
        if reason:
            notes.append(f"{case.case}: drawn without its scan: {reason}")
        title = f"{rank}: {_shortened(case.case)}\nDice {case.dice:.3f}, truth {case.truth_ml:.3g} mL"
        panels.append(
            extract_panel(
                title + (", no scan" if background is None else ""),
                affine=mask.affine,
                scan=background,
                truth=mask.data,
                prediction=read_prediction(predictions[case.case], mask, options, labels.prediction, slice_axis),
            )
        )
    if panels:
        overlay_sheet(panels, path, title="Worst, median and best case by Dice", synthetic=synthetic)
    return notes
