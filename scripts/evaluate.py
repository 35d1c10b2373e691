"""Score predicted lesion masks against true ones: python scripts/evaluate.py PREDICTIONS TRUTHS -o DIR.

The same as ``lesionseg evaluate``, as a script to read and to change.
"""

import argparse
import sys

from hf_lesionseg.cli.mask import mask_options
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.evaluation import evaluate_folders, print_summary


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", help="folder of predicted masks, such as `lesionseg segment` writes")
    parser.add_argument("truths", help="folder of true masks, or a folder of `lesionseg prepare`")
    parser.add_argument("-o", "--output", required=True, help="folder for tables and figures")
    parser.add_argument("--scans", help="folder of scans to draw the overlays on")
    parser.add_argument("--threshold", type=float, help="predictions are probabilities: lesion is above this value")
    parser.add_argument("--splits", help="a splits.json, for the volume histograms and a mean of each split")
    parser.add_argument("--only_split", help="score the cases of this split only")
    parser.add_argument("--slice_axis", default="axial", help="axial, coronal or sagittal: of the slice-wise Dice")
    parser.add_argument("--label", help="value of the label that is lesion, where masks hold several")
    parser.add_argument("--prediction_label", help="that of the predictions, where it is another")
    parser.add_argument("--self_check", action="store_true", help="score truths given as predictions, too")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Return the exit status: 0 all scored, 1 a case failed, 2 wrong usage."""
    options = vars(parse_arguments(arguments))
    try:
        options["mask"] = mask_options(threshold=options.pop("threshold"))
        summary = evaluate_folders(options.pop("predictions"), options.pop("truths"), options.pop("output"), **options)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print_summary(summary)
    print(f"tables and figures: {summary['output']}")
    return 1 if summary["n_failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
