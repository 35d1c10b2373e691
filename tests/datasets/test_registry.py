"""A reader from outside: its subcommand, its row on the page, its prepared folder; and what all generators keep to."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.cli import main
from hf_lesionseg.datasets import registry
from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared.records import CaseRecord, RejectedCase
from hf_lesionseg.datasets.readers.reader import Option, Reader
from hf_lesionseg.datasets.registry import commands, find_reader, page_rows, register
from hf_lesionseg.errors import DataError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "data-sets.md"


@dataclass(frozen=True, kw_only=True)
class Toy(Reader):
    """``NAME.nii.gz`` with ``NAME-lesion.nii.gz``."""

    command = "toy"
    title = "The toy study"
    licence = "CC0-1.0"
    help = """Prepare the toy study.

    `lesionseg prepare toy TOYS -o toys`
    """
    channels = ("flair",)
    fractions = {"train": 0.5, "validation": 0.25, "test": 0.25}

    prefix: Annotated[str, Option("What the names of scans begin with.")] = ""

    def find(self, source, channels=None):
        """Every scan with its lesion."""
        records, rejected = [], []
        scans = [path for path in sorted(Path(source).glob(f"{self.prefix}*.nii.gz")) if "lesion" not in path.name]
        if not scans:
            raise DataError(f"{source}: holds no toy; give the folder of toys")
        for scan in scans:
            name = scan.name.removesuffix(".nii.gz")
            mask = scan.with_name(f"{name}-lesion.nii.gz")
            if mask.is_file():
                records.append(CaseRecord(name, name.partition("_")[0], {"flair": scan}, (mask,)))
            else:
                rejected.append(RejectedCase(scan.name, "no lesion"))
        return records, rejected


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    return register(Toy)


@pytest.fixture
def toys(tmp_path):
    folder = tmp_path / "toys"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        scan = rng.uniform(10, 60, (20, 18, 4)).astype(np.float32)
        lesion = np.zeros(scan.shape, np.uint8)
        lesion[4 : 6 + number, 3:8, 1:3] = 1
        nib.save(nib.Nifti1Image(scan, np.eye(4)), folder / f"t{number}.nii.gz")
        if number:
            nib.save(nib.Nifti1Image(lesion, np.eye(4)), folder / f"t{number}-lesion.nii.gz")
    return folder


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    told = capsys.readouterr()
    return end.value.code or 0, told.out, told.err


def test_a_toy_reader_has_its_subcommand_and_its_prepared_folder(toy, toys, tmp_path, capsys):
    status, text, _ = run(capsys, "prepare", "--help")
    assert status == 0
    assert "Prepare the toy study." in text
    status, text, _ = run(capsys, "prepare", "toy", "--help")
    assert status == 0
    assert all(word in text for word in ("--prefix", "What the names of scans begin with", "--label", "--recipe"))
    status, text, errors = run(capsys, "prepare", "toy", toys, "-o", tmp_path / "out", "--prefix", "t")
    assert status == 0, errors
    assert "The toy study" in text
    assert "left out: no lesion: t0.nii.gz" in errors
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (dataset["name"], dataset["licence"], dataset["synthetic"]) == ("The toy study", "CC0-1.0", False)
    assert (dataset["channel_names"], len(dataset["cases"])) == (["flair"], 4)
    assert json.loads((tmp_path / "out" / "splits.json").read_text())["people"] == {
        "train": 2, "validation": 1, "test": 1,
    }  # fmt: skip
    status, _, errors = run(capsys, "prepare", "toy", toys, "-o", tmp_path / "none", "--prefix", "x")
    assert (status, errors) == (1, f"error: {toys}: holds no toy; give the folder of toys\n")


def test_a_toy_reader_has_its_row(toy):
    assert page_rows()[-1] == "| `toy` | Prepare the toy study | flair | 50 / 25 / 25 % | none |"


def test_the_page_has_the_rows_of_all_readers():
    assert "\n".join(["", *page_rows(), ""]) in PAGE.read_text("utf-8")


def test_a_command_belongs_to_one_reader(toy):
    register(Toy)  # the same again is no clash
    with pytest.raises(ValueError, match=r"'atlas' is the command of ATLAS; give Second another"):
        register(type("Second", (Toy,), {"command": "atlas"}))
    with pytest.raises(ValueError, match=r"'toy' is the command of Toy"):
        register(type("Second", (Toy,), {}))


def test_readers_are_registered_by_their_own_names_and_loaded_when_asked_for():
    assert [find_reader(command).command for command in commands()] == commands()
    program = (
        "import sys\n"
        "from hf_lesionseg.datasets.registry import find_reader\n"
        "find_reader('atlas')\n"
        "print([name for name in sys.modules if 'synthetic' in name or 'torch' in name or name.endswith('bids')])\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_targets_that_a_data_set_never_has_are_wrong_usage(toy, toys, tmp_path):
    with pytest.raises(UsageError, match="The toy study has no dwi to learn from"):
        prepare(Toy(), toys, tmp_path / "out", target_channels=("dwi",))


GENERATORS = [command for command in commands() if find_reader(command).generates]


@pytest.mark.parametrize("command", GENERATORS)
def test_impossible_settings_are_refused_before_anything_is_written(command, tmp_path):
    reader = find_reader(command)
    for wrong in ({"count": 0}, {"count": 2, "seed": -1}):
        with pytest.raises((DataError, UsageError)):
            prepare(reader(**wrong), None, tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()


def test_generated_cases_have_no_source(tmp_path):
    with pytest.raises(UsageError, match="are generated; leave the source out"):
        prepare(find_reader("synthetic-organs")(count=1), tmp_path, tmp_path / "out")
