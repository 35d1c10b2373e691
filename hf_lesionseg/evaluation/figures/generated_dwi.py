"""What EGS-Net learns from and makes: the heat map of its losses, and generated beside true diffusion images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...models.lesion_heat_map import lesion_heat_map, signed_distance
from .canvas import INK, LABEL_SIZE, new_figure, save
from .overlays import PREDICTION_COLOUR, TRUTH_COLOUR, WINDOW_PERCENTILES, _outline

_CELL, _HEADING = 2.3, 0.9  # inches of a picture, and of heading and legend


@dataclass(frozen=True)
class DWIRow:
    """One slice of a case: rows of pixels from anterior, columns from the person's right.

    Attributes
    ----------
    title : str
        Written beside the row.
    label : bool array (height, width)
    true, generated : float array (height, width)
    prediction : bool array (height, width)
    correlation : float or None
        Correlation of generated and true DWI over the whole case.
    """

    title: str
    label: np.ndarray
    true: np.ndarray
    generated: np.ndarray
    prediction: np.ndarray
    correlation: float | None = None


def heat_map_sheet(
    rows: Sequence[DWIRow],
    path: str | Path,
    *,
    peak: float = 4.0,
    decay: float = 8.0,
    synthetic: bool = False,
) -> Path:
    """Draw label, signed distance and heat map W of each row, as Fig. 3 of Song and Huang.

    Parameters
    ----------
    rows : sequence of DWIRow
        At least one; of each the label is taken.
    path : path
        PNG to write.
    peak, decay : float
        Settings of :func:`~hf_lesionseg.models.lesion_heat_map.lesion_heat_map`, as in the network's configuration.
    synthetic : bool
        Say in the title that the data are synthetic.

    Raises
    ------
    ValueError
        There is no row.
    """
    import torch

    figure, grid = _sheet(rows, ("label", "signed distance, pixels", "heat map W"), "Label and heat map", synthetic)
    for axes, row in zip(grid, rows, strict=True):
        distance = signed_distance(row.label)
        weight = lesion_heat_map(torch.from_numpy(row.label[None]), peak=peak, decay=decay)[0].numpy()
        _show(axes[0], row.label.astype(float), "gray", 0, 1)
        if np.isfinite(distance).all():
            reach = float(np.abs(distance).max())
            image = _show(axes[1], distance, "RdBu", -reach, reach)
            _outline(axes[1], row.label, INK, "solid")
            figure.colorbar(image, ax=axes[1], shrink=0.8)
        else:
            axes[1].text(0.5, 0.5, "no lesion:\ninfinite", ha="center", va="center", color=INK)
            axes[1].set_axis_off()
        figure.colorbar(_show(axes[2], weight, "inferno", 1, 1 + peak), ax=axes[2], shrink=0.8)
    return save(figure, path)


def dwi_sheet(rows: Sequence[DWIRow], path: str | Path, *, synthetic: bool = False) -> Path:
    """Draw true DWI, truth on it, generated DWI and prediction on it of each row, as Fig. 4 of Song and Huang.

    True and generated image share one grey scale, that of the true one, so that a flat image looks flat.

    Parameters
    ----------
    rows : sequence of DWIRow
        At least one.
    path : path
        PNG to write.
    synthetic : bool
        Say in the title that the data are synthetic.

    Raises
    ------
    ValueError
        There is no row.
    """
    columns = ("true DWI", "truth on true DWI", "generated DWI", "prediction on generated DWI")
    figure, grid = _sheet(rows, columns, "True and generated DWI", synthetic)
    for axes, row in zip(grid, rows, strict=True):
        low, high = np.percentile(row.true, WINDOW_PERCENTILES)
        for place, image in zip(axes, (row.true, row.true, row.generated, row.generated), strict=True):
            _show(place, image, "gray", low, high)
        _outline(axes[1], row.label, TRUTH_COLOUR, "solid")
        _outline(axes[3], row.prediction, PREDICTION_COLOUR, "dashed")
        if row.correlation is not None:
            axes[2].set_xlabel(f"r = {row.correlation:.2f} in the brain", fontsize=LABEL_SIZE - 1, color=INK)
    lines = [
        Line2D([], [], color=colour, linestyle=style, linewidth=2, label=name)
        for name, colour, style in (("truth", TRUTH_COLOUR, "solid"), ("prediction", PREDICTION_COLOUR, "dashed"))
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=LABEL_SIZE)
    return save(figure, path)


def _sheet(rows, columns, title, synthetic):
    """An empty sheet with headings: the figure, and its axes (rows, columns)."""
    if not rows:
        raise ValueError("a sheet needs at least one row")
    height, width = rows[0].label.shape
    cell = _CELL * min(max(height / width, 0.5), 2.0)
    figure = new_figure(_CELL * len(columns) + 0.7, cell * len(rows) + _HEADING, title, synthetic=synthetic)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, fontsize=LABEL_SIZE, color=INK)
    for axes, row in zip(grid, rows, strict=True):
        axes[0].set_ylabel(row.title, fontsize=LABEL_SIZE, color=INK, parse_math=False)
    return figure, grid


def _show(axes: Axes, image: np.ndarray, colours: str, low: float, high: float):
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    shown = axes.imshow(image, cmap=colours, vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    axes.autoscale(False)  # outlines reach a pixel beyond, and would shrink the picture
    return shown
