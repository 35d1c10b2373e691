"""One picture that shows at a glance what was found: three planes through the largest lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..figure_text import make_readable
from ..models.padding import padding_values
from .regions import canonical_edges

GROUND, INK, QUIET, WARNING = "#101318", "#F2F4F7", "#98A2B3", "#FF8A65"
#: Okabe and Ito's palette, told apart by every kind of colour vision; lesions 1 to 4, then all others.
LESION_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73")
OTHER_COLOUR = "#F0E442"
WINDOW_PERCENTILES = (1.0, 99.5)
DOTS_PER_INCH = 150
WIDTH, TALLEST = 11.0, 7.0  # inches of the figure, and at most of a plane
_EDGE, _GAP, _HEAD, _FOOT = 0.25, 0.2, 0.85, 0.95  # inches around and between the planes
_MOST_PIXELS = 1024  # along a side of a plane: more than the figure has, whatever the header says of voxel sizes
_SHORTEST = 0.5  # inches kept for a plane of a scan of few slices


@dataclass(frozen=True)
class _Plane:
    """One plane, its rows from bottom to top and its columns from left to right of the picture.

    Thick slices are repeated to pixels of about 1 mm, so that neither their intensities nor the outlines of lesions are
    smoothed into what was never measured between them.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    millimetres: tuple[float, float]  # height, width
    mark: tuple[float, float]  # height, width of the common point of the three planes
    letters: str  # left, right, bottom, top
    regions: tuple[tuple[float, float, float, float], ...]  # left, bottom, width, height, in mm


def write_preview(
    file: BinaryIO | str,
    scan: np.ndarray,
    labels: np.ndarray,
    affine: np.ndarray,
    volumes_ml: Sequence[float],
    *,
    title: str,
    note: str = "",
    mark: str = "",
    regions: Sequence[Mapping] = (),
    window: tuple[float, float] | None = None,
) -> None:
    """Draw the axial, coronal and sagittal plane through the largest lesion, or through the middle of the scan.

    The person's right is on the left of the picture, as radiologists look at scans; letters say so.

    Parameters
    ----------
    file : path or binary file
        Gets a PNG.
    scan : array (X, Y, Z)
    labels : int array (X, Y, Z)
        0 is background, 1 the largest lesion, and so on (:func:`~hf_lesionseg.inference.lesions.find_lesions`).
    affine : array (4, 4)
        Voxel indices to RAS+ mm; of an oblique scan the nearest body axes are drawn.
    volumes_ml : sequence of float
        Volumes of lesion 1, 2, ...
    title : str
    note : str
        Small print beside the title.
    mark : str
        A word of warning on the right, such as that the network learned from generated lesions.
    regions : sequence of mapping
        Regions of the first stage (:func:`~hf_lesionseg.inference.regions.region_on_scan`); those of the shown slice
        are drawn dashed.
    window : (low, high), optional
        Intensities that are drawn black and white; by default percentiles of the scan's non-zero voxels.
    """
    window = window or _window(scan)
    planes = _planes(scan, labels, affine, regions, window)
    across = sum(plane.millimetres[1] for plane in planes)
    inches = (WIDTH - 2 * _EDGE - _GAP * (len(planes) - 1)) / across
    inches = min(inches, TALLEST / max(plane.millimetres[0] for plane in planes))
    room = max(max(plane.millimetres[0] for plane in planes) * inches, _SHORTEST)
    height = _HEAD + room + _FOOT
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, facecolor=GROUND)
    FigureCanvasAgg(figure)

    left = (WIDTH - across * inches - _GAP * (len(planes) - 1)) / 2
    for plane in planes:
        high, wide = (side * inches for side in plane.millimetres)
        bottom = _FOOT + (room - high) / 2
        axes = figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, high / height))
        _draw(axes, plane, window=window, marked=len(volumes_ml) > 0)
        left += wide + _GAP

    count = len(volumes_ml)
    found = f"{count} lesion{'s' * (count != 1)}, {sum(volumes_ml):.2f} mL" if count else "no lesion found"
    edge = _EDGE / WIDTH
    # parse_math=False: a $ in a file's name is not a formula.
    write = dict(parse_math=False, transform=figure.transFigure)
    figure.text(edge, 1 - 0.34 / height, title, size=14, color=INK, weight="bold", va="center", **write)
    figure.text(edge, 1 - 0.62 / height, note, size=9, color=QUIET, va="center", **write)
    figure.text(1 - edge, 1 - 0.34 / height, found, size=13, color=INK, ha="right", va="center", **write)
    bold = {"size": 11, "color": WARNING, "weight": "bold"}
    figure.text(1 - edge, 1 - 0.62 / height, mark, ha="right", va="center", **bold, **write)
    _write_legend(figure, volumes_ml, height)
    small_print = "The person's right is on the left of the picture. Research use only."
    if any(plane.regions for plane in planes):
        small_print += " Dashed: regions of the first stage in this slice."
    figure.text(edge, 0.2 / height, small_print, size=8.5, color=QUIET, va="center", **write)
    make_readable(figure)
    # No software field: equal pictures give equal bytes.
    figure.savefig(file, format="png", facecolor=GROUND, metadata={"Software": None})


