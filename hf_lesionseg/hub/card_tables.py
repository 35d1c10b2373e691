"""Rows and sentences of the model card, made from the JSON files of a model folder.

Nothing here invents a value: what a file does not say gives no row, or a dash.
"""

import math
import statistics

from ..evaluation.metrics import find_metric, measured, scores
from ..models.slice_stack import stacked_channels

DASH = "–"
CHANNEL_NAMES = {
    "t1w": "T1-weighted MRI",
    "ct": "CT",
    "tmax": "Tmax (CT perfusion)",
    "cbf": "cerebral blood flow (CT perfusion)",
    "cbv": "cerebral blood volume (CT perfusion)",
    "mtt": "mean transit time (CT perfusion)",
}
_STACKS = {
    "single": "each by itself",
    "repeat": "each by itself, three times as three channels",
    "neighbours": "each between the one below and the one above, as three channels",
}
FIGURES = (
    ("curve", "Loss and validation Dice over the training"),
    ("volume", "Lesion volumes of the splits"),
    ("dice", "Dice of each case"),
    ("overlay", "Worst, median and best case: truth and prediction"),
)


def number(value, digits=3):
    """Text of a number; a dash for None and NaN.

    Examples
    --------
    >>> number(0.61749), number(None), number(36813025)
    ('0.617', '–', '36,813,025')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}"


def plain(value):
    """A setting as a reader wants it: no quotes, no brackets, a dash for nothing."""
    if value is None or value == {} or value == []:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {plain(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(amount, noun):
    """
    Examples
    --------
    >>> count(1, "case"), count(2, "case"), count(3, "person")
    ('1 case', '2 cases', '3 people')
    """
    plural = {"person": "people", "process": "processes"}.get(noun, f"{noun}s")
    return f"{amount:,} {noun if amount == 1 else plural}"


def duration(seconds):
    """
    Examples
    --------
    >>> duration(52.3), duration(4215)
    ('52 s', '1 h 10 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def input_contract(processor):
    """Rows (what, how) of the scan that the network takes, from ``preprocessor_config.json``."""
    channels = processor.get("channel_names") or ["t1w"]
    size, plane = processor.get("size"), processor.get("training_plane")
    stack = processor.get("slice_stack", "single")
    planes = stacked_channels(len(channels), stack)
    rows = [
        ("Images", "; ".join(f"`{name}`: {CHANNEL_NAMES.get(name, name)}" for name in channels)),
        ("File", "NIfTI, one 3-D volume" + (" per image, all on one grid" if len(channels) > 1 else "")),
        (
            "Orientation",
            "any; the processor works in canonical RAS+, and the mask is on the grid of the file",
        ),
        ("Slices", f"{processor.get('slice_axis', 'axial')}, {_STACKS[stack]}"),
        *(
            [("Size", f"whole slices are resampled to {size['height']} rows by {size['width']} columns")]
            if processor.get("resize")
            else [
                ("In-plane spacing", _spacing(processor.get("training_spacing"))),
                ("Size", _size(size, plane, processor.get("crop_offset"))),
            ]
        ),
        ("Intensities", _normalization(processor)),
        (
            "Mask",
            f"probability of {processor.get('threshold', 0.5):g} or more"
            + (
                f"; lesions below {processor['minimum_lesion_ml']:g} mL are dropped"
                if processor.get("minimum_lesion_ml")
                else "; lesions of every size are kept"
            )
            + _largest(processor.get("keep_largest"))
            + _median(processor.get("median_filter")),
        ),
        (
            "`pixel_values`",
            f"float32 (slices, {planes}, {size['height']}, {size['width']})"
            if size
            else f"float32 (slices, {planes}, height, width)",
        ),
    ]
    return rows


def _largest(number):
    return f"; of these the {number} largest" if number else ""


def _median(size):
    return f"; slices smoothed by a median filter of {size} x {size} voxels" if size else ""


def _spacing(spacing):
    if not spacing:
        return "as in the file: slices are not resampled, so give scans of the training data's spacing"
    row, column = spacing
    return f"resampled to {row:g} mm (rows) by {column:g} mm (columns)"


def _size(size, plane, offset):
    if not size:
        return "as in the file"
    text = f"{size['height']} rows by {size['width']} columns"
    if plane and offset:
        return (
            f"{text}: of planes of {plane[0]}×{plane[1]} the window that begins at row {offset[0]}, "
            f"column {offset[1]}; of any other plane a window centred on the tissue, widened where it would cut tissue"
        )
    return f"{text}: a window centred on the tissue, widened where it would cut tissue"


def _normalization(processor):
    kinds = processor.get("normalization")
    if not isinstance(kinds, dict):
        return _intensities(kinds, processor)
    patterns = {}
    for pattern, kind in kinds.items():
        patterns.setdefault(kind, []).append(f"`{pattern}`")
    return "; ".join(f"{', '.join(names)}: {_intensities(kind, processor)}" for kind, names in patterns.items())


def _intensities(kind, processor):
    low, high = processor.get("percentiles") or (0.5, 99.5)
    percentiles = f"percentiles {low:g} and {high:g} of the non-zero voxels are mapped to 0 and 1, and clipped"
    if kind == "percentile":
        return percentiles
    if kind == "fixed-range":
        low, high = processor.get("intensity_range") or (0, 100)
        return (
            f"{low:g} to {high:g} is mapped to 0 to 1, and clipped: the scan must be standardised to that range. "
            f"If it plainly is not, {percentiles}, with a warning"
        )
    if kind == "window":
        low, high = processor.get("intensity_range") or (0, 100)
        return f"{low:g} to {high:g} is mapped to 0 to 1, and clipped, whatever the scan holds: give CT in HU"
    return {"z-score": "mean 0 and standard deviation 1 over the non-zero voxels", "none": "as in the file"}.get(
        kind, plain(kind)
    )


def split_rows(data):
    """Rows (split, people, cases, volumes in mL) of the training data."""
    rows = []
    for split, cases in (data.get("cases") or {}).items():
        people = (data.get("people") or {}).get(split)
        volumes = (data.get("volume_ml") or {}).get(split) or []
        rows.append((split, number(people), number(cases), _volumes(volumes)))
    return rows


def _volumes(volumes):
    lesions = [volume for volume in volumes if volume > 0]
    if not lesions:
        return DASH
    text = f"median {statistics.median(lesions):.1f}, {min(lesions):.2f} to {max(lesions):.1f}"
    without = len(volumes) - len(lesions)
    return f"{text}; {without} without lesion" if without else text


def recipe_rows(recipe):
    """Rows (setting, value) of the training's settings; the processor has a table of its own."""
    hidden = ("paper", "processor")
    return [(key.replace("_", " "), plain(value)) for key, value in recipe.items() if key not in hidden]


def best_sentence(best, kind):
    """Which weights were kept, and by what they were chosen."""
    loss, dice = number(best.get("validation_loss"), 4), number(best.get("validation_dice"))
    chosen = f", chosen by {best['monitor'].replace('_', ' ')}" if best.get("monitor") else ""
    return (
        f"The weights are those of epoch {best['epoch']} (step {number(best['step'])}){chosen}: "
        f"validation loss {loss}, mean validation Dice {dice} ({kind}), both on the prepared slices."
    )


def compute_sentence(run):
    """How long training took, on what."""
    devices = plain(run["devices"] if "devices" in run else run["device"])
    ended = f" It ended with: {run['finished']}." if run.get("finished") else ""
    return (
        f"{count(run['steps'], 'step')} in {count(run['epochs'], 'epoch')}, {duration(run['seconds'])} on {devices} "
        f"({count(run['processes'], 'process')}, mixed precision: {plain(run['mixed_precision'])}).{ended}"
    )


def card_metrics(summary):
    """The metrics of one split that its record has, in the order of every table."""
    asked_for = measured(scores(), slow=bool(summary.get("lesionwise")))
    return [metric for metric in asked_for if summary.get(metric.name)]


def result_rows(summary):
    """Rows (metric, mean, std, median, min, max, n) of one split; n counts cases, or slices where the row says so."""
    rows = [_result_row(metric.label, metric, summary[metric.name]) for metric in card_metrics(summary)]
    for name, values in (summary.get("slice_dice") or {}).items():
        if values["n"]:  # of slices, not of cases: as some papers print it
            label = f"Dice per {summary['slice_axis']} slice, {name} slices"
            rows.append(_result_row(label, find_metric("dice"), values))
    return rows


def _result_row(label, metric, values):
    figures = [metric.text(values.get(key)) for key in ("mean", "std", "median", "min", "max")]
    return (label, *figures, number(values.get("n")))


def counts_sentence(summary):
    """The counts that stand beside every mean."""
    return (
        f"{count(summary['n_cases'], 'case')} of {count(summary['n_people'], 'person')}; "
        f"{summary['n_empty_truth']} without a true lesion, {summary['n_empty_prediction']} where nothing was "
        f"predicted, {summary['n_failed']} failed"
    )


def stored_sentence(n_cases, from_scans):
    """How many cases were not segmented from their scans; None where all were, or a record does not say."""
    if from_scans is None or from_scans == n_cases:
        return None
    return (
        f"The scans of {n_cases - from_scans} of {count(n_cases, 'case')} no longer existed: their prepared "
        "slices were segmented, in half precision, which can move a voxel at an edge."
    )


def size_rows(summary):
    """Rows (size of the true lesion, cases, mean Dice, mean recall) of the strata that have a case."""
    return [
        (size, number(block["n_cases"]), *(find_metric(name).text(block[name]["mean"]) for name in ("dice", "recall")))
        for size, block in (summary.get("by_lesion_size") or {}).items()
        if block["n_cases"]
    ]


def size_note(summary):
    """Where the strata are cut; None where the record does not say."""
    cuts = summary.get("size_cut_points_ml")
    return cuts and f"Small is below {cuts[0]:g} mL, large {cuts[-1]:g} mL and more."


def figure_entries(folder):
    """``(relative path, caption)`` of the PNG files that the folder has, known ones first."""
    known, other = [], []
    for path in sorted((folder / "figures").glob("*.png")):
        ranks = [rank for rank, (part, _) in enumerate(FIGURES) if part in path.stem]
        if ranks:
            known.append((ranks[0], f"figures/{path.name}", FIGURES[ranks[0]][1]))
        else:
            other.append((f"figures/{path.name}", path.stem.replace("_", " ")))
    return [(path, caption) for _, path, caption in sorted(known)] + other
