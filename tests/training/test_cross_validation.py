"""Cross-validation from folds to an ensemble: who is held out, what is pooled, what is trained twice (nothing)."""

import json
import shutil

import numpy as np
import pytest
from transformers import AutoModelForSemanticSegmentation

from hf_lesionseg.cli.train import main
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.prepared.folds import folds_file, load_folds
from hf_lesionseg.errors import DataError, LaunchError, ModelError, UsageError
from hf_lesionseg.inference import load_model
from hf_lesionseg.training.arguments import TrainingArguments
from hf_lesionseg.training.cross_validation import train_folds
from hf_lesionseg.training.ensemble import make_ensemble
from hf_lesionseg.training.held_out import pool_folds

FOLDS = 3


@pytest.fixture(scope="module")
def data(prepared, tmp_path_factory):
    """The prepared cases, without folds yet."""
    return shutil.copytree(prepared, tmp_path_factory.mktemp("data") / "prepared")


@pytest.fixture(scope="module")
def words(command_line, data):
    return [*command_line, "--data", str(data), "--folds", str(FOLDS), "--epochs", "1", "--fold"]


@pytest.fixture(scope="module")
def trained(words, tmp_path_factory):
    """Folder of a whole cross-validation, trained by one command."""
    output = tmp_path_factory.mktemp("runs") / "all"
    assert main([*words, "all", "--output", str(output)]) == 0
    return output


@pytest.fixture
def runs(trained, tmp_path):
    """A copy to break."""
    return shutil.copytree(trained, tmp_path / "runs")


def read(path):
    return json.loads(path.read_text())


def test_every_case_is_scored_once_by_the_network_that_has_not_seen_its_person(trained, data):
    dataset = PreparedDataset(data)
    folds = load_folds(folds_file(data, FOLDS), dataset.cases)
    person_of = {case.id: case.person for case in dataset.cases}
    scored = []
    for number in range(FOLDS):
        folder = trained / f"fold-{number}"
        held_out = [row["case"] for row in read(folder / "held_out.json")["cases"]]
        assert sorted(held_out) == sorted(folds.members[number])
        splits = read(folder / "splits.json")["splits"]
        seen = {person_of[case] for split in ("train", "validation") for case in splits[split]}
        assert not seen & {person_of[case] for case in held_out}
        assert len(splits["train"]) + len(splits["validation"]) + len(held_out) == len(dataset.cases)
        scored += held_out
        load_model(folder)
    assert sorted(scored) == [case.id for case in dataset.cases]


def test_the_pooled_table_is_the_mean_over_all_cases_and_over_each_fold(trained):
    rows = [read(trained / f"fold-{number}" / "held_out.json")["cases"] for number in range(FOLDS)]
    record = read(trained / "cross_validation.json")
    summary = record["summary"]
    assert record["synthetic"] is True
    assert len(record["cases"]) == 7
    for name in ("dice", "recall", "hd_mm", "assd_mm", "avd_ml", "lesion_f1"):
        values = [[row[name] for row in own if row[name] is not None] for own in rows]
        pooled = np.array([value for own in values for value in own], float)
        assert summary[name]["n"] == pooled.size
        if pooled.size:
            assert summary[name]["mean"] == pytest.approx(pooled.mean())
            assert summary[name]["std"] == pytest.approx(pooled.std())
        for number, own in enumerate(values):
            block = summary["by_split"][f"fold-{number}"][name]
            assert block["mean"] == (pytest.approx(np.mean(own)) if own else None)
    # and not of the training's own validation
    assert read(trained / "fold-0" / "training_summary.json")["metrics"]["test"]["hd_mm"]["n"] == sum(
        row["hd_mm"] is not None for row in rows[0]
    )
    table = (trained / "cross_validation.md").read_text()
    assert table.startswith("# Cross-validation on synthetic data")
    assert f"{summary['dice']['mean']:.3f} ({summary['dice']['std']:.3f})" in table
    card = (trained / "README.md").read_text()
    assert "an ensemble of 3" in card
    assert "Cross-validation, synthetic data" in card
    assert table.splitlines()[4] in card


def test_a_finished_fold_is_kept_and_one_that_is_missing_is_trained(words, runs, capsys):
    weights = {path: path.read_bytes() for path in runs.glob("fold-*/model.safetensors")}
    shutil.rmtree(runs / "fold-1")
    capsys.readouterr()
    assert main([*words, "all", "--output", str(runs)]) == 0
    told = capsys.readouterr().out
    assert told.count("finished before") == 2
    assert "fold 1 of 3: finished before" not in told
    for path, before in weights.items():
        assert path.read_bytes() == before  # the one that was trained again, too: a fold does not depend on the others