def _planes(
    scan: np.ndarray,
    labels: np.ndarray,
    affine: np.ndarray,
    regions: Sequence[Mapping] = (),
    window: tuple[float, float] | None = None,
) -> list[_Plane]:
    orientation = nib.io_orientation(affine)
    spacing = np.empty(3)
    spacing[orientation[:, 0].astype(int)] = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
    boxes = [(each["slice_axis"], canonical_edges(each["box_voxel"], orientation, scan.shape)) for each in regions]
    # Views: reorientation only permutes and flips the axes nearest to the body's.
    scan = nib.orientations.apply_orientation(scan, orientation)
    labels = nib.orientations.apply_orientation(labels, orientation)
    point = _point_of_interest(labels)
    low, high = _shown_box(scan, labels, spacing, window or _window(scan))
    planes = []
    for name, axis, letters in (("axial", 2, "RLPA"), ("coronal", 1, "RLFH"), ("sagittal", 0, "APFH")):
        columns, rows = (other for other in range(3) if other != axis)
        cut = [slice(start, stop) for start, stop in zip(low, high, strict=True)]
        cut[axis] = point[axis]
        # [column, row] -> [row, column]; columns run from L to R, or P to A, in RAS+: turned to R to L, or A to P.
        image, marked = (volume[tuple(cut)].T[:, ::-1] for volume in (scan, labels))
        extent = (np.asarray(high) - low) * spacing
        mark = (np.asarray(point) - low + 0.5) * spacing
        for side, size in ((0, spacing[rows]), (1, spacing[columns])):
            image, marked = (_as_pixels(plane, side, float(size)) for plane in (image, marked))
        planes.append(
            _Plane(
                name,
                image.astype(np.float32),
                marked,
                (float(extent[rows]), float(extent[columns])),
                (float(mark[rows]), float(extent[columns] - mark[columns])),
                letters,
                tuple(
                    _rectangle(edges[columns], edges[rows], high[columns], low[rows], spacing[[columns, rows]])
                    for slice_axis, edges in boxes
                    if slice_axis == name and edges[axis, 0] <= point[axis] < edges[axis, 1]
                ),
            )
        )
    return planes


