"""The course of the learning rate."""

import math

from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


def make_scheduler(optimizer, recipe, steps_per_epoch):
    """The recipe's learning-rate scheduler; ``steps_per_epoch`` optimizer steps are an epoch.

    "plateau" is Keras' ReduceLROnPlateau, which lowers the rate at the patience-th bad validation, torch's after it.
    """
    if recipe.scheduler == "plateau":
        return ReduceLROnPlateau(
            optimizer,
            factor=recipe.plateau_factor,
            patience=recipe.plateau_patience - 1,
            threshold=recipe.plateau_min_delta,
            threshold_mode="abs",
        )
    total_steps = recipe.epochs * steps_per_epoch

    def falls(step):
        epoch, done = step // steps_per_epoch, min(step / total_steps, 1.0)
        if recipe.scheduler == "step":
            return recipe.step_factor ** (epoch // recipe.step_epochs)
        if recipe.scheduler == "multistep":
            return recipe.step_factor ** sum(epoch >= milestone for milestone in recipe.milestones)
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[recipe.scheduler]

    rise = recipe.warmup_epochs * steps_per_epoch
    return LambdaLR(optimizer, lambda step: min((step + 1) / rise, 1.0) * falls(step) if rise else falls(step))
