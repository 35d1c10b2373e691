"""One step over one batch, whole or in phases.

An ordinary network takes a batch in one go: forward, backward, move the weights. A network that is trained in
alternating steps names its phases in ``training_phases``; for each batch all of them are gone through in their order,
each with a forward, a backward and a move of its own. One optimizer serves all phases: Adam's moments are shared on
purpose, since in an optimizer of its own a gradient that one phase passes on weakened would be normalised to full
strength again. Weights that a phase does not use have no gradient in it, and stay where they are.

A network of phases returns, for ``forward(..., phase=name)``, that phase's ``loss`` alone. Whatever else it returns
must be detached: several processes wait for a gradient of every weight that a returned tensor depends on.
"""

import torch

from ..errors import RecipeError


def phases_of(model, recipe):
    """Names of the phases in which a network is trained, in their order; none for an ordinary network.

    Raises
    ------
    RecipeError
        If the recipe accumulates gradients: phases could not see each other's moves of the weights.
    """
    phases = tuple(getattr(model, "training_phases", ()))
    if phases and recipe.gradient_accumulation_steps > 1:
        raise RecipeError(
            f"recipe {recipe.name}: gradient_accumulation_steps is {recipe.gradient_accumulation_steps}, but "
            f"{recipe.model_type} is trained in phases ({', '.join(phases)}), of which each moves the weights; use 1, "
            "and a larger batch_size or more processes"
        )
    return phases


def step_over_batch(accelerator, model, optimizer, batch, phases, *, max_gradient_norm, seed, watched=None):
    """Forward, backward and, unless gradients are still being accumulated, move the weights; once for each phase.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    model, optimizer
        As the accelerator prepared them.
    batch : dict of torch.Tensor
        ``pixel_values`` (batch, channels, height, width), ``labels`` (batch, height, width) and what else the network's
        forward takes in training, such as ``dwi`` (batch, 1, height, width).
    phases : tuple of str
        Result of :func:`phases_of`.
    max_gradient_norm : float or None
        Gradients are clipped to this norm, those of each phase by themselves.
    seed : tuple of int
        Seeds dropout and all else that is random; with the number of the phase, where there are phases, so that the
        draws depend on nothing that ran before, such as a resume.
    watched : dict, optional
        Its keys are fields of the network's output (``watched_outputs``); filled with their values, detached.

    Returns
    -------
    torch.Tensor of shape (phases,), or (1,) without phases
        The loss of each phase in this process, detached.
    """
    losses = []
    for number, phase in enumerate(phases or (None,)):
        torch.manual_seed(hash(seed if phase is None else (*seed, number)) % 2**63)
        with accelerator.accumulate(model):
            output = model(**batch) if phase is None else model(**batch, phase=phase)
            loss = output.loss
            for name in watched or ():
                value = output.get(name)
                watched[name] = None if value is None else value.detach()
            accelerator.backward(loss)
            if accelerator.sync_gradients and max_gradient_norm is not None:
                accelerator.clip_grad_norm_(model.parameters(), max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach().float())
    return torch.stack(losses)