def _as_pixels(plane: np.ndarray, axis: int, millimetres: float) -> np.ndarray:
    """Repeat voxels to pixels of about 1 mm; of a side of too many take the highest of several, no lesion is lost."""
    length = plane.shape[axis]
    if length > _MOST_PIXELS:
        return np.maximum.reduceat(plane, np.arange(0, length, -(-length // _MOST_PIXELS)), axis=axis)
    return plane.repeat(min(max(1, round(millimetres)), _MOST_PIXELS // length), axis=axis)


def _rectangle(across, up, right, bottom, spacing) -> tuple[float, float, float, float]:
    """Left, bottom, width and height in mm of a box on a plane whose columns run from the high end of their axis."""
    wide, high = spacing[0] * (across[1] - across[0]), spacing[1] * (up[1] - up[0])
    return float((right - across[1]) * spacing[0]), float((up[0] - bottom) * spacing[1]), float(wide), float(high)


def _point_of_interest(labels: np.ndarray) -> tuple[int, int, int]:
    """A voxel of the largest lesion, in its largest axial slice nearest to the middle there; else the scan's middle."""
    voxels = np.argwhere(labels == 1)
    if not len(voxels):
        return tuple(size // 2 for size in labels.shape)
    voxels = voxels[voxels[:, 2] == np.bincount(voxels[:, 2]).argmax()]
    nearest = np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()
    return tuple(int(index) for index in voxels[nearest])


def _window(scan: np.ndarray) -> tuple[float, float]:
    counts = scan != 0
    for value in padding_values(scan):
        counts &= scan != value
    tissue = scan[counts] if counts.any() else scan[scan != 0]
    # A stride keeps the percentiles of a large scan from costing a sort of all of it.
    tissue = tissue[:: max(1, tissue.size // 500_000)]
    low, high = np.percentile(tissue, WINDOW_PERCENTILES) if tissue.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _shown_box(
    scan: np.ndarray, labels: np.ndarray, spacing: np.ndarray, window: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Box of what is worth showing: bright voxels and lesions, with 6 mm around."""
    darkest, (low, high) = float(scan.min()), window
    darkest = max(darkest, low) if low < 0 else darkest  # of a CT: air is as dark as what is cut off
    shown = (scan > darkest + 0.1 * (high - darkest)) | (labels > 0)
    starts, stops = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(shown.any(axis=others))
        margin = int(np.ceil(6 / spacing[axis]))
        first, last = (inside[0], inside[-1]) if len(inside) else (0, scan.shape[axis] - 1)
        starts.append(max(0, first - margin))
        stops.append(min(scan.shape[axis], last + 1 + margin))
    return np.array(starts), np.array(stops)


def _draw(axes: Axes, plane: _Plane, *, window: tuple[float, float], marked: bool) -> None:
    high, wide = plane.millimetres
    extent = (0, wide, 0, high)
    axes.imshow(
        plane.image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, origin="lower", aspect="auto",
        interpolation="bilinear",
    )  # fmt: skip
    rows, columns = plane.labels.shape
    # Voxel centres in mm, with a rim of zeros that closes the outline of a lesion at the border.
    ys = (np.arange(-1, rows + 1) + 0.5) * high / rows
    xs = (np.arange(-1, columns + 1) + 0.5) * wide / columns
    others = len(LESION_COLOURS) + 1
    groups = np.pad(np.minimum(plane.labels, others), 1)
    for group in np.unique(groups[groups > 0]):
        inside = (groups == group).astype(np.float32)
        colour = lesion_colour(int(group))
        axes.contourf(xs, ys, inside, levels=[0.5, 1.5], colors=[colour], alpha=0.28)
        axes.contour(xs, ys, inside, levels=[0.5], colors=[colour], linewidths=1.5)
    for left, bottom, width, height in plane.regions:
        edge = [withStroke(linewidth=3, foreground=GROUND)]
        axes.add_patch(
            Rectangle((left, bottom), width, height, fill=False, edgecolor=INK, linewidth=1.3, linestyle="--",
                      path_effects=edge)
        )  # fmt: skip
    if marked:
        # Short ticks at the border lead the eye without covering the lesion.
        for mark, side, draw in ((plane.mark[0], wide, axes.hlines), (plane.mark[1], high, axes.vlines)):
            draw([mark, mark], [0, 0.96 * side], [0.04 * side, side], colors=QUIET, linewidths=1)
    axes.set_xlim(0, wide)
    axes.set_ylim(0, high)
    axes.set_axis_off()
    spots = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"), (0.5, 0.02, "center", "bottom"),
             (0.5, 0.98, "center", "top"))  # fmt: skip
    # A plane of few slices has no room for letters on top of each other.
    low = axes.figure.get_figheight() * axes.get_position().height < 2 * _SHORTEST
    halo = [withStroke(linewidth=2.5, foreground=GROUND)]
    for letter, (x, y, horizontal, vertical) in zip(plane.letters[: 2 if low else 4], spots, strict=False):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical, size=10, color=INK, weight="bold",
            path_effects=halo,
        )  # fmt: skip


def lesion_colour(lesion_id: int) -> str:
    """Colour of a lesion by its rank; the small ones share one."""
    return LESION_COLOURS[lesion_id - 1] if lesion_id <= len(LESION_COLOURS) else OTHER_COLOUR


def _write_legend(figure: Figure, volumes_ml: Sequence[float], height: float) -> None:
    """Under the planes: colour, number and volume of each of the largest lesions, and of all others together."""
    named = list(volumes_ml[: len(LESION_COLOURS)])
    rest = list(volumes_ml[len(LESION_COLOURS) :])
    entries = [(lesion_colour(rank), f"lesion {rank}: {volume:.2f} mL") for rank, volume in enumerate(named, start=1)]
    if rest:
        text = f"lesion {len(named) + 1}: {rest[0]:.2f} mL" if len(rest) == 1 else (
            f"{len(rest)} others: {sum(rest):.2f} mL")  # fmt: skip
        entries.append((OTHER_COLOUR, text))
    step = (WIDTH - 2 * _EDGE) / 5
    for index, (colour, text) in enumerate(entries):
        x = (_EDGE + index * step) / WIDTH
        figure.text(x, 0.58 / height, "■", size=12, color=colour, va="center")
        figure.text(x + 0.2 / WIDTH, 0.58 / height, text, size=10.5, color=INK, va="center")
