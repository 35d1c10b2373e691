"""Run by test_round_trip.py in a fresh process: what a user does who has the package and only a Hub id.

Prints one JSON object; logits and mask go to an .npz file. ``stage`` marks a moment in the server's log.
"""

import argparse
import contextlib
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForSemanticSegmentation
from transformers.models.auto.image_processing_auto import AutoImageProcessor

import hf_lesionseg


def stage(name):
    with contextlib.suppress(urllib.error.HTTPError):  # nothing is at that address, but the request stands in the log
        urllib.request.urlopen(f"{os.environ['HF_ENDPOINT']}/stage/{name}")


def what_fails(load):
    try:
        load()
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def segment(model, processor, scan):
    inputs = processor.preprocess(scan, return_tensors="pt")
    with torch.inference_mode():
        logits = model.eval()(inputs["pixel_values"]).logits
    return logits.numpy(), processor.post_process_segmentation(logits, inputs["geometry"])[0]["mask"]


def run_card(readme, scan):
    """Execute the examples of the model card that need the package; return the masks they make."""
    Path("scan.nii.gz").write_bytes(Path(scan).read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    blocks = [block for block in blocks if "trust_remote_code" not in block]
    masks = []
    for block in blocks:
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        masks.append(names["result"]["mask"] if "result" in names else names["mask"])
    return masks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("repo_id")
    parser.add_argument("scan")
    parser.add_argument("output")
    parser.add_argument("--offline", action="store_true")
    options = parser.parse_args()
    repo_id = options.repo_id

    report = {"package": hf_lesionseg.__file__}
    model = AutoModel.from_pretrained(repo_id)
    processor = AutoImageProcessor.from_pretrained(repo_id)
    logits, mask = segment(model, processor, options.scan)
    report["classes"] = [type(model).__module__ + "." + type(model).__name__, type(processor).__name__]
    arrays = {"logits": logits, "mask": mask}

    if options.offline:
        report["missing"] = what_fails(lambda: AutoModel.from_pretrained("org/never-seen"))
    else:
        stage("warm")
        report["warm"] = type(AutoModelForSemanticSegmentation.from_pretrained(repo_id)).__name__
        AutoImageProcessor.from_pretrained(repo_id)
        stage("other")
        arrays["tagged"], _ = segment(AutoModel.from_pretrained(repo_id, revision="v1"), processor, options.scan)
        report["missing"] = what_fails(lambda: AutoModel.from_pretrained("org/never-seen"))
        report["revision"] = what_fails(lambda: AutoModel.from_pretrained(repo_id, revision="v9"))
        with tempfile.TemporaryDirectory() as empty:  # a wrong token goes unseen as long as the cache answers
            report["token"] = what_fails(lambda: AutoModel.from_pretrained(repo_id, token="hf_wrong", cache_dir=empty))
        from huggingface_hub import hf_hub_download

        readme = Path(hf_hub_download(repo_id, "README.md")).read_text("utf-8")
        arrays["card_pipeline"], arrays["card_steps"] = run_card(readme, options.scan)
    np.savez(options.output, **arrays)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