def test_a_fold_that_was_stopped_goes_on_to_the_same_end(words, trained, tmp_path, capsys):
    output = tmp_path / "runs"
    for number in (1, 2):
        shutil.copytree(trained / f"fold-{number}", output / f"fold-{number}")
    assert main([*words, "0", "--output", str(output / "fold-0"), "--max-steps", "2"]) == 0
    assert read(output / "fold-0" / "training_summary.json")["run"]["steps"] == 2
    assert main([*words, "all", "--output", str(output)]) == 0
    assert capsys.readouterr().out.count("finished before") == 2
    for name in ("fold-0/model.safetensors", "fold-0/held_out.json", "cross_validation.csv"):
        assert (output / name).read_bytes() == (trained / name).read_bytes()


def test_a_cross_validation_cut_short_makes_no_ensemble_and_goes_on(words, trained, runs, capsys):
    shutil.rmtree(runs / "fold-1")
    assert main([*words, "all", "--output", str(runs), "--max-minutes", "0.0001"]) == 0
    told = capsys.readouterr().out
    assert "stopped by --max-minutes in fold 1 of 3: no ensemble" in told
    assert "ensemble and pooled scores" not in told
    assert not {path.name for path in runs.iterdir()} & {"config.json", "cross_validation.json"}
    assert main([*words, "all", "--output", str(runs)]) == 0
    assert (runs / "cross_validation.csv").read_bytes() == (trained / "cross_validation.csv").read_bytes()


def test_a_fold_by_itself_is_the_one_of_all(words, trained, tmp_path):
    assert main([*words, "2", "--output", str(tmp_path / "alone")]) == 0
    for name in ("model.safetensors", "held_out.json"):
        assert (tmp_path / "alone" / name).read_bytes() == (trained / "fold-2" / name).read_bytes()


def test_a_fold_of_other_settings_is_not_taken_for_this_one(words, runs):
    other = TrainingArguments(
        words[words.index("--data") + 1], str(runs), words[words.index("--recipe") + 1], fold="all", folds=FOLDS,
        epochs=1, batch_size=2, cpu=True,
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"fold-0: was trained with another recipe"):
        train_folds(other)


def test_folds_elsewhere_are_assembled(trained, tmp_path):
    parts = [shutil.copytree(trained / f"fold-{number}", tmp_path / name) for number, name in enumerate("cab")]
    pooled = make_ensemble(sorted(parts), tmp_path / "ensemble")
    assert pooled["dice"] == read(trained / "cross_validation.json")["summary"]["dice"]
    for number in range(FOLDS):
        name = f"fold-{number}/model.safetensors"
        assert (tmp_path / "ensemble" / name).read_bytes() == (trained / name).read_bytes()
        AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "ensemble", subfolder=f"fold-{number}")
    assert not list((tmp_path / "ensemble").rglob("checkpoints"))
    assert load_model(tmp_path / "ensemble").identity()["members"] == ["fold-0", "fold-1", "fold-2"]


def change(path, **values):
    path.write_text(json.dumps(read(path) | values))


def test_folds_that_do_not_belong_together(runs, tmp_path):
    folders = [runs / f"fold-{number}" for number in range(FOLDS)]
    with pytest.raises(ModelError, match=r"fold 1 of 3 is missing; train it with --fold 1"):
        make_ensemble([folders[0], folders[2]], tmp_path / "out")
    with pytest.raises(ModelError, match="are both fold 0"):
        make_ensemble([folders[0], folders[0], folders[1]], tmp_path / "out")
    record = read(folders[1] / "held_out.json")
    change(folders[1] / "held_out.json", fold=record["fold"] | {"fingerprint": "another"})
    with pytest.raises(ModelError, match=r"fold-1: belongs to another cross-validation than .*fold-0"):
        make_ensemble(folders, tmp_path / "out")
    (folders[1] / "held_out.json").write_text("{}")
    with pytest.raises(ModelError, match=r"held_out\.json: is damaged"):
        make_ensemble(folders, tmp_path / "out")
    (folders[1] / "held_out.json").unlink()
    with pytest.raises(ModelError, match=r"fold-1: holds no held-out scores"):
        pool_folds(folders)
    with pytest.raises(UsageError, match="1 networks do not make an ensemble"):
        make_ensemble(folders[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "name", "value", "told"),
    [
        ("preprocessor_config.json", "threshold", 0.3, r"image processor setting threshold is 0\.3"),
        ("config.json", "dropout", 0.25, r"network setting dropout is 0\.25"),
        ("config.json", "id2label", {"0": "background", "1": "pancreas"}, r"network setting id2label is"),
    ],
)
def test_members_differ_in_their_weights_only(runs, tmp_path, file, name, value, told):
    change(runs / "fold-1" / file, **{name: value})
    with pytest.raises(ModelError, match=rf"fold-1: {told}"):
        make_ensemble([runs / f"fold-{number}" for number in range(FOLDS)], tmp_path / "out")


