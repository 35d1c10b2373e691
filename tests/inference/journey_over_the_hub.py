"""Run by test_hub_loading.py in a fresh process: push a network, load it by its id in every state of cache and Hub.

``HF_ENDPOINT`` and ``HF_HOME`` are read when ``huggingface_hub`` is imported, hence the process. Prints JSON.
"""

import contextlib
import json
import sys
from pathlib import Path

from huggingface_hub import HfApi, constants
from transformers import AutoModelForSemanticSegmentation

from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.inference import load_model, segment_cases


def error_of(*args, **kwargs):
    try:
        load_model(*args, **kwargs)
    except LesionSegError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@contextlib.contextmanager
def push_before_the_weights_are_read(hub, folder):
    """Another threshold reaches the repository after its ``config.json`` was read and before the rest is."""
    settings = json.loads((folder / "preprocessor_config.json").read_text()) | {"threshold": 0.9}
    load = AutoModelForSemanticSegmentation.from_pretrained

    def from_pretrained(*args, **kwargs):
        content = json.dumps(settings).encode()
        hub.upload_file(repo_id="org/tiny", path_or_fileobj=content, path_in_repo="preprocessor_config.json")
        return load(*args, **kwargs)

    AutoModelForSemanticSegmentation.from_pretrained = from_pretrained
    yield
    AutoModelForSemanticSegmentation.from_pretrained = load


def main(folder, scan, output):
    hub, report = HfApi(), {}
    hub.create_repo("org/tiny")
    report["pushed"] = hub.upload_folder(repo_id="org/tiny", folder_path=folder).oid
    hub.create_repo("org/empty")
    hub.create_repo("org/hidden", private=True)

    report["unknown"] = error_of("org/absent")
    report["no_config"] = error_of("org/empty")
    report["revision"] = error_of("org/tiny", revision="v9")
    report["token"] = error_of("org/hidden", token="hf_wrong")

    with push_before_the_weights_are_read(hub, folder):
        loaded = load_model("org/tiny")
    report["threshold_then"] = loaded.processor.threshold
    report["threshold_now"] = load_model("org/tiny").processor.threshold
    report["cold"] = loaded.identity()
    run = segment_cases([scan], loaded, output)
    report["record"] = json.loads(run.outcomes[0].files["record"].read_text())["model"]
    # A newer state of the repository does not change what a commit is.
    hub.upload_file(repo_id="org/tiny", path_or_fileobj=b"{}", path_in_repo="config.json")
    report["newer"] = error_of("org/tiny")
    report["pinned"] = load_model("org/tiny", revision=report["pushed"]).commit

    constants.HF_HUB_OFFLINE = True
    report["offline"] = load_model("org/tiny", revision=report["pushed"]).commit
    report["offline_absent"] = error_of("org/absent")
    print(json.dumps(report))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
