"""The command line of training: what ``lesionseg train`` and ``scripts/train.py`` run."""

import sys

from ..errors import LesionSegError

_DESCRIPTION = """Train a network by a recipe, resume, and publish.

Example: lesionseg train --recipe clci-net-atlas --data_dir prepared --output_dir runs/clci-net
Cross-validation: lesionseg train --recipe ms-dcnn-isles2018 --data_dir prepared --output_dir runs/folds --fold all
Two processes on a CPU: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 --num_machines 1
--mixed_precision no --dynamo_backend no scripts/train.py --recipe clci-net-atlas --data_dir ... --output_dir ..."""


def _cross_validate(arguments):
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


def main(argv=None, prog=None):
    """Train as the options in ``argv`` say.

    Returns
    -------
    int
        0 when the run ended, 1 when it failed, 2 for wrong usage, 130 when it was interrupted.
    """
    from transformers import HfArgumentParser

    from .arguments import TrainingArguments

    parser = HfArgumentParser(TrainingArguments, description=_DESCRIPTION, prog=prog)
    try:
        (arguments,) = parser.parse_args_into_dataclasses(args=argv)
        if arguments.fold == "all":
            _cross_validate(arguments)
        else:
            from .loop import train

            train(arguments)
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; go on with --resume_from_checkpoint latest", file=sys.stderr)
        return 130
    return 0