def test_folds_may_end_with_equal_weights(runs, tmp_path):
    """As with four people in four folds, of which one validates."""
    folders = [shutil.copytree(runs / f"fold-{number}", tmp_path / f"fold-{number}") for number in range(FOLDS)]
    shutil.copy(folders[0] / "model.safetensors", folders[1] / "model.safetensors")
    assert len(make_ensemble(folders, tmp_path / "out")["cases"]) > 0


def test_the_same_weights_twice_and_networks_that_are_no_folds(runs, tmp_path):
    folders = [runs / f"fold-{number}" for number in range(FOLDS)]
    for folder in folders:
        (folder / "held_out.json").unlink()
    with pytest.raises(ModelError, match="have the same weights"):
        make_ensemble([folders[0], shutil.copytree(folders[0], tmp_path / "twin")], tmp_path / "out")
    assert make_ensemble(folders[:2], tmp_path / "out") is None
    assert not (tmp_path / "out" / "cross_validation.json").exists()
    with pytest.raises(ModelError, match="is an ensemble itself"):
        make_ensemble([tmp_path / "out", folders[2]], tmp_path / "more")


def test_the_commands_of_folds_and_ensembles(data, trained, tmp_path, capsys):
    from hf_lesionseg.cli import main as lesionseg

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            lesionseg([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return end.value.code or 0, told.out, told.err

    own = shutil.copytree(data, tmp_path / "data")
    status, out, err = run("folds", own, "--folds", FOLDS)
    assert (status, err) == (0, "")
    assert "3 folds of tiny, seed 0 (SYNTHETIC)" in out
    assert (own / "folds-3.json").read_bytes() == (data / "folds-3.json").read_bytes()
    status, _, err = run("folds", own, "--folds", FOLDS, "--seed", 5)
    assert (status, "exists already" in err) == (2, True)
    status, out, _ = run("folds", own, "--folds", 2, "--keep-test", "--seed", 1)
    assert (status, "in no fold: 1 cases of the test split" in out) == (0, True)
    assert read(own / "folds-2.json")["left_out"] == read(own / "splits.json")["splits"]["test"]
    record = read(own / "dataset.json")
    record["cases"][0]["notes"] = {"person_from": "case"}
    (own / "dataset.json").write_text(json.dumps(record))
    _, _, err = run("folds", own, "--folds", FOLDS)
    assert "warning: the patient of 1 cases is unknown" in err
    status, out, _ = run("ensemble", *(trained / f"fold-{number}" for number in range(FOLDS)), "-o", tmp_path / "e")
    assert status == 0
    assert "Cross-validation on synthetic data" in out
    scans = sorted(trained.parents[1].glob("**/p0_T1w.nii.gz")) or sorted(data.parents[1].glob("*/p0_T1w.nii.gz"))
    status, out, err = run("segment", scans[0], "-m", tmp_path / "e", "-o", tmp_path / "masks", "--keep-largest", 1)
    assert status == 0, err
    record = read(tmp_path / "masks" / "p0_T1w_record.json")
    assert record["model"]["members"] == ["fold-0", "fold-1", "fold-2"]
    assert record["settings"]["keep_largest"] == 1
    assert record["result"]["n_lesions"] <= 1


@pytest.mark.parametrize("fold", ["4", "-1", "some"])
def test_a_fold_that_cannot_be(fold, tmp_path):
    with pytest.raises(UsageError, match=r"--fold is .*; give 0 to 3, or `all`"):
        TrainingArguments("data", str(tmp_path), fold=fold)


def test_more_folds_than_people(data, settings, tmp_path):
    arguments = TrainingArguments(str(data), str(tmp_path / "run"), fold="0", folds=8, **settings)
    with pytest.raises(DataError, match="7 people cannot be shared out into 8 folds"):
        train_folds(arguments)


def test_several_processes_train_the_folds_one_by_one(data, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LaunchError, match="launch the folds one by one"):
        train_folds(TrainingArguments(str(data), str(tmp_path / "run"), fold="all", **settings))
