"""Draw the figures of Song and Huang of a trained EGS-Net, on prepared data that hold the true DWI.

    python scripts/figures_egs_net.py MODEL DATA -o figures

MODEL is a folder of `lesionseg train` or a Hub id, DATA a folder of `lesionseg prepare`. Writes heat_map.png (Fig. 3:
label, signed distance, heat map of the losses) and generated_dwi.png (Fig. 4: true DWI, truth on it, generated DWI,
prediction on it); a row is a case of the split, shown in the slice with most lesion. Generated data are marked so.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import LesionSegError, ModelError
from hf_lesionseg.evaluation.figures.generated_dwi import DWIRow, dwi_sheet, heat_map_sheet
from hf_lesionseg.evaluation.figures.overlays import largest_lesion_slice
from hf_lesionseg.evaluation.generated_dwi import dwi_correlation
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.training.validation import predict_case


def make_row(model, processor, case):
    """The slice of a case with most lesion, turned: prepared rows run from posterior, columns from the left."""
    predicted = predict_case(model, case, batch_size=4)
    if predicted.generated_dwi is None:
        raise ModelError(
            "the network generates no DWI, or the data hold none; give an EGS-Net with a generator, and data that were "
            "prepared with target_channels: [dwi]"
        )
    labels, true = case.labels() > 0, case.target("dwi")
    number = largest_lesion_slice(labels)
    planes = (labels, true, predicted.generated_dwi, predicted.probability > processor.threshold)
    label, shown, generated, prediction = (np.ascontiguousarray(plane[number, ::-1, ::-1]) for plane in planes)
    correlation = dwi_correlation(predicted.generated_dwi, true)
    return DWIRow(case.id, label, shown, generated, prediction, correlation)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub id of an EGS-Net with a generator")
    parser.add_argument("data", type=Path, help="prepared data with a true DWI")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the two pictures")
    parser.add_argument("--split", default="test", help="whose cases to draw (default test)")
    parser.add_argument("--count", type=int, default=4, help="cases, those with most lesion first (default 4)")
    options = parser.parse_args()
    try:
        dataset = PreparedDataset(options.data)
        cases = sorted(dataset.select(options.split), key=lambda case: -case.lesion_ml)[: options.count]
        loaded = load_model(options.model, device="cpu")
        rows = [make_row(loaded.model, loaded.processor, case) for case in cases]
        options.output.mkdir(parents=True, exist_ok=True)
        config = loaded.model.config
        map_settings = {"peak": config.heat_map_peak, "decay": config.heat_map_decay}
        synthetic = dataset.synthetic
        for path in (
            heat_map_sheet(rows, options.output / "heat_map.png", synthetic=synthetic, **map_settings),
            dwi_sheet(rows, options.output / "generated_dwi.png", synthetic=synthetic),
        ):
            print(f"{path}{' (SYNTHETIC data)' if synthetic else ''}")
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
