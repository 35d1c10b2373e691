"""How the help speaks: whole, with dashes, and cut off nowhere."""

import ast
import re
from pathlib import Path

import pytest
import typer

from hf_lesionseg import cli
from hf_lesionseg.cli import app

LONGEST_BODY = 30
FOLDER = Path(cli.__file__).parent
#: docs/explanation/words.md
AVOIDED = re.compile(r"\bis no\b|\btells\b|\bwill do\b|\bOf the\b|\bwhere it is another\b")


def commands_of(command, path=()):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_of(inner, (*path, name))


COMMANDS = dict(commands_of(typer.main.get_command(app)))
TEXTS = {
    (path, parameter.name): parameter.help
    for path, command in COMMANDS.items()
    for parameter in command.params
    if parameter.help
}


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "lesionseg")
def test_nothing_is_cut_off(lesionseg, monkeypatch, path, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, text, _ = lesionseg(*path, "--help")
    assert status == 0
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= int(columns)
    assert "<bool>" not in text
    assert not re.search(r"--[a-z]+_", text)


def test_options_are_spelled_with_dashes():
    spelled = {option for command in COMMANDS.values() for each in command.params for option in each.opts}
    assert "--resume-from-checkpoint" in spelled
    assert [option for option in spelled if option.startswith("-") and "_" in option] == []


def test_every_output_has_its_short_spelling():
    outputs = [
        each for command in COMMANDS.values() for each in command.params if each.name in ("output", "output_dir")
    ]
    assert len(outputs) >= 20
    assert all(each.opts == ["--output", "-o"] for each in outputs)


def test_every_help_is_sentences_that_begin_with_what_a_value_is():
    own = {key: text for key, text in TEXTS.items() if key[1] not in ("install_completion", "show_completion")}
    assert len(own) > 150
    for (path, name), text in own.items():
        assert text.endswith("."), f"{' '.join(path)} {name}: {text}"
        assert text[0].isupper(), f"{' '.join(path)} {name}: {text}"
        assert not text.startswith(("Of ", "That ", "How ")), f"{' '.join(path)} {name}: {text}"
        assert not AVOIDED.search(text), f"{' '.join(path)} {name}: {text}"


def test_one_spelling_has_one_meaning():
    threshold = {text.partition(" above")[0] for (_, name), text in TEXTS.items() if name == "threshold"}
    assert threshold == {"Probability"}
    overwrite = [text for (_, name), text in TEXTS.items() if name.startswith("overwrite")]
    assert all(text.startswith("Replace ") for text in overwrite)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_bodies_are_short(path):
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef):
            body = function.body[1:] if ast.get_docstring(function) else function.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= LONGEST_BODY, f"{function.name}: {length} lines"
