"""The network that a recipe names, new or from weights that exist."""

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from ..errors import ModelError, RecipeError
from ..inference.loading import load_model
from ..models import MODEL_REGISTRY
from ..models.resnet_encoder import ResNetEncoder, load_resnet_weights


def build_network(recipe, model_name_or_path=None, *, channels, token=None, resumes=False):
    """Build the recipe's network on the CPU, in float32.

    Parameters
    ----------
    recipe : Recipe
    model_name_or_path : str, optional
        Hub id or folder whose weights to start from.
    channels : int
        Channels of the prepared data.
    token : str, optional
        For the Hub.
    resumes : bool
        A checkpoint follows: the recipe's ``encoder_weights`` need not be there any more.

    Raises
    ------
    RecipeError
        If the recipe names no network of this package, or a setting that it cannot have.
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
        return model
    settings = {"num_channels": channels} | recipe.model
    try:
        config = AutoConfig.for_model(recipe.model_type, **settings)
        unknown = sorted(set(settings) - set(AutoConfig.for_model(recipe.model_type).to_dict()))
        if unknown:
            raise RecipeError(f"recipe {recipe.name}: {recipe.model_type} has no setting {', '.join(unknown)}")
        model = AutoModelForSemanticSegmentation.from_config(config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RecipeError(f"recipe {recipe.name}: the network cannot have these settings: {reason}") from error
    if recipe.encoder_weights and not resumes:
        start_encoders(model, recipe.encoder_weights, token=token)
    return model


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
            "leave encoder_weights out of the recipe, or give --encoder_weights none"
        )
    for encoder in encoders:
        source = name_or_path.replace("{depth}", str(encoder.depth))
        try:
            load_resnet_weights(encoder, source, token=token)
        except OSError as error:  # also what huggingface_hub raises where there is no network
            reason = " ".join(str(error).split())
            raise ModelError(
                f"encoder_weights {source}: cannot be loaded; go online once, give a folder that holds them, or train "
                f"from scratch with --encoder_weights none ({reason})"
            ) from error
        except ValueError as error:
            hint = "" if "{depth}" in name_or_path or len(encoders) == 1 else "; {depth} in it fits every encoder"
            raise ModelError(f"encoder_weights {' '.join(str(error).split())}{hint}") from error


def enable_activation_checkpointing(model):
    """Recompute activations in the backward pass; transformers renamed the method after 5.10."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
