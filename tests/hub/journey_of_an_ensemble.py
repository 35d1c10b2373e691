"""Run by test_ensemble_round_trip.py in a fresh process with an empty cache: an ensemble by its id, whole and in parts.

``--without-package`` first makes this package impossible to import. Prints JSON; probabilities go to an .npz file.
"""

import argparse
import json
import sys

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("repo_id")
parser.add_argument("scan")
parser.add_argument("output")
parser.add_argument("--without-package", action="store_true")
options = parser.parse_args()
if options.without_package:
    sys.modules["hf_lesionseg"] = None

import torch  # noqa: E402
from transformers import AutoModelForSemanticSegmentation  # noqa: E402
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # noqa: E402


def main():
    trusted = {"trust_remote_code": options.without_package}
    report, arrays = {}, {}
    if not options.without_package:
        from transformers import pipeline

        import hf_lesionseg
        from hf_lesionseg.inference import MaskOptions, load_model, segment_cases

        loaded = load_model(options.repo_id)
        report["identity"] = loaded.identity()
        run = segment_cases([options.scan], loaded, "masks", mask=MaskOptions(threshold=0.5))
        report["record"] = json.loads(run.outcomes[0].files["record"].read_text())["model"]
        result = pipeline("lesion-segmentation", model=options.repo_id)(options.scan, return_probability=True)
        arrays |= {"pipeline": result["probability"], "mask": result["mask"]}
        report["package"] = hf_lesionseg.__version__
    processor = AutoImageProcessor.from_pretrained(options.repo_id, **trusted)
    inputs = processor.preprocess(options.scan, return_tensors="pt")
    (geometry,) = inputs["geometry"]

    def predict(**place):
        model = AutoModelForSemanticSegmentation.from_pretrained(options.repo_id, **place, **trusted).eval()
        report.setdefault("classes", []).append(f"{type(model).__module__}.{type(model).__name__}")
        with torch.inference_mode():
            probability = model(pixel_values=inputs["pixel_values"]).logits.double().sigmoid()[:, 0].numpy()
        return processor.restore_probability(probability, geometry)

    arrays["whole"] = predict()
    for number in range(3):
        arrays[f"fold-{number}"] = predict(subfolder=f"fold-{number}")
    np.savez(options.output, **arrays)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
