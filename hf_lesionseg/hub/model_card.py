"""The model card: ``README.md`` with metadata, written from the files of a model folder and from nothing else."""

import re
from pathlib import Path

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..errors import ModelError
from ..evaluation.fold_report import fold_table
from ..imaging.atomic import write_aside
from ..models import Network, loadable
from ..provenance import GENERATED, MARK
from . import card_tables
from .packaged_card import packaged_sections
from .remote_code import CONFIG_FILE, PROCESSOR_FILE, read_json

SUMMARY_FILE = "training_summary.json"
CARD_FILE = "README.md"
MARKER = "<!-- Written by hf_lesionseg from this folder's files. Delete this line to publish a text of your own. -->"
TEMPLATES = Path(__file__).parent / "templates"


def write_model_card(folder, repo_id=None, *, license="apache-2.0"):
    """Write ``README.md`` into a model folder.

    Parameters
    ----------
    folder : path-like
        Holds ``config.json`` and ``preprocessor_config.json``; ``training_summary.json``, ``splits.json`` and
        ``figures/*.png`` where training has left them.
    repo_id : str, optional
        The id on the Hub for the examples; the folder's name by default.
    license : str
        Licence of the weights, as the Hub spells it.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        If a file is missing, damaged, or does not contain what the card must state.
    """
    folder = Path(folder)
    config, processor = read_json(folder / CONFIG_FILE), read_json(folder / PROCESSOR_FILE)
    summary = read_json(folder / SUMMARY_FILE) if (folder / SUMMARY_FILE).exists() else None
    try:
        text = _render(folder, repo_id or folder.resolve().name, license, config, processor, summary)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / SUMMARY_FILE}: not the record of a training run of this version ({error!r}); "
            "train again, or remove it to publish without a record"
        ) from error
    with write_aside(folder / CARD_FILE) as aside:
        Path(aside).write_text(text, "utf-8")
    return folder / CARD_FILE


def is_generated(card_file):
    """Whether this module wrote the card, and may write it again."""
    return MARKER in Path(card_file).read_text("utf-8")


def card_metadata(repo_id, license, config, processor, summary, packaged=None):
    """The YAML part of the card.

    Returns
    -------
    huggingface_hub.ModelCardData
        With one evaluation result per split and metric of ``training_summary.json``; none without that file.
    """
    data = (_origin(summary, packaged) or {}).get("data", {})
    tags = ["hf-lesionseg", config["model_type"], "lesion-segmentation", "medical", "nifti"]
    tags += [config["member_type"]] if "member_type" in config else []
    tags += [tag for tag in _network(config).tags if tag not in tags]
    tags += ["synthetic-data"] if data.get("synthetic") or config.get("training_data") == GENERATED else []
    results = [result for split in _splits(summary) for result in _eval_results(split, summary)]
    return ModelCardData(
        license=license,
        # The Hub's own snippet for "transformers" works only where the repository carries its code.
        library_name="transformers" if "auto_map" in config else "hf-lesionseg",
        pipeline_tag="image-segmentation",
        tags=tags,
        datasets=[data["hub_id"]] if data.get("hub_id") else None,
        base_model=_base_model(summary),
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
    )


def _base_model(summary):
    """The Hub id of the network whose weights training began with; None for a folder, or from scratch."""
    started_from = (summary or {}).get("started_from") or ""
    return started_from if re.fullmatch(r"[\w.-]+/[\w.-]+", started_from) and not Path(started_from).exists() else None


def _splits(summary):
    """Names of the splits that were evaluated, the test split first."""
    evaluated = (summary or {}).get("metrics") or {}
    return [split for split in ("cross-validation", "test", "validation") if evaluated.get(split)]


def _eval_results(split, summary):
    """One ``EvalResult`` per metric that is defined for at least one case."""
    data, scores = summary["data"], summary["metrics"][split]
    kind = _kind(data)
    slug = re.sub(r"[^a-z0-9]+", "-", data["name"].lower()).strip("-")
    counts = {name: scores[name] for name in ("n_cases", "n_people", "n_empty_truth", "n_empty_prediction", "n_failed")}
    for metric in card_tables.card_metrics(scores):
        values = scores[metric.name]
        if values["mean"] is None:
            continue
        yield EvalResult(
            task_type="image-segmentation",
            task_name="Lesion segmentation",
            dataset_type=data.get("hub_id") or slug,
            dataset_name=f"{data['name']} ({kind})",
            dataset_split=split,
            dataset_args={"synthetic": bool(data.get("synthetic")), **counts},
            metric_type=metric.name,
            metric_name=f"Mean {metric.label} over {card_tables.count(values['n'], 'case')}, {kind}",
            metric_value=values["mean"],
        )


def _origin(summary, packaged):
    """The record of the training; of a packaged network whose training still goes on, what is known of its data."""
    return summary if summary is not None or packaged is None else {"data": packaged["record"]["data"]}


def _figures(folder, packaged):
    """Figures of the folder but for those that a packaged network's failures show."""
    shown = {each["file"] for each in packaged["record"]["pictures"]} if packaged else ()
    return [(path, caption) for path, caption in card_tables.figure_entries(folder) if path not in shown]


def _network(config):
    """What is known of the network; of an ensemble that of its members."""
    model_type = config.get("member_type") or config["model_type"]
    return loadable().get(model_type) or Network(model_type, "", "")


def _kind(data):
    """The words that stand wherever a figure stands."""
    if "synthetic" not in data:
        return "origin of the data not recorded"
    return "synthetic data" if data["synthetic"] else "real scans"


