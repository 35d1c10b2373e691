"""The papers' figures of a reproduced table, drawn from its runs."""

from pathlib import Path

import numpy as np

from ..evaluation.figures import compare_dice, compare_overlays, compare_runs, extract_panel
from ..inference.loading import load_model
from ..inference.slices import predict_slices
from ..training.history import read_history

_CASES = 3  # rows of the sheet of overlays
_BACKGROUNDS = ("t1w", "ct", "tmax")  # channels to draw on, where the first is none to look at


def draw_table(record, datasets, output):
    """Draw course, distribution and overlays of the rows.

    Parameters
    ----------
    record : dict
        Record of the table, with its rows' scores.
    datasets : list of PreparedDataset
        Data of each row.
    output : Path
        Folder of the table; ``runs`` of the rows are relative to it.

    Returns
    -------
    dict of str to str
        What each file shows.
    """
    rows, synthetic, title = record["rows"], record["synthetic"], record["title"]
    names = {kind: f"{record['table']}-{kind}.png" for kind in ("dice", "overlays", "curves")}
    histories = {row["row"]: [read_history(output / run / "history.jsonl") for run in row["runs"]] for row in rows}
    bars = {row["row"]: {"Dice": _bar(row, "dsc"), "IoU": _bar(row, "iou")} for row in rows}
    compare_runs(histories, output / names["curves"], title=title, synthetic=synthetic, bars=bars)
    dice = {row["row"]: list(_dice_of_cases(row).values()) for row in rows}
    compare_dice(dice, output / names["dice"], title=title, synthetic=synthetic)
    found = {names["curves"]: "Course of training, and Dice and IoU of the test cases"}
    found[names["dice"]] = "Distribution of the test cases' Dice"
    cases = _cases_to_show(rows)
    if cases:
        _overlays(record, datasets, cases, output, names["overlays"])
        found[names["overlays"]] = "Truth and what each network finds, on three test cases"
    return found


def _bar(row, name):
    """Mean and interval of a share, 0..1, of the volumes."""
    found = row["volumes"][name]
    return [None if found[key] is None else found[key] / 100 for key in ("mean", "low", "high")]


def _dice_of_cases(row):
    """3-D Dice of the test cases with foreground, by name, mean of the seeds."""
    dice = {}
    for score in row["scores"]:
        for case in score["cases"]:
            total, count = case["values"]["volume_dsc"]
            if count:
                dice.setdefault(case["case"], []).append(total / count)
    return {name: float(np.mean(values)) for name, values in dice.items()}


def _cases_to_show(rows):
    """The cases at three quarters, the middle and a quarter by their mean Dice of all rows."""
    by_row = [_dice_of_cases(row) for row in rows]
    shared = set.intersection(*(set(dice) for dice in by_row))
    ranked = sorted(shared, key=lambda case: (-sum(dice[case] for dice in by_row), case))
    places = [round((len(ranked) - 1) * number / (_CASES + 1)) for number in range(1, _CASES + 1)]
    return list(dict.fromkeys(ranked[place] for place in places)) if ranked else []


def _overlays(record, datasets, names, output, file):
    """Cases as rows, truth and networks as columns."""
    panels = {name: [] for name in names}
    backgrounds = {}
    for row, dataset in zip(record["rows"], datasets, strict=True):
        folder = Path(output) / row["runs"][0]
        model, processor = load_model(folder).model, dataset.processor()
        dice = {case["case"]: case["values"]["volume_dsc"] for case in row["scores"][0]["cases"]}
        for name in names:
            case = next(each for each in dataset.cases if each.id == name)
            geometry, truth = case.geometry, case.truth()
            if name not in backgrounds:  # one for all: what another row takes in may be another channel
                channel = next((dataset.channel_names.index(n) for n in _BACKGROUNDS if n in dataset.channel_names), 0)
                backgrounds[name] = processor.restore_probability(case.planes()[:, channel], geometry)
                picture = {"affine": truth.affine, "scan": backgrounds[name], "truth": truth.data}
                panels[name].append(extract_panel("", **picture))
            found = predict_slices(model, case.pixel_values(), batch_size=16).probability
            mask = processor.mask_from_probability(processor.restore_probability(found, geometry), geometry)
            picture = {"affine": truth.affine, "scan": backgrounds[name], "truth": truth.data, "prediction": mask}
            panels[name].append(extract_panel(f"Dice {dice[name][0]:.2f}", **picture))
    columns = ["truth", *(row["row"] for row in record["rows"])]
    synthetic = record["synthetic"]
    compare_overlays(panels, columns, Path(output) / file, title=record["title"], synthetic=synthetic)
