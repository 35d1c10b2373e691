"""Whether a folder holds a network that others can load: asked before anything is published."""

from pathlib import Path

from ..errors import ModelError
from ..models.file_diagnosis import what_weights_are
from .remote_code import CONFIG_FILE, PROCESSOR_FILE, auto_map, read_json


def check_model_folder(folder):
    """Load network and image processor of a folder and look at every weight.

    Raises
    ------
    ModelError
        If a file is missing or damaged, weights do not fit the network or are not finite, or the image processor has
        other channels than the network.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; give the folder that training or save_pretrained wrote")
    auto_map(read_json(folder / CONFIG_FILE).get("model_type"))
    read_json(folder / PROCESSOR_FILE)
    for path in sorted(folder.rglob("model*.safetensors")):
        if path.parent in (folder, *folder.glob("fold-*")) and (reason := what_weights_are(path)):
            raise ModelError(f"{path}: {reason}")
    model = _load_model(folder)
    processor = _load_processor(folder)

    broken = [name for name, weight in model.state_dict().items() if not weight.isfinite().all()]
    if broken:
        raise ModelError(
            f"{folder}: {len(broken)} weights hold NaN or infinity, first {broken[0]}; train again at a lower rate"
        )
    if processor.num_channels != model.config.num_channels:
        raise ModelError(
            f"{folder / PROCESSOR_FILE}: gives {processor.num_channels} channels "
            f"({', '.join(processor.channel_names)}; slice_stack {processor.slice_stack!r}), the network takes "
            f"{model.config.num_channels}; save both again"
        )


def _load_model(folder):
    import safetensors
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModel

    from .. import auto

    auto.register()
    try:
        model, report = AutoModel.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, StrictDataclassError, safetensors.SafetensorError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"{folder}: the network does not load ({reason}); save it again") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, report[problem])):
            words = problem.replace("_", " ")
            raise ModelError(f"{folder}: {len(names)} {words} in the weights, first {names[0]}; save the model again")
    return model


def _load_processor(folder):
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"{folder / PROCESSOR_FILE}: does not load ({reason}); save the image processor again"
        ) from error