def _render(folder, repo_id, license, config, processor, summary):
    network = _network(config)
    channels = processor.get("channel_names") or ["t1w"]
    files = {name: "scan.nii.gz" if len(channels) == 1 else f"{name}.nii.gz" for name in channels}
    several = len(channels) > 1
    packaged = packaged_sections(folder)
    # by its name only our own commands find a packaged network; published it has an id
    by_name = packaged is not None and "/" not in repo_id
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    text = environment.get_template("model_card.md.j2").render(
        metadata=card_metadata(repo_id, license, config, processor, summary, packaged).to_yaml(),
        marker=MARKER,
        title=f"{network.name} for lesion segmentation"
        + (f": an ensemble of {len(config['members'])}" if "members" in config else ""),
        members=config.get("members") or [],
        network=network.name,
        paper=network.paper,
        task=network.task,
        record=_record(summary) if summary is not None else None,
        input_rows=card_tables.input_contract(processor),
        repo_id=repo_id,
        packaged=packaged,
        by_name=by_name,
        model_literal=f'hf_lesionseg.packaged_model("{repo_id}")' if by_name else f'"{repo_id}"',
        cli_input=",".join(f"{name}={file}" for name, file in files.items()) if several else "scan.nii.gz",
        scan_literal=repr(files).replace("'", '"') if several else '"scan.nii.gz"',
        remote_code="auto_map" in config,
        mark=MARK if config.get("training_data") == GENERATED else "",
        has_splits=(folder / "splits.json").exists(),
        figures=_figures(folder, packaged),
        limits=_limits(network, config, processor, _origin(summary, packaged)),
    )
    text = re.sub(r"\n{3,}", "\n\n", text)  # blocks that were left out leave their blank lines
    return ModelCard(text).content  # parses the metadata back: a card that the Hub could not read ends here


def _record(summary):
    """What the template prints of ``training_summary.json``."""
    data, recipe, best = summary["data"], summary["recipe"], summary.get("best")
    run, model, kind = summary["run"], summary["model"], _kind(data)
    results = [
        {
            "title": f"{split.capitalize()}{'' if split == 'cross-validation' else ' split'}, {kind}",
            "counts": card_tables.counts_sentence(summary["metrics"][split]),
            "chosen_on": split == "validation",
            "stored": card_tables.stored_sentence(
                summary["metrics"][split]["n_cases"], (summary.get("scored_from_scans") or {}).get(split)
            ),
            "folds": fold_table(summary["metrics"][split]) if split == "cross-validation" else None,
            "rows": card_tables.result_rows(summary["metrics"][split]),
            "size_rows": card_tables.size_rows(summary["metrics"][split]),
            "size_note": card_tables.size_note(summary["metrics"][split]),
        }
        for split in _splits(summary)
    ]
    return {
        "parameters": card_tables.number(model["parameters"]),
        "started_from": summary.get("started_from"),
        "data_name": data["name"],
        "synthetic": bool(data.get("synthetic")),
        "kind": kind,
        "licence": data.get("licence"),
        "split_seed": data.get("split_seed"),
        "rejected": card_tables.count(data["rejected"], "case") if data.get("rejected") else None,
        "stages": summary.get("stages"),
        "split_rows": card_tables.split_rows(data),
        "recipe_rows": card_tables.recipe_rows(recipe),
        "recipe_source": summary.get("paper") or recipe.get("paper"),
        "best": card_tables.best_sentence(best, kind) if best else None,
        "results": results,
        "policy": next((summary["metrics"][split].get("policy") for split in _splits(summary)), None),
        "compute": card_tables.compute_sentence(run),
        "versions": ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items()),
    }


def _limits(network, config, processor, summary):
    """Sentences on what the network cannot do, from its method, its processor and its record."""
    limits = ["For research only: somebody who can read the scan has to look at every mask."]
    if summary is None and config.get("training_data") == GENERATED:
        limits.append("It has seen synthetic lesions only, and it came without a training record.")
    elif summary is None:
        limits.append("Its quality is unknown, because it came without a training record.")
    elif summary["data"].get("synthetic"):
        limits.append("It has seen synthetic lesions only; its quality on patients is unknown.")
    else:
        limits.append(
            "Nobody has tried it on scanners, protocols, ages or kinds of lesion beyond those of the training data."
        )
    channels = processor.get("channel_names") or ["t1w"]
    names = " and ".join(card_tables.CHANNEL_NAMES.get(name, name) for name in channels)
    limits.append(
        f"The network also marks images other than {names}, since it cannot recognise them: such masks mean nothing."
    )
    normalization = processor.get("normalization")
    kinds = set(normalization.values()) if isinstance(normalization, dict) else {normalization}
    if "fixed-range" in kinds:
        limits.append("A scan that was not standardised to the range above falls back to percentiles, with a warning.")
    if "window" in kinds:
        which = " where a window is cut from them" if len(kinds) > 1 else ""
        limits.append(f"Intensities must be in Hounsfield units{which}: other values cause a warning at best.")
    limits += network.pitfalls
    limits.append(
        "It may mark something in a scan without a lesion: raise `threshold`, or drop small lesions with "
        "`minimum_lesion_ml`."
    )
    test = ((summary or {}).get("metrics") or {}).get("test")
    if test:
        limits.append(
            f"The test split has {card_tables.count(test['n_cases'], 'case')}: read its means with that in mind."
        )
    return limits
