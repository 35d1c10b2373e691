"""Lesion contours on axial slices of scans, as radiologists look at them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...errors import GridMismatchError
from .canvas import INK, LABEL_SIZE, NOTE_SIZE, ORANGE, SKY, new_figure, save

TRUTH_COLOUR, PREDICTION_COLOUR = SKY, ORANGE
WINDOW_PERCENTILES = (1.0, 99.5)
MARGIN_MM = 12.0  # kept around the head, wide enough for the letters


@dataclass(frozen=True)
class OverlayPanel:
    """One axial slice, ready to draw: rows run from anterior to posterior, columns from the person's right to left.

    Where there is a scan, the slice is cut to the head and the lesions.

    Attributes
    ----------
    title : str
        Written above the slice.
    truth, prediction : bool array (rows, columns) or None
        Masks to outline.
    background : float array (rows, columns) or None
        Scan intensities in 0..1; None draws the masks on black.
    aspect : float
        Height of a voxel over its width, both in mm.
    millimetres : (float, float)
        Height and width of the picture in mm.
    """

    title: str
    truth: np.ndarray | None
    prediction: np.ndarray | None
    background: np.ndarray | None
    aspect: float
    millimetres: tuple[float, float]


def _axial_view(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn a volume so that it is indexed [slice from foot to head, row from anterior, column from the right side].

    A view: reorientation only permutes and flips the axes nearest to the body's.
    """
    canonical = nib.orientations.apply_orientation(volume, nib.io_orientation(affine))
    return canonical.transpose(2, 1, 0)[:, ::-1, ::-1]


def _canonical_spacing(affine: np.ndarray) -> np.ndarray:
    """Voxel size in mm along left-right, posterior-anterior and foot-head."""
    file_spacing = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
    nearest = nib.io_orientation(affine)[:, 0].astype(int)
    spacing = np.empty(3)
    spacing[nearest] = file_spacing
    return spacing


def largest_lesion_slice(mask: np.ndarray) -> int:
    """Return the first index of axis 0 with the most mask voxels; the middle slice of an empty mask."""
    area = np.count_nonzero(mask, axis=(1, 2))
    return int(np.argmax(area)) if area.any() else mask.shape[0] // 2


