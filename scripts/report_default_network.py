"""Measure a network on the heads that were kept for the report, once, at the end.

    lesionseg prepare heads --catalogue heads --split report --render 120 --seed 1 -o report
    python scripts/report_default_network.py runs/heads report --catalogue heads --healthy t1w -o report.json

Dice by lesion volume and by what was drawn for each head (noise, slices, contrast, ...), what is marked in heads
without a lesion, rendered and real ones, and how far probabilities can be trusted. All of it is synthetic but for the
real scans, and says so. Writes JSON, and figures beside it.
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib
import numpy as np

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.synthetic.heads.catalogue import HeadCatalogue
from hf_lesionseg.evaluation.false_positives import healthy_scans
from hf_lesionseg.imaging import read_scan
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.training.validation import predict_case

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BINS_ML = ((20, np.inf), (5, 20), (1, 5), (0, 1))
#: what was drawn -> edges between the groups that are told apart
CONDITIONS = {
    "noise": (0.015, 0.04),
    "slice_mm": (1.4, 3.2),
    "pixel_mm": (0.9, 1.1),
    "grey_to_white": (0.6, 0.75),
    "csf_to_white": (0.15, 0.25),
    "ventricles_mm": (1.0, 3.0),
}
_RELIABILITY = np.linspace(0, 1, 11)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("prepared", type=Path, help="rendered heads of the split report")
    parser.add_argument("--catalogue", type=Path, required=True, help="folder that the heads were rendered from")
    parser.add_argument("--healthy", type=Path, nargs="*", default=[], help="folders of the catalogue's real scans")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()

    loaded = load_model(arguments.model, device="cpu")
    dataset = PreparedDataset(arguments.prepared)
    cases, reliability = [], np.zeros((len(_RELIABILITY) - 1, 3))
    for case in dataset.select("test"):
        cases.append(_score(loaded, case, reliability))
        print(json.dumps(cases[-1]), flush=True)
    heads = HeadCatalogue(arguments.catalogue / "heads")
    healthy = [_mark(loaded, path) for path in healthy_scans(heads, "report", arguments.healthy)]
    report = {
        "synthetic": True,
        "threshold": loaded.processor.threshold,
        "minimum_lesion_ml": loaded.processor.minimum_lesion_ml,
        "heads": len(cases),
        "by_volume": _by_volume(cases),
        "lesion_free": _marked([case["marked_ml"] for case in cases if case["truth_ml"] == 0]),
        "real_lesion_free": healthy,
        "by_condition": {name: _by_condition(cases, name, edges) for name, edges in CONDITIONS.items()},
        "by_stroke": _by_kind(cases),
        "reliability": [
            {"from": round(float(_RELIABILITY[index]), 2), "voxels": int(count),
             "probability": round(float(total / count), 4), "lesion": round(float(lesion / count), 4)}
            for index, (count, total, lesion) in enumerate(reliability) if count
        ],
        "cases": cases,
    }  # fmt: skip
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    _draw(report, arguments.output.with_suffix(".png"))
    print(json.dumps({name: report[name] for name in ("by_volume", "lesion_free", "real_lesion_free")}, indent=1))


def _score(loaded, case, reliability):
    predicted = predict_case(loaded.model, case, batch_size=16).probability
    probability = loaded.processor.restore_probability(predicted, case.geometry)
    mask = loaded.processor.mask_from_probability(probability, case.geometry).astype(bool)
    truth = case.truth().data > 0
    seen = probability > 0.01
    place = np.clip((probability[seen] * 10).astype(int), 0, 9)
    for column, weights in enumerate((None, probability[seen], truth[seen])):
        reliability[:, column] += np.bincount(place, weights, minlength=10)
    voxel = case.voxel_ml
    both = float(mask.sum() + truth.sum())
    return {
        "case": case.id,
        "truth_ml": round(float(truth.sum()) * voxel, 4),
        "marked_ml": round(float(mask.sum()) * voxel, 4),
        "false_ml": round(float((mask & ~truth).sum()) * voxel, 4),
        "dice": round(2 * float((mask & truth).sum()) / both, 4) if truth.any() else None,
        **{name: case.notes.get(name) for name in (*CONDITIONS, "kind", "stripped", "brain", "skull", "sulci_mm")},
    }


def _mark(loaded, path):
    started = time.perf_counter()
    batch = loaded.processor.preprocess(read_scan(path).to_nibabel(), return_tensors="np")
    geometry = batch["geometry"][0]
    predicted = predict_slices(loaded.model, batch["pixel_values"], batch_size=16).probability
    mask = loaded.processor.mask_from_probability(loaded.processor.restore_probability(predicted, geometry), geometry)
    marked = round(float(mask.sum()) * geometry.voxel_ml, 4)
    return {"scan": path.name, "marked_ml": marked, "seconds": round(time.perf_counter() - started, 1)}


def _by_volume(cases):
    rows = []
    for low, high in BINS_ML:
        dice = [case["dice"] for case in cases if case["truth_ml"] > 0 and low <= case["truth_ml"] < high]
        rows.append({"from_ml": low, "to_ml": None if np.isinf(high) else high, **_summary(dice)})
    return rows


def _summary(dice):
    if not dice:
        return {"n": 0}
    low, high = np.percentile(dice, (25, 75))
    return {
        "n": len(dice),
        "dice_mean": round(float(np.mean(dice)), 4),
        "dice_median": round(float(np.median(dice)), 4),
        "dice_quartiles": [round(float(low), 4), round(float(high), 4)],
    }


def _marked(volumes):
    if not volumes:
        return {"n": 0}
    return {"n": len(volumes), "median_ml": round(float(np.median(volumes)), 4),
            "p95_ml": round(float(np.percentile(volumes, 95)), 4), "max_ml": max(volumes)}  # fmt: skip


def _by_condition(cases, name, edges):
    rows = []
    for low, high in zip((-np.inf, *edges), (*edges, np.inf), strict=True):
        group = [case for case in cases if case[name] is not None and low <= case[name] < high]
        rows.append(
            {"from": None if np.isinf(low) else low, "to": None if np.isinf(high) else high,
             **_summary([case["dice"] for case in group if case["truth_ml"] >= 5]),
             "lesion_free": _marked([case["marked_ml"] for case in group if case["truth_ml"] == 0])}
        )  # fmt: skip
    return rows


def _by_kind(cases):
    kinds = sorted({case["kind"] for case in cases if case["kind"]})
    return {kind: _summary([case["dice"] for case in cases if case["kind"] == kind and case["truth_ml"] >= 1])
            for kind in kinds}  # fmt: skip


def _draw(report, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    cases = [case for case in report["cases"] if case["truth_ml"] > 0]
    left.scatter([case["truth_ml"] for case in cases], [case["dice"] for case in cases], s=14)
    left.set(xscale="log", xlabel="lesion, mL", ylabel="Dice", ylim=(-0.02, 1), title="Rendered heads (synthetic)")
    right.plot([0, 1], [0, 1], color="0.7")
    right.plot([row["probability"] for row in report["reliability"]], [row["lesion"] for row in report["reliability"]],
               marker="o")  # fmt: skip
    right.set(xlabel="probability", ylabel="share that is lesion", title="Calibration (synthetic)")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
