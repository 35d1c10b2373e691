"""Distributions: the Dice of the cases, and the lesion volumes of the splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .canvas import (
    BLUE,
    GREEN,
    INK,
    LABEL_SIZE,
    NOTE_SIZE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    save,
    say_empty,
    style_axes,
)

SPLIT_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)


def dice_distribution(dice: Sequence[float], path: str | Path, *, n_failed: int = 0, synthetic: bool = False) -> Path:
    """Draw box plot and histogram of the Dice coefficients of all cases (as Fig. 4 of the CLCI-Net paper).

    Parameters
    ----------
    dice : sequence of float
        One per case, 0..1; NaN (failed cases) is left out.
    path : path
        PNG to write.
    n_failed : int
        Number of failed cases, shown in the figure.
    synthetic : bool
        Say in the title that the data are synthetic.
    """
    values = np.asarray([value for value in dice if not math.isnan(value)], dtype=np.float64)
    figure = new_figure(8.0, 4.2, "Dice coefficient per case", synthetic=synthetic)
    box_axes, histogram_axes = figure.subplots(1, 2, width_ratios=(1, 2.4))
    counts = f"n = {values.size}" + (f"\n{n_failed} failed" if n_failed else "")
    style_axes(box_axes, x_label=counts, y_label="Dice coefficient")
    style_axes(histogram_axes, x_label="Dice coefficient", y_label="number of cases")
    box_axes.set_xticks([])
    box_axes.set_ylim(-0.03, 1.03)
    histogram_axes.set_xlim(0, 1)
    if values.size == 0:
        say_empty(box_axes, "no case")
        say_empty(histogram_axes, "no case could be scored")
        return save(figure, path)

    _draw_box(box_axes, values)
    box_axes.set_xlim(0.5, 1.5)
    # Sideways scatter from a fixed seed: the same results give the same picture.
    scatter = np.random.default_rng(0).uniform(-0.14, 0.14, values.size)
    box_axes.scatter(1 + scatter, values, s=14, color=BLUE, alpha=0.65, linewidths=0, zorder=3)
    mean = float(values.mean())
    box_axes.scatter([1], [mean], marker="D", s=46, facecolor="white", edgecolor=INK, linewidth=1.4, zorder=4)

    histogram_axes.hist(values, bins=np.arange(21) / 20, color=BLUE, edgecolor="white", linewidth=0.8)
    histogram_axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for value, style, name in ((mean, "-", "mean (◇)"), (float(np.median(values)), "--", "median")):
        histogram_axes.axvline(value, color=VERMILION, linestyle=style, linewidth=1.8, label=f"{name} {value:.3f}")
    # Above the axes: inside, the legend would lie on the bars of one result or another.
    histogram_axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=NOTE_SIZE, labelcolor=INK
    )
    return save(figure, path)


def _draw_box(axes: Axes, values: np.ndarray) -> None:
    """Draw Tukey's box plot at x = 1: quartiles, median, whiskers to the last case within 1.5 interquartile ranges.

    Without marks for outliers: every case is drawn as a point anyway. By hand, since ``Axes.boxplot`` imports pyplot
    and fixes the global backend.
    """
    (box,) = boxplot_stats(values)
    low, high, half_width = box["q1"], box["q3"], 0.22
    axes.bar(1, high - low, 2 * half_width, bottom=low, facecolor=SKY, alpha=0.5, edgecolor=INK, linewidth=1.2)
    axes.hlines(box["med"], 1 - half_width, 1 + half_width, color=INK, linewidth=2)
    axes.vlines([1, 1], [box["whislo"], high], [low, box["whishi"]], color=INK, linewidth=1.2)
    axes.hlines([box["whislo"], box["whishi"]], 1 - half_width / 2, 1 + half_width / 2, color=INK, linewidth=1.2)


def _millilitres(value: float, _position: int | None = None) -> str:
    """Write a volume without an exponent: 0.01, 1, 100."""
    return f"{value:g}"


def lesion_volume_histograms(
    volumes: Mapping[str, Sequence[float]], path: str | Path, *, synthetic: bool = False
) -> Path:
    """Draw one histogram of lesion volumes per split, on common logarithmic bins (as Fig. 2 of the CLCI-Net paper).

    Parameters
    ----------
    volumes : mapping of split name to lesion volumes in mL
        Volumes of 0 (no lesion) cannot be drawn on a logarithmic axis; they are counted in the panel's title.
    path : path
        PNG to write.
    synthetic : bool
        Say in the title that the data are synthetic.
    """
    splits = {
        name: np.asarray([v for v in own if not math.isnan(v)], dtype=np.float64) for name, own in volumes.items()
    }
    splits = splits or {"no split": np.empty(0)}
    positive = np.concatenate([own[own > 0] for own in splits.values()])
    lowest, highest = (positive.min(), positive.max()) if positive.size else (0.1, 100.0)
    # Whole decades, four bins in each.
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    last = max(last, first + 1)
    bins = np.logspace(first, last, 4 * (last - first) + 1)

    figure = new_figure(8.0, 1.0 + 1.75 * len(splits), "Lesion volume", synthetic=synthetic)
    rows = figure.subplots(len(splits), 1, sharex=True, squeeze=False)[:, 0]
    colours = [SPLIT_COLOURS[index % len(SPLIT_COLOURS)] for index in range(len(splits))]
    for axes, colour, (name, own) in zip(rows, colours, splits.items(), strict=True):
        drawn = own[own > 0]
        note = f"{name}: n = {own.size}"
        if drawn.size:
            note += f", median {np.median(drawn):.3g} mL"
        if drawn.size < own.size:
            note += f", {own.size - drawn.size} without lesion"
        style_axes(axes, y_label="cases", title=note)
        axes.set_xscale("log")
        axes.set_xlim(bins[0], bins[-1])
        axes.xaxis.set_major_formatter(FuncFormatter(_millilitres))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        if drawn.size == 0:
            say_empty(axes, "no lesion")
            continue
        axes.hist(drawn, bins=bins, color=colour, edgecolor="white", linewidth=0.8)
        axes.axvline(float(np.median(drawn)), color=INK, linestyle="--", linewidth=1.4)
    rows[-1].set_xlabel("lesion volume (mL, logarithmic)", fontsize=LABEL_SIZE, color=INK)
    figure.align_ylabels(rows)
    return save(figure, path)
