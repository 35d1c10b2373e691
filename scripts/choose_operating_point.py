"""Choose threshold and smallest lesion of a network on scans that are kept for choosing: never on those of a report.

    python scripts/choose_operating_point.py runs/heads heads --healthy t1w --write

Whole-volume Dice of the scans with a lesion, less 0.05 per mL that is marked in a scan without one, decides, as in
training. Prints the table; `--write` puts the choice into the model folder's preprocessor_config.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.synthetic.heads.catalogue import HeadCatalogue
from hf_lesionseg.evaluation.false_positives import healthy_scans
from hf_lesionseg.imaging import read_scan
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.training.validation import predict_case

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SMALLEST_ML = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "prepared", type=Path, help="folder of `lesionseg prepare heads`, its validation cases are used"
    )
    parser.add_argument("--healthy", type=Path, nargs="*", default=[], help="folders of the catalogue's real scans")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()

    loaded = load_model(arguments.model, device="cpu")
    model, processor = loaded.model, loaded.processor
    dataset = PreparedDataset(arguments.prepared)
    scored = {point: [] for point in _points()}  # (truth mL, Dice or false mL)
    for case in dataset.select("validation"):
        predicted = predict_case(model, case, batch_size=16).probability
        _score(
            processor, processor.restore_probability(predicted, case.geometry), case.geometry, case.truth().data, scored
        )
    heads = HeadCatalogue(arguments.prepared / "heads")
    for path in healthy_scans(heads, "choose", arguments.healthy):
        batch = processor.preprocess(read_scan(path).to_nibabel(), return_tensors="np")
        geometry = batch["geometry"][0]
        predicted = predict_slices(model, batch["pixel_values"], batch_size=16).probability
        _score(processor, processor.restore_probability(predicted, geometry), geometry, None, scored)

    rows = []
    for (threshold, smallest), values in scored.items():
        dice = float(np.mean([value for truth, value in values if truth > 0]))
        false = [min(value, 10.0) for truth, value in values if truth == 0]
        rows.append(
            (dice - 0.05 * float(np.mean(false)), threshold, smallest, dice, float(np.median(false)), max(false))
        )
    rows.sort(reverse=True)
    print(f"{len(values)} scans\nscore  threshold  smallest mL  Dice  false mL median  max")
    for row in rows[:12]:
        print("{:.4f}  {:.2f}  {:.2f}  {:.4f}  {:.3f}  {:.2f}".format(*row))
    if arguments.write:
        path = arguments.model / "preprocessor_config.json"
        settings = json.loads(path.read_text()) | {"threshold": rows[0][1], "minimum_lesion_ml": rows[0][2]}
        path.write_text(json.dumps(settings, indent=2) + "\n")


def _points():
    return [(threshold, smallest) for threshold in THRESHOLDS for smallest in SMALLEST_ML]


def _score(processor, probability, geometry, truth, scored):
    for threshold, smallest in _points():
        mask = processor.mask_from_probability(probability, geometry, threshold, minimum_lesion_ml=smallest)
        marked = float(mask.sum()) * geometry.voxel_ml
        if truth is None or not truth.any():
            scored[threshold, smallest].append((0.0, marked))
        else:
            overlap = float((mask & truth).sum())
            scored[threshold, smallest].append((float(truth.sum()), 2 * overlap / float(mask.sum() + truth.sum())))


if __name__ == "__main__":
    main()
