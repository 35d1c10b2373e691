"""A table from generated organs to the printed page, with the command that the README gives."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from PIL import Image

from hf_lesionseg.cli import main
from hf_lesionseg.reproduce import tables_run
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.papers import TABLES

COMMAND = (sys.executable, "-m", "hf_lesionseg.cli", "reproduce")


def reproduce(*arguments, expected=0):
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow  # trains two networks, each in a process of its own
def test_a_table_is_trained_scored_and_written_once(tmp_path):
    options = ("--data", "synthetic", "--output", tmp_path, "--cases", 12, "--size", 64)
    options += ("--steps", 2, "--base-width", 4, "--batch-size", 4)
    done = reproduce("l-snet-3", *options)
    assert "SYNTHETIC" in done.stdout
    record = json.loads((tmp_path / "l-snet-3.json").read_text())
    assert record["synthetic"] is True
    assert record["budget"]["scale"] == 64 / 512
    assert record["budget"]["encoder_weights"] is None
    assert [row["row"] for row in record["rows"]] == ["U-Net", "L-Net"]
    for row in record["rows"]:
        assert row["columns"]["first_stage_parameters"]["mean"] in (14_328_209, 14_502_853)
        for run in row["runs"]:
            summary = json.loads((tmp_path / run / "training_summary.json").read_text())
            assert summary["run"]["steps"] == 2
            scores = json.loads((tmp_path / run / "scores.json").read_text())
            assert 0 <= scores["dsc"] <= 1
            assert row["columns"]["dsc"]["mean"] == pytest.approx(100 * scores["dsc"])
    text = (tmp_path / "l-snet-3.md").read_text()
    assert "| U-Net | 83.83 |" in text
    for kind in ("curves", "dice", "overlays"):
        assert f"(l-snet-3-{kind}.png)" in text
        with Image.open(tmp_path / f"l-snet-3-{kind}.png") as picture:
            assert picture.size[0] > 500
    tidy = read(tmp_path / "l-snet-3.csv")
    assert [(line["row"], line["column"]) for line in tidy] == [
        (row["row"], column) for row in record["rows"] for column in record["columns"]
    ]
    assert {(line["synthetic"], line["notice"]) for line in tidy} == {("True", "SYNTHETIC LESIONS")}
    cases = read(tmp_path / "l-snet-3-cases.csv")
    assert len(cases) == 2 * record["test_cases"]
    for row in record["rows"]:  # a figure of the table lies among those of its cases
        own = [float(line["dsc"]) for line in cases if line["row"] == row["row"] and line["dsc"]]
        measured = row["columns"]["dsc"]
        assert min(own) <= measured["low"] <= measured["mean"] <= measured["high"] <= max(own)

    # L-Net's row is also one of Table 2; nothing is trained again.
    folders = sorted((tmp_path / "runs").iterdir())
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    reproduce("l-snet-2", *options, "--row", "+ L-Net")
    assert sorted((tmp_path / "runs").iterdir()) == folders
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")} == weights


@pytest.mark.slow  # trains two networks, each in a process of its own
def test_a_table_on_strokes(tmp_path):
    options = ("--data", "synthetic", "--output", tmp_path, "--cases", 6, "--steps", 2, "--base-width", 4)
    done = reproduce("clci-net-1", *options, "--batch-size", 4, "--row", "PSPNet", "--row", "Baseline")
    assert "generated strokes" in done.stdout
    assert "VOE here" in done.stdout  # the table is not squeezed into 80 columns
    assert "not prepared as" not in done.stderr
    assert not (tmp_path / "organs").exists()
    record = json.loads((tmp_path / "clci-net-1.json").read_text())
    assert [row["row"] for row in record["rows"]] == ["PSPNet", "Baseline"]
    dataset = json.loads((tmp_path / "strokes" / "preprocessor_config.json").read_text())
    for row in record["rows"]:
        run = tmp_path / row["runs"][0]
        assert json.loads((run / "config.json").read_text())["base_width"] == 4  # of 64, and of 32: not 2
        recipe = json.loads((run / "training_summary.json").read_text())["recipe"]
        assert (recipe["scheduler"], recipe["slices"]) == ("cosine", "all")
        assert recipe["processor"]["size"] == dataset["size"] == {"height": 80, "width": 64}
        assert row["encoder_weights"] is None
        scores = json.loads((run / "scores.json").read_text())
        assert row["columns"]["voe"]["mean"] == scores["voe"]
        assert row["columns"]["volume_dsc"]["mean"] == pytest.approx(100 * scores["volume_dsc"])
    assert "| Baseline | 54.00 |" in (tmp_path / "clci-net-1.md").read_text()


RES_UNET = ("res-unet-1", "--data", "synthetic", "--cases", 6, "--base-width", 4, "--batch-size", 4)


@pytest.mark.slow  # trains two networks, the second one twice
def test_a_table_that_was_broken_off_goes_on(tmp_path):
    """Killed, as a machine that goes down would, in the middle of the second run."""
    options = (*RES_UNET, "--output", tmp_path, "--steps", 60, "--row", "U-Net", "--row", "Residual U-Net")
    process = subprocess.Popen(
        [*COMMAND, *map(str, options)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while not (begun := _runs_with_checkpoints(tmp_path, but=_finished_runs(tmp_path))) or not _finished_runs(tmp_path):
        assert process.poll() is None, "the table was finished before it could be broken off"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (first,), (second,) = _finished_runs(tmp_path), begun
    assert not (second / "training_summary.json").exists()
    assert not (tmp_path / "res-unet-1.json").exists()
    checkpoint = max(int(path.name.rpartition("_")[2]) for path in (second / "checkpoints").iterdir() if path.is_dir())
    logged = [
        line for line in (second / "history.jsonl").read_text().splitlines() if json.loads(line)["step"] < checkpoint
    ]
    weights = (first / "model.safetensors").stat().st_mtime_ns

    reproduce(*options)
    assert (first / "model.safetensors").stat().st_mtime_ns == weights  # not trained again
    assert (second / "history.jsonl").read_text().splitlines()[: len(logged)] == logged  # went on, not anew
    record = json.loads((tmp_path / "res-unet-1.json").read_text())
    assert [(row["finished"], row["steps"]) for row in record["rows"]] == [(True, [60]), (True, [60])]
    assert {str(tmp_path / row["runs"][0]) for row in record["rows"]} == {str(first), str(second)}


def _finished_runs(folder):
    return [path.parent for path in folder.glob("runs/*/seed-0/training_summary.json")]


def _runs_with_checkpoints(folder, but):
    found = {path.parent.parent for path in folder.glob("runs/*/seed-0/checkpoints/[!.]*")}
    return sorted(found - set(but))


@pytest.mark.slow  # tries and trains a network
def test_a_wall_time_chooses_the_steps_and_keeps_them(tmp_path):
    options = (*RES_UNET, "--output", tmp_path, "--row", "U-Net", "--budget", "45s")
    done = reproduce(*options)
    assert "measuring 1 networks" in done.stdout
    chosen = json.loads((tmp_path / "res-unet-1-budget.json").read_text())
    record = json.loads((tmp_path / "res-unet-1.json").read_text())
    assert record["budget"]["steps"] == chosen["steps"] >= 10
    assert record["time_budget"]["seconds"] == 45
    text = (tmp_path / "res-unet-1.md").read_text()
    assert f"0.75 minutes for res-unet-1: {chosen['steps']} steps for every row" in text
    again = reproduce(*options)
    assert "measuring" not in again.stdout
    assert json.loads((tmp_path / "res-unet-1.json").read_text())["rows"][0]["runs"] == record["rows"][0]["runs"]
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.slow  # trains a network in two processes
def test_several_processes_share_the_slices_of_a_step(tmp_path):
    reproduce(*RES_UNET, "--output", tmp_path, "--row", "U-Net", "--steps", 3, "--num-processes", 2)
    record = json.loads((tmp_path / "res-unet-1.json").read_text())
    summary = json.loads((tmp_path / record["rows"][0]["runs"][0] / "training_summary.json").read_text())
    assert (summary["run"]["processes"], summary["run"]["steps"], summary["recipe"]["batch_size"]) == (2, 3, 2)
    assert "3 steps of 4 slices in 2 processes" in (tmp_path / "res-unet-1.md").read_text()


def run(*arguments):
    """The command in this process, for what needs none of its own; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *map(str, arguments)])
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("l-snet-9", "--data", "synthetic"), 2, "no table is called 'l-snet-9'; use one of l-snet-1"),
        (("l-snet-1", "--data", "nowhere"), 2, "nowhere"),
        (("all", "--data", "synthetic", "--budget", "soon"), 2, "budget 'soon' is not a duration"),
        (("all", "--data", "synthetic", "--num-processes", "3"), 2, "8 slices for 3 processes"),
        (("l-snet-1", "--data", "synthetic", "--row", "V-Net"), 2, "l-snet-1 has no row 'V-Net'; its rows: U-Net"),
        (("l-snet-1", "--data", "synthetic", "--budget", "1m", "--steps", "9"), 2, "--budget chooses the steps"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == status
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_trained_before_all_tables_are_looked_at(prepared, tmp_path, monkeypatch, capsys):
    """A row that the second table lacks, and a table that there are no data for."""
    monkeypatch.chdir(tmp_path)
    assert run("clci-net-1", "clci-net-2", "--data", prepared, "--row", "PSPNet") == 2
    assert "clci-net-2 has no row 'PSPNet'" in capsys.readouterr().err
    assert run("ms-dcnn-1", "egs-net-1", "--data", prepared) == 1
    assert "ms-dcnn-1: there is nothing to train" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    trained = []
    monkeypatch.setattr(tables_run, "reproduce_table", lambda table, *_, **__: trained.append(table.id))
    assert run("ms-dcnn-1", "clci-net-1", "--data", prepared) == 0
    assert trained == ["clci-net-1"]
    assert "left out: ms-dcnn-1: there is nothing to train" in " ".join(capsys.readouterr().out.split())


def test_what_is_not_asked_for_depends_on_the_data(prepared, tmp_path, monkeypatch):
    def budget(*arguments):
        found = []
        monkeypatch.setattr(tables_run, "reproduce_tables", lambda *given, **_: found.append(given[3]))
        assert run("res-unet-1", "-o", tmp_path, "--data", *arguments) == 0
        return found[0]

    by_recipe = Budget(steps=None, base_width=64, batch_size=None, validations=None)
    assert budget(prepared) == by_recipe
    assert budget(prepared, "--steps", "9", "--seed", "1", "--seed", "2") == replace(by_recipe, steps=9, seeds=(1, 2))
    short = Budget(empty_slice_fraction=0.2)
    assert budget(prepared, "--budget", "1h") == by_recipe
    assert budget("synthetic", "--budget", "1h") == replace(short, base_width=8, scale=0.25)
    assert budget("synthetic") == replace(short, scale=0.25)
    assert budget("synthetic", "--empty-slice-fraction", "1", "--base-width", "64", "--scale", "1") == Budget(
        base_width=64, empty_slice_fraction=1.0
    )


def test_help_lists_the_tables_without_loading_what_trains_them():
    program = (
        "import sys, contextlib; from hf_lesionseg.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['reproduce', '--help'])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for table in TABLES.values():
        assert f"{table.id}: {table.title}" in " ".join(done.stdout.split())
