"""The network that a recipe names, new or from weights that exist."""

import warnings
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from ..errors import ModelError, RecipeError
from ..hub.transport import why_no_cache, why_unreachable
from ..inference.loading import load_model
from ..models import MODEL_REGISTRY
from ..models.file_diagnosis import is_folder, what_weights_are
from ..models.losses import check_loss, complete_settings
from ..models.memory_format import CHANNELS_LAST, CONTIGUOUS, choose_memory_format, put_in_memory_format
from ..models.resnet_encoder import ResNetEncoder, load_resnet_weights

#: How data are prepared with the images that a network learns from.
WITH_TARGETS = "by a recipe with target_channels and, where the data set has none, a folder of your own (--dwi FOLDER)"


def build_network(recipe, model_name_or_path=None, *, channels, targets=None, token=None, resumes=False):
    """Build the recipe's network on the CPU, in float32.

    Parameters
    ----------
    recipe : Recipe
    model_name_or_path : str, optional
        Hub id or folder whose weights to start from. Its settings are kept, but for the loss where the recipe names
        one.
    channels : int
        Channels of the prepared data.
    targets : sequence of str, optional
        Images to learn from that the prepared data hold beside them. Where the network learns from one that is not
        among them, it is built as its configuration says for such data (``settings_without_targets``), unless recipe
        or weights ask for what needs it. By default it may have all that it learns from.
    token : str, optional
        For the Hub.
    resumes : bool
        A checkpoint follows: the recipe's ``encoder_weights`` need not be there any more.

    Raises
    ------
    RecipeError
        If the recipe names no network of this package, or a setting that it cannot have, or by name a setting for
        which the data have no image to learn from.
    ModelError
        If the weights are of another network, or of another number of channels, or those for the encoders are not to
        be had or do not fit.
    """
    if recipe.model_type not in MODEL_REGISTRY:
        raise RecipeError(
            f"recipe {recipe.name}: model_type is {recipe.model_type!r}; use one of {sorted(MODEL_REGISTRY)}"
        )
    if model_name_or_path:
        model = load_model(model_name_or_path, device="cpu", token=token).model
        found, wanted = model.config.model_type, recipe.model_type
        if found != wanted:
            raise ModelError(f"{model_name_or_path}: is a {found} network, the recipe trains {wanted}")
        if model.config.num_channels != channels:
            raise ModelError(
                f"{model_name_or_path}: takes {model.config.num_channels} channels, the data have {channels}"
            )
        lacking = lacking_targets(model.config, targets)
        if lacking:
            raise ModelError(
                f"{model_name_or_path}: learns from {' and '.join(lacking)}, which the data do not have; prepare "
                f"them with it, {WITH_TARGETS}, or train a new network, which goes without"
            )
        _take_loss(model.config, recipe)
        return model
    settings = {"num_channels": channels} | recipe.model
    try:
        config = AutoConfig.for_model(recipe.model_type, **settings)
        unknown = sorted(set(settings) - set(AutoConfig.for_model(recipe.model_type).to_dict()))
        if unknown:
            raise RecipeError(f"recipe {recipe.name}: {recipe.model_type} has no setting {', '.join(unknown)}")
        lacking = lacking_targets(config, targets)
        if lacking:
            changes = config.settings_without_targets()
            asked = [name for name in changes if recipe.model.get(name)]
            if asked:
                raise RecipeError(
                    f"recipe {recipe.name}: asks for {asked[0]}: {recipe.model[asked[0]]}, which learns from "
                    f"{' and '.join(lacking)}, and the data have none; prepare them with it, {WITH_TARGETS}, or leave "
                    f"{asked[0]} out of the recipe to train without"
                )
            config = AutoConfig.for_model(recipe.model_type, **(settings | changes))
        model = AutoModelForSemanticSegmentation.from_config(config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RecipeError(f"recipe {recipe.name}: the network does not accept these settings: {reason}") from error
    if recipe.encoder_weights and not resumes:
        start_encoders(model, recipe.encoder_weights, token=token)
    return model


def _take_loss(config, recipe):
    """Give a network that was trained before the loss of the recipe, where that names one; others keep theirs."""
    if "loss" not in recipe.model and "loss_settings" not in recipe.model:
        return
    loss = recipe.model.get("loss", config.loss)
    settings = recipe.model.get("loss_settings")
    try:
        check_loss(loss, settings or {})
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: the network does not accept these settings: {error}") from error
    config.loss, config.loss_settings = loss, complete_settings(loss, settings)


def lacking_targets(config, targets):
    """Images that a network learns from and data do not hold; none where nothing is known of the data."""
    return [] if targets is None else [name for name in getattr(config, "target_channels", ()) if name not in targets]


def describe_stages(recipe, config, targets):
    """Say what a network of several stages is trained on, and why; None for other networks.

    Parameters
    ----------
    recipe : Recipe
    config : LesionConfig
        Configuration of the network that is trained.
    targets : sequence of str
        Images to learn from that the data hold.

    Returns
    -------
    dict or None
        ``stages``, a sentence; ``targets``, what is learned from; ``reason`` why that is less than the recipe's network
        could, or None.
    """
    if not hasattr(config, "describe_training"):
        return None
    reason = None
    wanted = AutoConfig.for_model(recipe.model_type, **{"num_channels": config.num_channels, **recipe.model})
    lacking = lacking_targets(wanted, targets)
    if lacking:
        reason = (
            f"the data have no {' and no '.join(lacking)}, so that there is no generator; to train it, prepare them "
            f"with it, {WITH_TARGETS}"
        )
    return {"stages": config.describe_training(), "targets": list(config.target_channels), "reason": reason}


def start_encoders(model, name_or_path, token=None):
    """Give every ResNet encoder of a network the weights of a published ResNet.

    Parameters
    ----------
    model : PreTrainedModel
    name_or_path : str
        Hub id or folder; ``{depth}`` in it is replaced by each encoder's depth.

    Raises
    ------
    ModelError
        If the network has no ResNet encoder, or the weights are not to be had or do not fit.
    """
    encoders = [module for module in model.modules() if isinstance(module, ResNetEncoder)]
    if not encoders:
        raise ModelError(
            f"encoder_weights {name_or_path}: a {model.config.model_type} network has no ResNet encoder; "
            "leave encoder_weights out of the recipe, or give --encoder-weights none"
        )
    for encoder in encoders:
        source = name_or_path.replace("{depth}", str(encoder.depth))
        local = is_folder(source) or constants.HF_HUB_OFFLINE
        unreachable = None if local else why_unreachable() or why_no_cache()
        try:
            load_resnet_weights(encoder, source, token=token, local_files_only=bool(unreachable))
        except (OSError, SafetensorError) as error:  # also what huggingface_hub raises where there is no network
            for path in Path(source).glob("*.safetensors"):
                if found := what_weights_are(path):
                    raise ModelError(f"encoder_weights {path}: {found}") from error
            reason = unreachable or " ".join(str(error).split())
            raise ModelError(
                f"encoder_weights {source}: cannot be loaded; go online once, give a folder that holds them, or train "
                f"from scratch with --encoder-weights none ({reason})"
            ) from error
        except ValueError as error:
            hint = "" if "{depth}" in name_or_path or len(encoders) == 1 else "; {depth} in it fits every encoder"
            raise ModelError(f"encoder_weights {' '.join(str(error).split())}{hint}") from error


def lay_out(model, device, channels_last=None):
    """Put a network into the memory format in which it trains fastest, unless torch would corrupt memory there.

    A network with a convolution for which torch's backward pass is not safe channels last
    (:func:`~hf_lesionseg.models.memory_format.narrow_strided_convolution`) is laid out contiguously.

    Parameters
    ----------
    model : PreTrainedModel
        Changed in place.
    device : torch.device
        That it is trained on.
    channels_last : bool, optional
        The recipe's: overrules the choice, with a warning where it is not safe.

    Returns
    -------
    {"contiguous", "channels-last"}
    """
    name, unsafe = training_format(model, device, channels_last)
    if unsafe and channels_last:
        warnings.warn(f"channels_last is ignored: {unsafe}", stacklevel=2)
    put_in_memory_format(model, name)
    return name


def training_format(model, device, channels_last=None):
    """The memory format in which :func:`lay_out` puts a network, and why channels last is not safe for it, or None."""
    asked = {None: "auto", True: CHANNELS_LAST, False: CONTIGUOUS}[channels_last]
    return choose_memory_format(model, device, training=True, asked=asked)


def enable_activation_checkpointing(model):
    """Recompute activations in the backward pass; transformers renamed the method after 5.10."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
