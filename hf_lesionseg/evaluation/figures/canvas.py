"""The one look of all figures: sizes, colours, axes, and how a picture reaches the disk."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...figure_text import make_readable
from ...imaging.atomic import write_aside

# Okabe and Ito's palette: told apart by every kind of colour vision, and in print by lightness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
INK, FAINT = "#222222", "#D9D9D9"

#: For distinct lines, in this order.
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK)

TITLE_SIZE, LABEL_SIZE, TICK_SIZE, NOTE_SIZE = 13, 11, 10, 9.5
DOTS_PER_INCH = 150


def new_figure(width: float, height: float, title: str, *, synthetic: bool | str = False) -> Figure:
    """Return an empty figure of the given size in inches, bound to Agg; ``synthetic`` says so in its title.

    A text is said in its own words.
    """
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    words = synthetic if isinstance(synthetic, str) else "synthetic data"
    figure.suptitle(f"{title} ({words})" if synthetic else title, fontsize=TITLE_SIZE, color=INK)
    return figure


def style_axes(axes: Axes, *, x_label: str = "", y_label: str = "", title: str = "", grid: str | None = "y") -> None:
    """Label the axes, drop the upper and right frame, and lay a faint grid behind the data."""
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE, color=INK)
    if title:
        axes.set_title(title, fontsize=LABEL_SIZE, color=INK)
    axes.tick_params(labelsize=TICK_SIZE, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=FAINT, linewidth=0.8)


def say_empty(axes: Axes, text: str) -> None:
    """Write in the middle of an empty panel why it is empty."""
    axes.grid(False)
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=LABEL_SIZE, color=INK)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG: aside, then renamed, so that no half picture is ever seen.

    Raises
    ------
    OutputError
        The folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    make_readable(figure)
    with write_aside(path) as aside:
        # No software field: equal figures give equal bytes.
        figure.savefig(aside, format="png", metadata={"Software": None})
    return path
