"""The course of a training run."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..metrics import METRICS
from .canvas import (
    BLUE,
    COLOURS,
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

#: How watched metrics are drawn beside the Dice; further ones begin anew.
OTHER_COLOURS = (BLUE, ORANGE, PURPLE, SKY)
STYLES = ("--", "-.", ":", (0, (5, 1, 1, 1)))


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the running mean over ``window`` (odd) neighbours; at the ends over those that exist.

    Examples
    --------
    >>> smooth(np.array([0.0, 3.0, 6.0]), 3).tolist()
    [1.5, 3.0, 4.5]
    """
    half = window // 2
    index = np.arange(len(values))
    start, stop = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[stop] - total[start]) / (stop - start)


def _series(records: Iterable[Mapping[str, Any]], x_name: str, y_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of the records that hold both fields as finite numbers; the last record of each x counts (resumed runs)."""
    pairs = {}
    for record in records:
        x, y = record.get(x_name), record.get(y_name)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            pairs[x] = y
    ordered = sorted(pairs.items())
    return np.array([x for x, _ in ordered], dtype=float), np.array([y for _, y in ordered], dtype=float)


def training_curves(history: Iterable[Mapping[str, Any]], path: str | Path, *, synthetic: bool = False) -> Path:
    """Draw training loss, validation loss and Dice, and learning rate over the optimiser's steps.

    Parameters
    ----------
    history : iterable of mapping
        The lines of ``history.jsonl``: ``kind`` "step" (with ``step``, ``loss``, ``learning_rate``) or "epoch" (with
        ``step``, ``epoch``, ``validation_loss``, ``validation_dice``). Missing and non-finite values are left out.
    path : path
        PNG to write.
    synthetic : bool
        Say in the title that the data are synthetic.
    """
    history = list(history)
    steps = [record for record in history if record.get("kind") == "step"]
    epochs = [record for record in history if record.get("kind") == "epoch"]

    figure = new_figure(8.0, 7.6, "Training", synthetic=synthetic)
    loss_axes, dice_axes, rate_axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2.2, 1.4))
    style_axes(loss_axes, y_label="loss")
    style_axes(dice_axes, y_label="validation Dice")
    style_axes(rate_axes, x_label="optimiser step", y_label="learning rate")

    step, loss = _series(steps, "step", "loss")
    if step.size:
        window = step.size // 50 | 1  # odd, so that the mean is not shifted
        if window > 1:
            loss_axes.plot(step, loss, color=SKY, linewidth=0.8, alpha=0.7, label="training, each logged step")
            label = f"training, running mean of {window}"
            loss_axes.plot(step, smooth(loss, window), color=BLUE, linewidth=1.8, label=label)
        else:
            loss_axes.plot(step, loss, color=BLUE, linewidth=1.8, label="training, each logged step")
    epoch_step, validation_loss = _series(epochs, "step", "validation_loss")
    if epoch_step.size:
        loss_axes.plot(
            epoch_step, validation_loss, "o-", color=VERMILION, markersize=4.5, label="validation, each epoch"
        )
        lowest = int(np.argmin(validation_loss))
        loss_axes.axvline(epoch_step[lowest], color=INK, linestyle=":", linewidth=1.2, label="lowest validation loss")
        dice_axes.axvline(epoch_step[lowest], color=INK, linestyle=":", linewidth=1.2)
    if step.size or epoch_step.size:
        # Above the axes, where no curve can run under it.
        loss_axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=NOTE_SIZE, labelcolor=INK
        )
    else:
        say_empty(loss_axes, "no step was logged")

    dice_step, validation_dice = _series(epochs, "step", "validation_dice")
    if dice_step.size:
        dice_axes.plot(dice_step, validation_dice, "o-", color=GREEN, markersize=4.5)
        best = int(np.argmax(validation_dice))
        dice_axes.scatter(dice_step[best], validation_dice[best], s=90, facecolor="none", edgecolor=INK, zorder=3)
        style_axes(dice_axes, y_label="validation Dice", title=f"best validation Dice {validation_dice[best]:.3f}")
        dice_axes.set_ylim(-0.03, 1.03)
        _draw_other_metrics(dice_axes, epochs)
    else:
        say_empty(dice_axes, "no validation yet")

    rate_step, rate = _series(steps, "step", "learning_rate")
    if rate_step.size == 0:
        rate_step, rate = _series(epochs, "step", "learning_rate")
    if rate_step.size:
        rate_axes.plot(rate_step, rate, color=INK, linewidth=1.6, drawstyle="steps-post")
        if (rate > 0).all():
            rate_axes.set_yscale("log")
            rate_axes.set_ylim(rate.min() / 1.6, rate.max() * 1.6)
        levels = np.unique(rate)
        if levels.size <= 4:  # a plateau schedule: name its few levels instead of powers of ten
            rate_axes.set_yticks(levels, [f"{level:.1e}" for level in levels])
            rate_axes.minorticks_off()
    else:
        say_empty(rate_axes, "not logged")
    rate_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    return save(figure, path)


def _draw_other_metrics(axes: Axes, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Draw what else was validated beside the Dice, with a legend to the right."""
    axes.lines[-1].set_label("Dice")
    shares = [metric for metric in METRICS if metric.watched and metric.unit == "0..1" and metric.name != "dice"]
    fields = {metric.heading: metric.history_name for metric in shares} | {"AUC": "validation_auc"}
    looks = itertools.cycle(zip(OTHER_COLOURS, STYLES, strict=True))
    for (name, field), (colour, style) in zip(fields.items(), looks, strict=False):
        step, value = _series(epochs, "step", field)
        if step.size:
            axes.plot(step, value, color=colour, linestyle=style, linewidth=1.4, marker=".", label=name)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.set_ylabel("validation metrics", fontsize=LABEL_SIZE, color=INK)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=NOTE_SIZE, labelcolor=INK)


