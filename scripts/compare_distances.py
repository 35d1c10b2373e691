"""Hold this package's surface distances beside other programs': a table in Markdown of how far they lie apart.

    pip install medpy surface-distance pymia 'hf-lesionseg[panoptica]'
    python scripts/compare_distances.py --pairs 200

Programs that are not installed are left out. The masks are drawn anew from a fixed seed: round lesions on voxels of
1 x 1 x 3 mm, every third predicted with a shift and a rim, every third too small, every third with far false lesions.
"""

import argparse
import importlib.util
import os
import warnings

import numpy as np

from hf_lesionseg.evaluation.surface import surface_distances

SPACING = (1.0, 1.0, 3.0)
SHAPE = (80, 80, 24)
os.environ.setdefault("PANOPTICA_CITATION_REMINDER", "False")


def ball(centre, radius):
    grid = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True)), indexing="ij"))
    return np.linalg.norm(grid - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius


def draw_pairs(count, seed=0):
    """Pairs of predicted and true bool masks."""
    random = np.random.default_rng(seed)
    size = np.multiply(SHAPE, SPACING)
    for number in range(count):
        centre, radius = random.uniform(0.3, 0.7, 3) * size, random.uniform(4, 18)
        truth = ball(centre, radius) | ball(random.uniform(0.1, 0.9, 3) * size, random.uniform(2, 5))
        prediction = ball(centre + random.normal(0, 3, 3), radius * (1.1, 0.5, 1)[number % 3])
        if number % 3 == 2:
            prediction |= ball(random.uniform(0.05, 0.95, 3) * size, random.uniform(1.5, 6))
        yield prediction, truth


def by_medpy(prediction, truth):
    from medpy.metric import binary

    return [measure(prediction, truth, SPACING) for measure in (binary.hd, binary.hd95, binary.assd)]


def by_panoptica(prediction, truth):
    from panoptica import metrics

    named = ("_compute_hausdorff_distance", "_compute_hausdorff_distance95", "_average_symmetric_surface_distance")
    return [getattr(metrics, name)(truth, prediction, voxelspacing=SPACING) for name in named]


def by_monai(prediction, truth):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    pair = [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": SPACING}
    return [
        float(compute_hausdorff_distance(*pair, **options)),
        float(compute_hausdorff_distance(*pair, percentile=95, **options)),
        float(compute_average_surface_distance(*pair, symmetric=True, **options)),
    ]


def by_surface_distance(prediction, truth):
    import surface_distance

    found = surface_distance.compute_surface_distances(truth, prediction, SPACING)
    both = surface_distance.compute_average_surface_distance(found)
    hausdorff = [surface_distance.compute_robust_hausdorff(found, percent) for percent in (100, 95)]
    return [*hausdorff, float(np.mean(both))]


def by_pymia(prediction, truth):
    from pymia.evaluation import metric
    from pymia.evaluation.metric.base import Distances

    average = metric.AverageDistance()
    average.prediction, average.reference, average.spacing = prediction.astype(int), truth.astype(int), SPACING
    hausdorff = [metric.HausdorffDistance(percentile) for percentile in (100, 95)]
    for each in hausdorff:
        each.distances = Distances(prediction, truth, SPACING)
    return [*(each.calculate() for each in hausdorff), average.calculate()]


PROGRAMS = {
    "medpy": by_medpy,
    "panoptica": by_panoptica,
    "monai": by_monai,
    "surface_distance": by_surface_distance,
    "pymia": by_pymia,
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=200)
    count = options.parse_args().pairs
    installed = [name for name in PROGRAMS if importlib.util.find_spec(name)]
    ours, theirs = [], {name: [] for name in installed}
    for prediction, truth in draw_pairs(count):
        found = surface_distances(prediction, truth, np.diag([*SPACING, 1]))
        ours.append([found.hd_mm, found.hd95_mm, found.assd_mm])
        for name in installed:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs[name].append(PROGRAMS[name](prediction, truth))
    means = " | ".join(f"{mean:.2f}" for mean in np.mean(ours, axis=0))
    print(f"{count} pairs of masks; here the means are (HD, HD95, ASSD in mm) {means}\n")
    print("| program | HD | HD95 | ASSD |\n|---|---:|---:|---:|")
    for name, values in theirs.items():
        apart = np.abs(np.array(values) - ours)
        cells = (f"{median:.2f}, {most:.2f}" for median, most in zip(np.median(apart, 0), apart.max(0), strict=True))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
