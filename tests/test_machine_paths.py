"""Texts lose the folders of this machine and keep all else."""

import pytest

from hf_lesionseg.machine_paths import local_name, without_machine_paths


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/jane/scans/a.nii.gz: cannot be read", "a.nii.gz: cannot be read"),
        ("/home/jane doe/scans/a.nii.gz: cannot be read", "a.nii.gz: cannot be read"),
        ("C:\\Users\\Jane Doe\\a.nii: is damaged", "a.nii: is damaged"),
        ("../../jane/a.nii", "a.nii"),
        ("~/runs/best", "best"),
        ("~jane/runs/best", "best"),
        ("/home/jane/runs/best/", "best/"),
        ("'/tmp/p q/r.nii' (read)", "'r.nii' (read)"),
        ("file=/data/x.nii", "file=x.nii"),
        ("file:///home/jane doe/x.nii", "x.nii"),
        ("\\\\hospital\\share\\jane\\x.nii: is damaged", "x.nii: is damaged"),
        ("//hospital/share/jane/x.nii", "x.nii"),
    ],
)
def test_folders_go(text, left):
    assert without_machine_paths(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "org/clci-net",
        "microsoft/resnet-{depth}",
        "https://huggingface.co/org/clci-net/tree/main",
        "arXiv:1907.07008, https://doi.org/10.1/ab",
        "TP / (TP + (FP + FN) / 2) of CBF/CBV in mL/100 g/min",
        "Generated strokes | ATLAS-like",
        "0..1",
        "",
    ],
)
def test_all_else_stays(text):
    assert without_machine_paths(text) == text


def test_the_policy_of_the_tables_stays():
    from hf_lesionseg.evaluation.metrics import empty_mask_policy
    from hf_lesionseg.evaluation.presets import PRESETS

    for text in (empty_mask_policy(), *(preset.policy for preset in PRESETS.values())):
        assert without_machine_paths(text) == text


def test_lists_and_dictionaries_are_walked():
    content = {"failed": [{"reason": "/a/b.nii: no", "n": 1, "none": None, "x": 0.5}], "pair": ("/a/b", True)}
    assert without_machine_paths(content) == {
        "failed": [{"reason": "b.nii: no", "n": 1, "none": None, "x": 0.5}],
        "pair": ["b", True],
    }


def test_the_name_of_a_folder_stands_for_it(tmp_path, monkeypatch):
    (tmp_path / "runs" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert (
        local_name(str(tmp_path / "runs" / "best")) == local_name("runs/best") == local_name("./runs/best/") == "best"
    )
    assert local_name("D:\\runs\\best") == local_name("/gone/best") == local_name("../gone/best") == "best"
    assert local_name("org/best") == "org/best"
    assert local_name(None) is None