def compare_runs(
    histories: Mapping[str, Iterable[Iterable[Mapping[str, Any]]]],
    path: str | Path,
    *,
    title: str,
    synthetic: bool = False,
    bars: Mapping[str, Mapping[str, Sequence[float | None]]] | None = None,
) -> Path:
    """Draw the training loss and the validation Dice of several networks over the optimiser's steps.

    With ``bars`` also how they end (as Fig. 4 of the Residual U-Net paper).

    Parameters
    ----------
    histories : mapping
        For each network the lines of ``history.jsonl`` of its runs. Runs are thin lines of the network's colour, of the
        Dice also their mean where all were validated.
    path : path
        PNG to write.
    title : str
    synthetic : bool
        Say in the title that the data are synthetic.
    bars : mapping, optional
        For each network, by metric, the mean over the test cases and the limits of its confidence interval, which may
        be None.
    """
    figure = new_figure(13.5 if bars else 9.0, 7.0, title, synthetic=synthetic)
    if bars:
        grid = figure.add_gridspec(2, 2, width_ratios=(2, 1))
        loss_axes = figure.add_subplot(grid[0, 0])
        dice_axes = figure.add_subplot(grid[1, 0], sharex=loss_axes)
        loss_axes.tick_params(labelbottom=False)
        _draw_bars(figure.add_subplot(grid[:, 1]), bars)
    else:
        loss_axes, dice_axes = figure.subplots(2, 1, sharex=True)
    style_axes(loss_axes, y_label="training loss")
    style_axes(dice_axes, x_label="optimiser step", y_label="validation Dice (3-D)")
    for number, (name, runs) in enumerate(histories.items()):
        colour, style = COLOURS[number % len(COLOURS)], ("-", "--")[number // len(COLOURS) % 2]
        runs = [list(records) for records in runs]
        for records in runs:
            steps = [record for record in records if record.get("kind") == "step"]
            step, loss = _series(steps, "step", "loss")
            if step.size:
                values = smooth(loss, max(step.size // 20, 1) | 1)
                marker = "." if step.size < 3 else ""
                loss_axes.plot(step, values, color=colour, linestyle=style, linewidth=1.1, alpha=0.8, marker=marker)
        series = [
            _series([r for r in records if r.get("kind") == "epoch"], "step", "validation_dice") for records in runs
        ]
        series = [(step, dice) for step, dice in series if step.size]
        if not series:
            continue
        shared = sorted(set.intersection(*(set(step) for step, _ in series)))
        for step, dice in series:
            dice_axes.plot(step, dice, color=colour, linestyle=style, linewidth=0.8, alpha=0.45)
        mean = [np.mean([dice[np.searchsorted(step, at)] for step, dice in series]) for at in shared]
        marker = "oD"[number // len(COLOURS) % 2]  # where the colours begin anew
        dice_axes.plot(
            shared, mean, color=colour, linestyle=style, linewidth=2, marker=marker, markersize=5, label=name
        )
    if dice_axes.lines:
        dice_axes.set_ylim(-0.03, 1.03)
        # Above the axes, where no curve can run under it.
        loss_axes.legend(
            *dice_axes.get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4,
            handlelength=3, frameon=False, fontsize=NOTE_SIZE, labelcolor=INK,
        )  # fmt: skip
    else:
        say_empty(dice_axes, "no validation yet")
    dice_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    return save(figure, path)


def _draw_bars(axes: Axes, bars: Mapping[str, Mapping[str, Sequence[float | None]]]) -> None:
    """Draw, for each network from above, a bar for each metric with its confidence interval."""
    metrics = list(next(iter(bars.values()), {}))
    style_axes(axes, x_label="mean of the test cases, 95 % interval", grid="x")
    thickness = 0.8 / max(len(metrics), 1)
    for number, metric in enumerate(metrics):
        colour, hatch = ((BLUE, ""), (ORANGE, "///"), (GREEN, "..."))[number % 3]  # told apart in print, too
        for place, (mean, low, high) in enumerate(own[metric] for own in bars.values()):
            height = place + (number - (len(metrics) - 1) / 2) * thickness
            label = metric if place == 0 else None
            axes.barh(height, mean or 0, thickness, color=colour, hatch=hatch, edgecolor="white", label=label)
            if low is not None and high is not None:
                axes.hlines(height, low, high, color=INK, linewidth=1.5)
            if mean is not None:  # beyond the interval, where nothing runs under it
                axes.text(
                    max(mean, high or 0) + 0.015, height, f"{mean:.2f}", va="center", fontsize=NOTE_SIZE, color=INK
                )
    axes.set_yticks(range(len(bars)), [textwrap.fill(name, 16) for name in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=NOTE_SIZE, labelcolor=INK
    )
