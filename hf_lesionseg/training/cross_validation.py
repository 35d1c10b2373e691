"""Cross-validation: ``train --fold all`` trains every fold into a subfolder of its own.

It goes on where it was stopped, pools the scores and makes an ensemble of the folder.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from ..datasets.prepared import PreparedDataset
from ..errors import LaunchError, UsageError
from ..imaging.folder_lock import locked_folder
from ..machine_paths import local_name, without_machine_paths
from .data import find_folds
from .ensemble import claim_folder, make_ensemble
from .held_out import fold_folder, read_json
from .loop import train


def train_folds(arguments):
    """Train all folds one after another, pool their scores and make an ensemble of ``output_dir``.

    A fold that is finished is kept; one that was stopped goes on from its latest checkpoint. ``max_minutes`` is the
    time of all folds together.

    Returns
    -------
    dict or None
        The pooled summary; None where time was up before all folds were trained, and no ensemble was made.

    Raises
    ------
    LaunchError
        Several processes were launched: they are parted when a fold ends.
    LesionSegError
        As :func:`~hf_lesionseg.training.loop.train`; the folds before are finished, and kept.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LaunchError(
            "--fold all trains in one process; launch the folds one by one (--fold 0, --fold 1, ...) into OUTPUT/fold-0"
            ", OUTPUT/fold-1, ..., then run `lesionseg ensemble OUTPUT/fold-* -o OUTPUT`"
        )
    with locked_folder(arguments.output_dir, "lesionseg train --fold all"):
        return _train_folds(arguments)


def _train_folds(arguments):
    started = time.monotonic()
    dataset = PreparedDataset(arguments.data_dir)
    folds = find_folds(arguments.data_dir, dataset.cases, arguments.folds)
    folders = [fold_folder(arguments.output_dir, number) for number in range(len(folds))]
    for number, folder in enumerate(folders):
        own = replace(
            arguments, fold=str(number), output_dir=str(folder), push_to_hub=False,
            resume_from_checkpoint=None if arguments.overwrite_output_dir else "latest",
        )  # fmt: skip
        if not arguments.overwrite_output_dir and is_finished(folder, own, dataset, folds):
            print(f"fold {number} of {len(folds)}: finished before, kept in {folder}", flush=True)
            continue
        if arguments.max_minutes is not None:
            left = arguments.max_minutes - (time.monotonic() - started) / 60
            own = replace(own, max_minutes=round(max(left, 1e-4), 4))
        print(f"fold {number} of {len(folds)}: {folder}", flush=True)
        train(own)
        if not is_finished(folder, own, dataset, folds):
            claim_folder(arguments.output_dir, len(folds))  # an ensemble of earlier networks is none of these
            print(
                f"stopped by --max-minutes in fold {number} of {len(folds)}: no ensemble and no pooled scores yet; run "
                "the same command again, without --overwrite, to go on",
                flush=True,
            )
            return None
    return make_ensemble(folders, arguments.output_dir)


def is_finished(folder, arguments, dataset, folds) -> bool:
    """Whether a fold's folder holds a finished run of these settings.

    Raises
    ------
    UsageError
        It holds a finished run of other settings, data or folds.
    """
    path = Path(folder) / "training_summary.json"
    if not path.is_file():
        return False
    summary = read_json(path)
    wanted = arguments.load_recipe().to_dict() | {"processor": dataset.processor().settings()}
    same = {
        "folds": (summary.get("fold", {}).get("fingerprint"), folds.fingerprint()),
        "data": (summary.get("data", {}).get("fingerprint"), dataset.fingerprint()),
        "seed": (summary.get("run", {}).get("seed"), arguments.seed),
        # The summary names no folder of this machine.
        "recipe": [without_machine_paths(each) for each in (summary.get("recipe"), json.loads(json.dumps(wanted)))],
        "beginning": (local_name(summary.get("started_from")), local_name(arguments.model_name_or_path)),
    }
    if (files := summary.get("data", {}).get("files")) is not None:  # versions before kept none
        same["content of the scans and masks"] = files, dataset.content()
    other = [name for name, (before, now) in same.items() if before != now]
    if other:
        raise UsageError(
            f"{folder}: was trained with another {other[0]}; give the same settings, another --output, or "
            "--overwrite to train all folds anew"
        )
    ended, steps = summary["run"]["finished"], summary["run"]["steps"]
    if ended.startswith("--max-steps"):
        return arguments.max_steps is not None and steps >= arguments.max_steps
    return not ended.startswith("--max-minutes")
