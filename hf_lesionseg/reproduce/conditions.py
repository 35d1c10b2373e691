"""Under which conditions the rows of a table were trained, in words for its reader."""

from transformers import AutoConfig

_CURVES = {"cosine": "cosine", "linear": "line"}


def conditions_of(run):
    """What a run was trained with, each in a few words.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of str to str
        Empty where there is nothing to say.
    """
    settings, defaults = run.settings, AutoConfig.for_model(run.settings["model_type"])
    width = settings["model"].get("base_width", defaults.base_width)
    processes = run.budget.processes
    fraction = 1.0 if settings["slices"] == "lesion" else settings["empty_slice_fraction"]
    return {
        "width": "full width" if width == defaults.base_width else f"width {width} for {defaults.base_width}",
        "steps": f"{run.steps} steps of {settings['batch_size'] * processes} slices"
        + (f" in {processes} processes" if processes > 1 else ""),
        "rate": f"a rate of {settings['learning_rate']:g} {_course(settings)}",
        "slices": "" if fraction == 1 else f"{100 * fraction:g} % of the slices without lesion in each epoch",
        "encoders": f"encoders from {settings['encoder_weights'] or 'scratch'}",
        "data": run.other_settings,
    }


def describe_conditions(rows):
    """The conditions of a table's rows: what they share once, what differs with the names of the rows.

    Parameters
    ----------
    rows : list of dict
        With ``row`` and ``conditions``.

    Returns
    -------
    list of str
    """
    shown = []
    for name in rows[0]["conditions"]:
        found = {}
        for row in rows:
            found.setdefault(row["conditions"][name], []).append(row["row"])
        if len(found) == 1:
            shown.append(next(iter(found)))
        else:
            shown.append(", ".join(f"{value} ({', '.join(names)})" for value, names in found.items() if value))
    return list(filter(None, shown))


def _course(settings):
    """How the learning rate goes on."""
    scheduler, epochs = settings["scheduler"], settings["epochs"]
    if scheduler == "plateau":
        return f"times {settings['plateau_factor']:g} where the validation stalls, {epochs} epochs at most"
    if scheduler in ("step", "multistep"):
        if scheduler == "step":
            when = f"every {settings['step_epochs']} epochs"
        else:
            when = f"at epochs {' and '.join(map(str, settings['milestones']))}"
        return f"times {settings['step_factor']:g} {when}, of {epochs}"
    return "that stays" if scheduler == "constant" else f"falling to 0 along a {_CURVES[scheduler]}"
