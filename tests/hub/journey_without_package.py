"""Run by test_round_trip.py in a virtual environment without the package: the example of the model card.

Prints one JSON object; logits and mask go to an .npz file.
"""

import argparse
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
from huggingface_hub import hf_hub_download


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("repo_id")
    parser.add_argument("scan")
    parser.add_argument("output")
    options = parser.parse_args()

    Path("scan.nii.gz").write_bytes(Path(options.scan).read_bytes())
    readme = Path(hf_hub_download(options.repo_id, "README.md")).read_text("utf-8")
    (block,) = re.findall(r"```python\n([^`]*trust_remote_code=True.*?)```", readme, flags=re.DOTALL)
    names = {}
    exec(compile(block, "README.md", "exec"), names)

    from transformers import AutoConfig, AutoModelForSemanticSegmentation

    loaded = {
        "AutoModel": names["model"],
        "AutoImageProcessor": names["processor"],
        "AutoConfig": AutoConfig.from_pretrained(options.repo_id, trust_remote_code=True),
        "AutoModelForSemanticSegmentation": AutoModelForSemanticSegmentation.from_pretrained(
            options.repo_id, trust_remote_code=True
        ),
    }
    np.savez(options.output, logits=names["logits"].numpy(), mask=names["mask"])
    report = {
        "prefix": sys.prefix,
        "package": importlib.util.find_spec("hf_lesionseg") is not None,
        "classes": {name: f"{type(value).__module__}.{type(value).__name__}" for name, value in loaded.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
