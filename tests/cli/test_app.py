"""Help that teaches, errors in one line, exit statuses."""

import sys

import pytest
import typer

from hf_lesionseg.cli import app, main
from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.evaluation.metrics import scores


def command_names(command, path=()):
    if not hasattr(command, "commands"):
        yield path
        return
    for name, inner in command.commands.items():
        yield from command_names(inner, (*path, name))


COMMANDS = list(command_names(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_help_for_every_option(lesionseg, path):
    status, text, _ = lesionseg(*path, "--help")
    assert status == 0
    assert f"lesionseg {' '.join(path)} " in " ".join(text.split("Usage:")[1].split("\n", 1)[1].split())
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


def test_help_of_evaluate_names_every_metric_of_the_table(lesionseg):
    _, text, _ = lesionseg("evaluate", "--help")
    words = " ".join(text.split())
    assert "{metrics}" not in words
    assert all(metric.headed_unit in words for metric in scores())
    assert "HD95 (mm)" in words


def test_help_lists_the_commands_in_the_order_of_work(lesionseg):
    status, text, _ = lesionseg("--help")
    assert status == 0
    places = [text.index(f"│ {name} ") for name in ("segment", "prepare", "train", "evaluate", "push", "doctor")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "arguments",
    [["segmnt"], ["segment"], ["segment", "a.nii.gz"], ["doctor", "--bogus"], ["prepare", "isles2016", "x", "-o", "y"]],
)
def test_wrong_usage_is_status_2(lesionseg, arguments):
    status, _, errors = lesionseg(*arguments)
    assert status == 2
    assert "Error" in errors


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("x.nii: broken;\nexport it again"), 1, "error: x.nii: broken; export it again\n"),
        (UsageError("--a and --b exclude each other"), 2, "error: --a and --b exclude each other\n"),
    ],
)
def test_our_errors_are_one_line_and_their_status(lesionseg, monkeypatch, error, status, line):
    def examine(online):
        raise error

    monkeypatch.setattr("hf_lesionseg.doctor.examine", examine)
    assert lesionseg("doctor") == (status, "", line)


def test_unexpected_errors_are_not_hidden(monkeypatch):
    def examine(online):
        raise ZeroDivisionError("in the middle")

    monkeypatch.setattr("hf_lesionseg.doctor.examine", examine)
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        main(["doctor"])


def test_ctrl_c_is_status_130_and_one_line(lesionseg, monkeypatch):
    def examine(online):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_lesionseg.doctor.examine", examine)
    status, output, errors = lesionseg("doctor")
    assert (status, output) == (130, "")
    assert errors.strip().startswith("interrupted")
    assert errors.strip().count("\n") == 0


def test_no_command_shows_help(lesionseg, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lesionseg"])
    status, text, errors = lesionseg()
    assert status in (0, 2)
    assert "Usage" in text + errors
