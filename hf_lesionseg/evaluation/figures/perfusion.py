"""What perfusion maps were made from, and the maps: to see at a glance whether they can be believed."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from .canvas import BLUE, FAINT, INK, LABEL_SIZE, NOTE_SIZE, VERMILION, new_figure, save, style_axes

#: Map -> unit, highest value shown, colours: flow as it is usual, times so that late is bright.
SHOWN = {
    "cbf": ("mL/100 g/min", 80.0, "turbo"),
    "cbv": ("mL/100 g", 6.0, "turbo"),
    "mtt": ("s", 15.0, "turbo"),
    "tmax": ("s", 12.0, "turbo"),
}


def perfusion_overview(series, maps, path: str | Path, *, title: str) -> Path:
    """Draw the curves of the vessels, the brain's with the frames of the first pass, and one slice of each map.

    Parameters
    ----------
    series : PerfusionSeries
    maps : PerfusionMaps
    path : path
        PNG to write.
    title : str
    """
    figure = new_figure(11.0, 7.4, title)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    vessels, brain = upper.subplots(1, 2)
    _draw_vessels(vessels, series, maps)
    _draw_brain(brain, series, maps)
    _draw_maps(lower, series, maps)
    return save(figure, path)


def _draw_vessels(axes, series, maps) -> None:
    inputs = maps.vascular_input
    seconds = np.arange(series.num_frames) * series.frame_seconds
    axes.plot(seconds, inputs.arterial, color=VERMILION, linewidth=2)
    axes.plot(seconds, inputs.venous, color=BLUE, linewidth=2)
    for curve, name, colour in ((inputs.arterial, "artery", VERMILION), (inputs.venous, "vein", BLUE)):
        voxels = inputs.arterial_voxels if name == "artery" else inputs.venous_voxels
        text = f"{name}, {len(voxels)} voxel{'s' * (len(voxels) != 1)}"
        at = int(curve.argmax())
        side = -1 if name == "artery" else 1
        axes.annotate(
            text, (seconds[at], curve[at]), (8 * side, 0), textcoords="offset points", color=colour,
            fontsize=LABEL_SIZE, ha="right" if side < 0 else "left", va="center", parse_math=False,
        )  # fmt: skip
    style_axes(axes, x_label="time (s)", y_label="HU above baseline", title="Arterial input and venous output")


def _draw_brain(axes, series, maps) -> None:
    first_pass = maps.first_pass
    seconds = np.arange(series.num_frames) * series.frame_seconds
    positions = first_pass.positions()
    start, end = first_pass.onset * series.frame_seconds, first_pass.end * series.frame_seconds
    axes.axvspan(start, end, color=FAINT, alpha=0.5, linewidth=0)
    axes.plot(seconds, maps.curve, color=INK, linewidth=2)
    heights = np.interp(positions, np.arange(series.num_frames), maps.curve)
    axes.plot(positions * series.frame_seconds, heights, "o", color=VERMILION, markersize=6)
    style_axes(
        axes, x_label="time (s)", y_label="HU, mean of the brain",
        title=f"First pass (grey), and the {len(positions)} frames for a network (dots)",
    )  # fmt: skip


def _draw_maps(figure, series, maps) -> None:
    orientation = nib.io_orientation(series.affine)
    upright = {name: nib.orientations.apply_orientation(getattr(maps, name), orientation) for name in SHOWN}
    brain = nib.orientations.apply_orientation(maps.brain, orientation)
    number = int((upright["cbf"] > 0).sum(axis=(0, 1)).argmax())  # the axial slice with most tissue
    spacing = np.empty(3)
    spacing[orientation[:, 0].astype(int)] = series.spacing
    for axes, (name, (unit, highest, colours)) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        # [column, row] -> [row, column]; columns from left to right, turned as radiologists look at them
        plane = np.ma.masked_where(~brain[:, :, number], upright[name][:, :, number]).T[:, ::-1]
        axes.set_facecolor("black")
        picture = axes.imshow(
            plane, cmap=colours, vmin=0, vmax=highest, origin="lower", aspect=spacing[1] / spacing[0],
            interpolation="nearest",
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("Tmax" if name == "tmax" else name.upper(), fontsize=LABEL_SIZE, color=INK)
        bar = figure.colorbar(
            picture, ax=axes, orientation="horizontal", fraction=0.06, pad=0.03, shrink=0.85, extend="max"
        )
        bar.set_label(unit, fontsize=NOTE_SIZE, color=INK)
        bar.ax.tick_params(labelsize=NOTE_SIZE, colors=INK)
    note = f"axial slice {number + 1} of {brain.shape[2]}, the person's right on the left. Research use only."
    figure.supxlabel(note, fontsize=NOTE_SIZE, color=INK)
