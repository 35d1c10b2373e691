"""What the card of a packaged network says beyond that of any other, from ``packaged.json`` and ``report.json``."""

from ..evaluation.metrics import METRICS
from ..pretrained import RECORD_FILE, REPORT_FILE
from .card_tables import DASH, number
from .remote_code import read_json

__all__ = ["packaged_sections"]

_SPLITS = ("fit", "choose", "report")
#: name in the report -> words of the card
_CONDITIONS = {
    "noise": "noise, relative to white matter",
    "slice_mm": "distance of slices, mm",
    "pixel_mm": "pixel size, mm",
    "grey_to_white": "grey matter, relative to white",
    "csf_to_white": "CSF, relative to white matter",
    "ventricles_mm": "ventricles widened by, mm",
}


def packaged_sections(folder):
    """What the template prints of a packaged network; None for other folders.

    Sections whose figures are not there are left out: ``report`` is None without ``report.json``.
    """
    if not (folder / RECORD_FILE).is_file():
        return None
    record = read_json(folder / RECORD_FILE)
    report = read_json(folder / REPORT_FILE) if (folder / REPORT_FILE).is_file() else None
    return {
        "record": record,
        "megabytes": f"{record['weights']['bytes'] / 1e6:.1f}",
        "agreement": number(min(record["weights"]["dice_against_float32"]), 4),
        "sources": [
            [row["source"], row["lends"], row["licence"], *(str(row.get(split, 0)) for split in _SPLITS)]
            for row in record["data"]["sources"]
        ],
        "validation": [
            [_figure(name), number(value)] for name, value in (record["training"]["validation"] or {}).items()
        ],
        "stages": _stages(record["training"], record["name"]),
        "report": None if report is None else _report(report, folder),
    }


def _figure(name):
    """Words for a name in the record of a validation."""
    titles = {metric.history_name: metric.title for metric in METRICS}
    return titles.get(name, name.removeprefix("validation_").replace("_", " "))


def _stages(training, name):
    """Commands that train a network again, a stage after another."""
    stages = [*training.get("earlier", ()), training]
    commands, begin = [], ""
    for place, stage in enumerate(stages, 1):
        folder = "runs/heads" if len(stages) == 1 else f"runs/stage-{place}"
        commands.append(
            f"lesionseg train --recipe {stage['recipe']['name']} {begin}--data heads -o {folder} --seed {stage['seed']}"
        )
        begin = f"--model {folder} "
    return [*commands, f"python scripts/package_network.py {folder} {name} --data heads"]


def _report(report, folder):
    free, real = report["lesion_free"], report["real_lesion_free"]
    return {
        "heads": report["heads"],
        "threshold": f"{report['threshold']:g}",
        "smallest": f"{report['minimum_lesion_ml']:g}",
        "by_volume": [[_between(row["from_ml"], row["to_ml"], " mL"), *_dice(row)] for row in report["by_volume"]],
        "by_stroke": [[kind, *_dice(row)] for kind, row in report["by_stroke"].items()],
        "free": [str(free["n"]), *(number(free.get(name), 2) for name in ("median_ml", "p95_ml", "max_ml"))],
        "real": [[row["scan"], number(row["marked_ml"], 2)] for row in real],
        "by_condition": [
            [_CONDITIONS.get(name, name), _between(row["from"], row["to"]), str(row["n"]),
             number(row.get("dice_mean")), str(row["lesion_free"]["n"]), number(row["lesion_free"].get("median_ml"), 2)]
            for name, rows in report["by_condition"].items() for row in rows
        ],
        "reliability": [
            [number(row["probability"], 2), number(row["lesion"], 2), number(row["voxels"])]
            for row in report["reliability"]
        ],
        "figure": "report.png" if (folder / "report.png").is_file() else None,
    }  # fmt: skip


def _dice(row):
    quartiles = row.get("dice_quartiles")
    shown = DASH if quartiles is None else f"{number(quartiles[0])} to {number(quartiles[1])}"
    return [str(row["n"]), number(row.get("dice_mean")), number(row.get("dice_median")), shown]


def _between(low, high, unit=""):
    if high is None:
        return f"{low:g}{unit} and more"
    return f"below {high:g}{unit}" if not low else f"{low:g} to {high:g}{unit}"
