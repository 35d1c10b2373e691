"""Make one model folder of several networks: a subfolder each, and what names and describes them beside these."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import ModelError, UsageError
from ..hub.model_card import SUMMARY_FILE, write_model_card
from ..imaging.atomic import write_aside
from ..imaging.folder_lock import one_run_at_a_time
from ..inference.loading import WEIGHTS, load_model
from ..machine_paths import without_machine_paths
from ..pretrained import locate_model
from ..provenance import marks, of_folder, of_several
from .held_out import HELD_OUT_FILE, SCORES_CSV, SCORES_JSON, SCORES_MD, fold_folder, pool_folds, write_scores

#: What of a member's folder goes along; no checkpoints.
MEMBER_FILES = (
    "config.json",
    "preprocessor_config.json",
    *WEIGHTS,
    "model-*-of-*.safetensors",
    SUMMARY_FILE,
    HELD_OUT_FILE,
    "splits.json",
    "history.jsonl",
    "figures/*.png",
)
_MAY_DIFFER = (
    "_name_or_path", "transformers_version", "dtype", "architectures", "auto_map", "perfusion_maps", "training_data",
    "training_grid",
)  # fmt: skip


@one_run_at_a_time("lesionseg ensemble")
def make_ensemble(folders: Sequence, output):
    """Assemble networks that predict as one by the mean of their probabilities.

    The folds of one cross-validation come in the order of their numbers, with their pooled scores; other networks,
    such as the same recipe with several seeds, in the order given, and without scores.

    Parameters
    ----------
    folders : sequence of path
        Model folders, two or more; names of packaged networks are taken too.
    output : path
        Folder of the ensemble, new or of an earlier one. Folders that lie in it under their final names (fold-0,
        fold-1, ...) stay there, others are copied.

    Returns
    -------
    dict or None
        Result of :func:`~hf_lesionseg.training.held_out.pool_folds`; None for networks that are not folds.

    Raises
    ------
    ModelError
        A folder holds no network, or they differ in network, image processor or classes, or two are the same, or a
        fold is missing.
    UsageError
        One folder does not make an ensemble, or the output holds something else.
    """
    folders, output = [Path(locate_model(folder)) for folder in folders], Path(output)
    if len(folders) < 2:
        raise UsageError(f"{len(folders)} networks do not make an ensemble; give the folders of two or more")
    pooled = None
    if any((folder / HELD_OUT_FILE).is_file() for folder in folders):
        pooled = pool_folds(folders)
        folders.sort(key=lambda folder: json.loads((folder / HELD_OUT_FILE).read_text())["fold"]["number"])
    _check_alike(folders, may_be_equal=pooled is not None)
    claim_folder(output, len(folders))
    for number, folder in enumerate(folders):
        _bring(folder, fold_folder(output, number))
    config = json.loads((folders[0] / "config.json").read_text())
    names = [fold_folder(output, number).name for number in range(len(folders))]
    training_data = of_several(of_folder(output / name) for name in names)
    _write_processor(folders[0], output)
    summary = _summary([fold_folder(output, number) for number in range(len(folders))], pooled)
    if summary is not None:
        summary = marks(training_data) | without_machine_paths(summary)
        _write_text(output / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
    if pooled is not None:
        write_scores(output, pooled)
    _write_config(output, config, names, training_data)
    write_model_card(output)
    return pooled


def _check_alike(folders, may_be_equal) -> None:
    """Refuse networks that cannot take the same slices, or whose probabilities are not of the same thing.

    With few people, two folds may well train on the same ones, and end with equal weights.
    """
    first, seen = None, {}
    for folder in folders:
        loaded = load_model(folder, device="cpu")
        config = json.loads(loaded.model.config.to_json_string(use_diff=False))
        if "members" in config:
            raise ModelError(f"{folder}: is an ensemble itself; give the folders of single networks")
        settings = {f"network setting {name}": value for name, value in config.items() if name not in _MAY_DIFFER}
        settings |= {f"image processor setting {name}": value for name, value in loaded.processor.settings().items()}
        if loaded.weights_sha256 in seen and not may_be_equal:
            raise ModelError(
                f"{folder} and {seen[loaded.weights_sha256]}: have the same weights; give each network once"
            )
        seen[loaded.weights_sha256] = folder
        first = first or (folder, settings)
        for name in sorted(settings.keys() | first[1].keys()):
            if settings.get(name) != first[1].get(name):
                raise ModelError(
                    f"{folder}: {name} is {settings.get(name)!r}, that of {first[0]} {first[1].get(name)!r}; the "
                    "members of an ensemble differ in their weights only"
                )


def claim_folder(output, number) -> None:
    """Make a folder one of an ensemble to come: what an earlier ensemble was described by is removed.

    Parameters
    ----------
    output : path
    number : int
        Members that there will be.

    Raises
    ------
    UsageError
        It holds a single network, or a member too many.
    """
    output = Path(output)
    config = output / "config.json"
    if config.is_file() and "members" not in json.loads(config.read_text()):
        raise UsageError(f"{output}: holds a single network; choose another folder for the ensemble")
    for name in ("config.json", SUMMARY_FILE, SCORES_JSON, SCORES_CSV, SCORES_MD):
        (output / name).unlink(missing_ok=True)  # until all members are there it is none
    stale = [path for path in output.glob("fold-*") if path.is_dir() and path.name not in
             {fold_folder(output, each).name for each in range(number)}]  # fmt: skip
    if stale:
        raise UsageError(
            f"{stale[0]}: is not a member of this ensemble of {number}; move it away, or choose another folder"
        )


def _bring(folder, target) -> None:
    if target.exists() and target.resolve() == folder.resolve():
        return
    from ..imaging.atomic import replace_folder_aside

    with replace_folder_aside(target) as aside:
        for source in (path for pattern in MEMBER_FILES for path in folder.glob(pattern)):
            place = aside / source.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, place)


def _write_processor(folder, output) -> None:
    content = json.loads((folder / "preprocessor_config.json").read_text())
    content.pop("auto_map", None)
    _write_text(output / "preprocessor_config.json", json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write_config(output, member, names, training_data) -> None:
    from ..models.configuration_fold_ensemble import FoldEnsembleConfig

    config = FoldEnsembleConfig(
        members=names,
        member_type=member["model_type"],
        num_channels=member["num_channels"],
        id2label={int(number): label for number, label in member["id2label"].items()},
        label2id=member["label2id"],
        architectures=["FoldEnsembleForSemanticSegmentation"],
        **{name: member[name] for name in ("perfusion_maps", "training_grid") if name in member},
        **({"training_data": training_data} if training_data else {}),
    )
    _write_text(output / "config.json", config.to_json_string(use_diff=False))


def _summary(folders, pooled):
    """The record of an ensemble, in the form of a training's; None where a member has none."""
    if not all((folder / SUMMARY_FILE).is_file() for folder in folders):
        return None
    members = [json.loads((folder / SUMMARY_FILE).read_text()) for folder in folders]
    first, names = members[0], [folder.name for folder in folders]
    runs = [member["run"] for member in members]

    def by_member(what, split):
        return {name: member["data"][what].get(split) for name, member in zip(names, members, strict=True)}

    data = {name: first["data"].get(name) for name in ("name", "synthetic", "licence", "rejected", "fingerprint")}
    if pooled is not None:  # the held-out cases of each, which are all cases together
        data |= {what: by_member(what, "test") for what in ("cases", "people", "volume_ml")}
        data["split_seed"] = first["fold"]["seed"]
    data["synthetic"] = any(member["data"]["synthetic"] for member in members)
    metrics = {}
    if pooled is not None:
        metrics["cross-validation"] = {name: value for name, value in pooled.items() if name not in ("rows", "cases")}
    return {
        "recipe": first["recipe"],
        "paper": first.get("paper"),
        "started_from": first.get("started_from"),
        "members": names,
        "data": data,
        "metrics": metrics,
        "run": runs[0]
        | {name: sum(run[name] for run in runs) for name in ("steps", "epochs", "seconds")}
        | {"finished": f"{len(runs)} networks, trained one by one"},
        "model": first["model"] | {"parameters": sum(member["model"]["parameters"] for member in members)},
    }


def _write_text(path, text) -> None:
    with write_aside(path) as aside:
        aside.write_text(text)