def extract_panel(
    title: str,
    *,
    affine: np.ndarray,
    scan: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    slice_index: int | None = None,
) -> OverlayPanel:
    """Cut one axial slice out of volumes that lie on one file grid.

    Parameters
    ----------
    title : str
        Written above the slice.
    affine : array (4, 4)
        Voxel indices to RAS+ millimetres; the volumes are in the file's own axis order.
    scan : float array (X, Y, Z), optional
        Background, windowed to the 1st and 99.5th percentiles of its non-zero voxels.
    truth, prediction : mask array (X, Y, Z), optional
        Non-zero is lesion.
    slice_index : int, optional
        Axial slice counted from the foot; the one with the largest area of truth if not given, of the prediction where
        there is no (or an empty) truth, the middle one where there is neither.

    Returns
    -------
    OverlayPanel
        Holds copies of the slice only, so the volumes can be let go.

    Raises
    ------
    ValueError
        No volume was given.
    GridMismatchError
        The volumes differ in shape.
    """
    volumes = {"scan": scan, "truth": truth, "prediction": prediction}
    given = {name: np.asarray(volume) for name, volume in volumes.items() if volume is not None}
    if not given:
        raise ValueError(f"{title}: give a scan, a truth or a prediction to draw")
    if len({volume.shape for volume in given.values()}) > 1:
        shapes = ", ".join(f"{name} {volume.shape}" for name, volume in given.items())
        raise GridMismatchError(f"{title}: volumes of one picture must lie on one grid, got {shapes}")
    views = {name: _axial_view(volume, affine) for name, volume in given.items()}
    if slice_index is None:
        filled = [views[name] for name in ("truth", "prediction") if name in views and views[name].any()]
        first = next(iter(views.values()))
        slice_index = largest_lesion_slice(filled[0]) if filled else first.shape[0] // 2

    background = None
    if scan is not None:
        background = np.array(views["scan"][slice_index], dtype=np.float32)
        tissue = given["scan"][given["scan"] != 0]
        # A stride keeps the percentiles of a whole-body CT from costing a sort of all of it.
        tissue = tissue[:: max(1, tissue.size // 500_000)]
        low, high = np.percentile(tissue, WINDOW_PERCENTILES) if tissue.size else (0.0, 1.0)
        background = np.clip((background - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
    masks = {name: views[name][slice_index] != 0 if name in views else None for name in ("truth", "prediction")}
    width_mm, height_mm, _ = _canonical_spacing(affine)
    window = _shown_window(background, masks, margin=(MARGIN_MM / height_mm, MARGIN_MM / width_mm))
    rows, columns = (side.stop - side.start for side in window)
    return OverlayPanel(
        title=title,
        # Copies: a view would keep the whole volume in memory.
        **{name: None if mask is None else mask[window].copy() for name, mask in masks.items()},
        background=None if background is None else background[window].copy(),
        aspect=float(height_mm / width_mm),
        millimetres=(float(rows * height_mm), float(columns * width_mm)),
    )


def _shown_window(
    background: np.ndarray | None, masks: dict[str, np.ndarray | None], margin: tuple[float, float]
) -> tuple[slice, slice]:
    """Rows and columns of the head and the lesions with a margin in voxels; the whole slice without a scan."""
    if background is None:
        shape = next(mask for mask in masks.values() if mask is not None).shape
        return slice(0, shape[0]), slice(0, shape[1])
    shown = background > 0.05
    for mask in masks.values():
        if mask is not None:
            shown = shown | mask
    window = []
    for axis in range(2):
        inside = np.flatnonzero(shown.any(axis=1 - axis))
        first, last = (inside[0], inside[-1]) if inside.size else (0, shown.shape[axis] - 1)
        rim = int(np.ceil(margin[axis]))
        window.append(slice(max(0, int(first) - rim), min(shown.shape[axis], int(last) + 1 + rim)))
    return window[0], window[1]


def _outline(axes: Axes, mask: np.ndarray, colour: str, style: str) -> None:
    """Draw the outline of a mask half-way between its voxels and their neighbours."""
    if not mask.any():
        return
    # A rim of zeros closes the outline of a lesion that touches the slice's border.
    padded = np.pad(mask.astype(np.float32), 1)
    rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
    axes.contour(columns, rows, padded, levels=[0.5], colors=[colour], linestyles=[style], linewidths=1.6)


def draw_panel(axes: Axes, panel: OverlayPanel, *, size: float = 1.0) -> None:
    """Draw one panel with its title and the letters of the body's sides, the text ``size`` times as large as usual."""
    shape = next(a for a in (panel.background, panel.truth, panel.prediction) if a is not None).shape
    image = panel.background if panel.background is not None else np.zeros(shape, dtype=np.float32)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=panel.aspect, interpolation="nearest")
    if panel.truth is not None:
        _outline(axes, panel.truth, TRUTH_COLOUR, "solid")
    if panel.prediction is not None:
        _outline(axes, panel.prediction, PREDICTION_COLOUR, "dashed")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_anchor("N")  # titles in one line also where the slices differ in shape
    # A $ in a case name is not a formula.
    axes.set_title(panel.title, fontsize=size * LABEL_SIZE, color=INK, parse_math=False)
    for letter, x, y in (("R", 0.02, 0.5), ("L", 0.98, 0.5), ("A", 0.5, 0.98), ("P", 0.5, 0.02)):
        horizontal = {"R": "left", "L": "right"}.get(letter, "center")
        vertical = {"A": "top", "P": "bottom"}.get(letter, "center")
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical, fontsize=size * NOTE_SIZE,
            color="white", fontweight="bold",
        )  # fmt: skip


def add_legend(figure: Figure, panels: Iterable[OverlayPanel]) -> None:
    """Say below the figure what the outlines are."""
    panels = list(panels)
    lines = []
    if any(panel.truth is not None for panel in panels):
        lines.append(Line2D([], [], color=TRUTH_COLOUR, linestyle="solid", linewidth=2, label="truth"))
    if any(panel.prediction is not None for panel in panels):
        lines.append(Line2D([], [], color=PREDICTION_COLOUR, linestyle="dashed", linewidth=2, label="prediction"))
    if lines:
        figure.legend(
            handles=lines,
            loc="outside lower center",
            ncols=len(lines),
            frameon=False,
            fontsize=LABEL_SIZE,
            labelcolor=INK,
        )


def overlay_sheet(
    panels: Sequence[OverlayPanel], path: str | Path, *, title: str, columns: int = 3, synthetic: bool = False
) -> Path:
    """Draw panels side by side, truth solid and prediction dashed, with the letters of the body's sides.

    Parameters
    ----------
    panels : sequence of OverlayPanel
        At least one.
    path : path
        PNG to write.
    title : str
        Heading of the sheet.
    columns : int
        Panels in a row.
    synthetic : bool
        Say in the title that the data are synthetic.

    Raises
    ------
    ValueError
        There is no panel.
    """
    if not panels:
        raise ValueError("an overlay sheet needs at least one panel")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    tallest = max(panel.millimetres[0] / panel.millimetres[1] for panel in panels)
    width = 3.6
    # Inches for each line of a panel's title, and for heading and legend: the pictures then fill the sheet.
    title_height = 0.12 + 0.19 * max(panel.title.count("\n") + 1 for panel in panels)
    height = width * min(max(tallest, 0.5), 2.0) + title_height
    figure = new_figure(max(columns * width, 4.5), rows * height + 0.75, title, synthetic=synthetic)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        draw_panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    add_legend(figure, panels)
    return save(figure, path)
