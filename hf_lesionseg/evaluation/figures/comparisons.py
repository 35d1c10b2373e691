"""Several networks side by side: the Dice of their cases, and their outlines on the same slices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats

from .canvas import BLUE, FAINT, INK, LABEL_SIZE, SKY, VERMILION, new_figure, save, say_empty, style_axes
from .overlays import OverlayPanel, add_legend, draw_panel

_LONGEST_LABEL = 18  # letters in a line
_BINS = np.arange(21) / 20


def compare_dice(dice: Mapping[str, Sequence[float]], path: str | Path, *, title: str, synthetic: bool = False) -> Path:
    """Draw distribution and box plot of the Dice of several networks (as Fig. 4 of the CLCI-Net paper).

    Parameters
    ----------
    dice : mapping of network to Dice of its cases
        0..1, drawn from above in this order.
    path : path
        PNG to write.
    title : str
    synthetic : bool
        Say in the title that the data are synthetic.
    """
    rows = [(name, np.asarray(values, dtype=np.float64)) for name, values in dice.items()]
    figure = new_figure(10.0, 1.7 + 0.62 * max(len(rows), 2), title, synthetic=synthetic)
    histogram_axes, box_axes = figure.subplots(1, 2, sharey=True)
    style_axes(histogram_axes, x_label="Dice coefficient of a case", title="share of the cases", grid="x")
    style_axes(box_axes, x_label="Dice coefficient of a case", title="each case, quartiles, mean (◇)", grid="x")
    # Sideways scatter from a fixed seed: the same results give the same picture.
    generator = np.random.default_rng(0)
    for place, (_, values) in enumerate(rows):
        if not values.size:
            continue
        shares = np.histogram(values, bins=_BINS)[0] / values.size
        histogram_axes.bar(
            _BINS[:-1], -0.8 * shares / max(shares.max(), 1e-9), np.diff(_BINS), bottom=place + 0.4, align="edge",
            color=SKY, edgecolor=BLUE, linewidth=0.6,
        )  # fmt: skip
        _draw_sideways_box(box_axes, values, place)
        box_axes.scatter(values, place + generator.uniform(-0.17, 0.17, values.size), s=11, color=BLUE, alpha=0.7, lw=0)
        mean = float(values.mean())
        box_axes.scatter([mean], [place], marker="D", s=40, facecolor="white", edgecolor=VERMILION, lw=1.5, zorder=4)
    for axes in (histogram_axes, box_axes):
        axes.set_xlim(-0.03, 1.03)
        axes.hlines(np.arange(len(rows)) + 0.4, -0.03, 1.03, color=FAINT, linewidth=0.8, zorder=0)
    labels = [f"{textwrap.fill(name, _LONGEST_LABEL)}\nn = {values.size}" for name, values in rows]
    histogram_axes.set_yticks(range(len(rows)), labels)
    histogram_axes.set_ylim(len(rows) - 0.5, -0.5)
    histogram_axes.tick_params(axis="y", labelsize=9.5, length=0)
    box_axes.tick_params(axis="y", length=0)
    if not any(values.size for _, values in rows):
        say_empty(box_axes, "no case could be scored")
    return save(figure, path)


def _draw_sideways_box(axes: Axes, values: np.ndarray, place: int) -> None:
    """Draw Tukey's box plot along x at the height ``place``; by hand, since ``Axes.boxplot`` imports pyplot."""
    (box,) = boxplot_stats(values)
    axes.barh(place, box["q3"] - box["q1"], 0.5, left=box["q1"], facecolor=SKY, alpha=0.4, edgecolor=INK, linewidth=1.1)
    axes.vlines(box["med"], place - 0.25, place + 0.25, color=INK, linewidth=2)
    axes.hlines([place, place], [box["whislo"], box["q3"]], [box["q1"], box["whishi"]], color=INK, linewidth=1.1)
    axes.vlines([box["whislo"], box["whishi"]], place - 0.12, place + 0.12, color=INK, linewidth=1.1)


def compare_overlays(
    panels: Mapping[str, Sequence[OverlayPanel]],
    columns: Sequence[str],
    path: str | Path,
    *,
    title: str,
    synthetic: bool = False,
) -> Path:
    """Draw cases as rows and networks as columns (as Fig. 3 of the CLCI-Net and of the Residual U-Net paper).

    Parameters
    ----------
    panels : mapping of case to panels
        One for each column; the title of a panel is written above it.
    columns : sequence of str
        What the columns show.
    path : path
        PNG to write.
    title : str
    synthetic : bool
        Say in the title that the data are synthetic.

    Raises
    ------
    ValueError
        There is no panel, or a case has another number of panels than there are columns.
    """
    if not panels or any(len(row) != len(columns) for row in panels.values()):
        raise ValueError(f"give one panel or more for each of the {len(columns)} columns, of one case or more")
    every = [panel for row in panels.values() for panel in row]
    tallest = max(panel.millimetres[0] / panel.millimetres[1] for panel in every)
    width = 1.75
    height = width * min(max(tallest, 0.5), 2.0) + 0.24
    names = [textwrap.fill(name, 15) for name in columns]
    heading = 0.2 * max(name.count("\n") + 1 for name in names)
    size = (max(len(columns) * width + 0.5, 5.0), len(panels) * height + heading + 0.8)
    figure = new_figure(*size, title, synthetic=synthetic)
    grid = figure.subplots(len(panels), len(columns), squeeze=False)
    for axes_of_row, (case, row) in zip(grid, panels.items(), strict=True):
        for axes, panel in zip(axes_of_row, row, strict=True):
            draw_panel(axes, panel, size=0.78)
        label = textwrap.fill(case, 16, break_on_hyphens=True)
        axes_of_row[0].set_ylabel(label, fontsize=0.85 * LABEL_SIZE, color=INK, parse_math=False)
    for axes, name in zip(grid[0], names, strict=True):
        above = axes.get_title()
        axes.set_title(f"{name}\n{above}" if above else f"{name}\n", fontsize=0.85 * LABEL_SIZE, color=INK)
    add_legend(figure, every)
    return save(figure, path)
