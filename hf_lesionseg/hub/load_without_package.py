"""Load a model folder by its own source files: the script that ``check_remote_code`` runs in a fresh process."""

import json
import sys

sys.modules["hf_lesionseg"] = None  # whoever imports it gets ModuleNotFoundError, as without the package

from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation  # noqa: E402
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # noqa: E402


def main(folder):
    loaded = {
        "config": AutoConfig.from_pretrained(folder, trust_remote_code=True),
        "model": AutoModel.from_pretrained(folder, trust_remote_code=True),
        "processor": AutoImageProcessor.from_pretrained(folder, trust_remote_code=True),
    }
    again = AutoModelForSemanticSegmentation.from_pretrained(folder, trust_remote_code=True)
    if type(again).__name__ != type(loaded["model"]).__name__:
        sys.exit("AutoModel and AutoModelForSemanticSegmentation give different classes")
    names = {name: f"{type(value).__module__}.{type(value).__qualname__}" for name, value in loaded.items()}
    strangers = [name for name in names.values() if not name.startswith("transformers_modules.")]
    if strangers:
        sys.exit(f"not loaded from the folder's own files: {', '.join(strangers)}")
    print(json.dumps(names))


if __name__ == "__main__":
    main(sys.argv[1])
