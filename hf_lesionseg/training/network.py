"""The network that a recipe names, new or from weights that exist."""

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from ..errors import ModelError, RecipeError
from ..inference.loading import load_model
from ..models import MODEL_REGISTRY


def build_network(recipe, model_name_or_path=None, *, channels, token=None):
    """Build the recipe's network on the CPU, in float32.

    Parameters
    ----------
    recipe : Recipe
    model_name_or_path : str, optional
        Hub id or folder whose weights to start from.
    channels : int
        Channels of the prepared data.

    Raises
    ------
    RecipeError
        If the recipe names no network of this package, or a setting that it cannot have.
    ModelError
        If the weights are of another network, or of another number of channels.
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
        return AutoModelForSemanticSegmentation.from_config(config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise RecipeError(f"recipe {recipe.name}: the network cannot have these settings: {reason}") from error


def enable_activation_checkpointing(model):
    """Recompute activations in the backward pass; transformers renamed the method after 5.10."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
