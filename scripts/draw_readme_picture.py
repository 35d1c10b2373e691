"""Draw the picture at the top of the README: a head, the mask of the packaged network, its outline beside the truth.

    lesionseg prepare template-heads -o heads --count 8 --minimum-ml 20
    python scripts/draw_readme_picture.py heads -o docs/pictures/segmentation.png

The heads are nilearn's template in a made skull and face; the network has never seen them. Of the test cases the one
with the median Dice is drawn, so that the picture neither flatters nor blames.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.imaging import read_scan
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.slices import predict_slices
from hf_lesionseg.pretrained import DEFAULT

matplotlib.use("Agg")
import matplotlib.pyplot as plt

MARKED, TRUE = "#f5a623", "#35b0ff"  # told apart by colour-blind eyes, too


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, help="folder of `lesionseg prepare template-heads`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file")
    arguments = parser.parse_args()
    loaded = load_model(DEFAULT, device="cpu")
    drawn = sorted(
        (_segment(loaded, case) for case in PreparedDataset(arguments.heads).cases), key=lambda each: each[0]
    )
    dice, scan, mask, truth = drawn[len(drawn) // 2]
    _draw(scan, mask, truth, arguments.output)
    print(f"{arguments.output}: Dice {dice:.2f} (median of {len(drawn)} made heads, synthetic)")


def _segment(loaded, case):
    scan = read_scan(next(iter(case.scans.values())))
    batch = loaded.processor.preprocess(scan.to_nibabel(), return_tensors="np")
    geometry = batch["geometry"][0]
    probability = predict_slices(loaded.model, batch["pixel_values"]).probability
    mask = loaded.processor.mask_from_probability(
        loaded.processor.restore_probability(probability, geometry), geometry
    ).astype(bool)
    truth = case.truth().data > 0
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum()), scan.data, mask, truth


def _draw(scan, mask, truth, path):
    place = [int(truth.sum(axis=tuple(other for other in range(3) if other != axis)).argmax()) for axis in range(3)]
    figure, panels = plt.subplots(1, 3, figsize=(9, 3.7), facecolor="black", layout="constrained")
    plane, marked, true = (np.rot90(volume[:, :, place[2]]) for volume in (scan, mask, truth))
    shown = {"cmap": "gray", "vmin": 0, "vmax": np.percentile(scan[scan > 0], 99.5)}
    for panel, title in zip(panels, ("scan", "mask", "mask and truth"), strict=True):
        panel.imshow(plane, **shown)
        panel.set_title(title, color="white", fontsize=11)
        panel.axis("off")
    panels[1].imshow(np.ma.masked_where(~marked, marked), cmap=matplotlib.colors.ListedColormap([MARKED]), alpha=0.75)
    panels[2].contour(marked, [0.5], colors=MARKED, linewidths=1.6)
    panels[2].contour(true, [0.5], colors=TRUE, linewidths=1.6)
    handles = [plt.Line2D([], [], color=MARKED, label="mask"), plt.Line2D([], [], color=TRUE, label="truth")]
    panels[2].legend(handles=handles, loc="lower right", frameon=False, labelcolor="white", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="black")


if __name__ == "__main__":
    main()
