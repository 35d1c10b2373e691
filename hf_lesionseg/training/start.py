"""Run a training from its arguments: one network, or one for each fold."""


def run_training(arguments):
    """Train one network, or with ``fold="all"`` one for each fold, and publish where that is asked for.

    Parameters
    ----------
    arguments : TrainingArguments

    Raises
    ------
    LesionSegError
        The arguments, the data or the machine do not allow it; one line, with the remedy.
    """
    if arguments.fold == "all":
        _train_all_folds(arguments)
    else:
        from .loop import train

        train(arguments)


def _train_all_folds(arguments):
    from ..evaluation.fold_report import print_folds
    from .cross_validation import train_folds

    pooled = train_folds(arguments)
    if pooled is None:  # stopped, and said so
        return
    print_folds(pooled)
    print(f"ensemble and pooled scores: {arguments.output_dir}")
    if arguments.push_to_hub:
        from .loop import publish_model

        publish_model(arguments)
