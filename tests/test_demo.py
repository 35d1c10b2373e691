"""The demo's verdict, and (slow) a demo as small as can be that leaves all it promises."""

import pytest

from hf_lesionseg import demo
from hf_lesionseg.demo import _report, run_demo
from hf_lesionseg.errors import LesionSegError


@pytest.fixture
def report(tmp_path):
    """Read a table of Dice values."""
    scores, masks = tmp_path / "evaluation", tmp_path / "masks"
    scores.mkdir()
    masks.mkdir()
    for kind in ("mask.nii.gz", "preview.png", "record.json"):
        (masks / f"a_{kind}").touch()

    def judge(dice, held_out=("a", "b")):
        lines = [f"{case},{value}" for case, value in dice.items()]
        (scores / "metrics.csv").write_text("\n".join(["case,dice", *lines]) + "\n")
        return _report(scores, masks, dict.fromkeys(held_out))

    return judge


def test_the_mean_of_the_held_out_cases_counts(report, capsys):
    assert report({"a": 0.5, "b": 0.8, "another": 0.0}) == pytest.approx(0.65)
    shown = capsys.readouterr().out
    for wanted in ("synthetic", "a  3-D Dice 0.500", "mean of 2  0.650", "a_preview.png"):
        assert wanted in shown


@pytest.mark.parametrize(("dice", "message"), [({"a": 0.9, "b": ""}, "no Dice for b"), ({}, "no Dice for a, b")])
def test_a_case_without_a_score_is_an_error(report, dice, message):
    with pytest.raises(LesionSegError, match=message):
        report(dice)


@pytest.mark.slow
def test_a_small_demo_leaves_everything(tmp_path, capfd):
    dice = run_demo(tmp_path / "demo", heads=3, steps=2)
    assert set(dice) == {"packaged", "fine-tuned"}
    assert min(dice.values()) >= demo.DICE_BAR
    for step in ("packaged", "fine-tuned"):
        for kind in ("mask.nii.gz", "preview.png", "record.json", "lesions.json"):
            assert list((tmp_path / "demo" / step / "masks").glob(f"*_{kind}")), kind
        assert (tmp_path / "demo" / step / "scores" / "metrics.json").is_file()
    assert (tmp_path / "demo" / "model" / "README.md").is_file()
    shown = capfd.readouterr().out
    assert "--model stroke-t1w" in shown
    assert "--max-minutes" not in shown, "the verdict must not depend on the machine"


@pytest.mark.slow
def test_a_demo_that_falls_short_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "DICE_BAR", 1.1)
    with pytest.raises(LesionSegError, match=r"mean Dice .* of the packaged network is below 1\.1"):
        run_demo(tmp_path / "demo", heads=3, steps=1)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(LesionSegError, match="holds no earlier demo"):
        run_demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"
