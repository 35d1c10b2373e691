"""The demo's verdict, and (slow) a demo too small to pass its bar that still leaves all it promises."""

import pytest

from hf_lesionseg.demo import _report, run_demo
from hf_lesionseg.errors import LesionSegError


@pytest.fixture
def report(tmp_path):
    """Judge a table of Dice values."""
    scores, masks = tmp_path / "evaluation", tmp_path / "masks"
    scores.mkdir()
    masks.mkdir()
    for kind in ("mask.nii.gz", "preview.png", "record.json"):
        (masks / f"a_{kind}").touch()

    def judge(dice, held_out=("a", "b")):
        lines = [f"{case},{value}" for case, value in dice.items()]
        (scores / "metrics.csv").write_text("\n".join(["case,dice", *lines]) + "\n")
        return _report(scores, masks, dict.fromkeys(held_out), seconds=60)

    return judge


def test_the_mean_of_the_held_out_cases_counts(report, capsys):
    assert report({"a": 0.5, "b": 0.8, "another": 0.0}) == pytest.approx(0.65)
    shown = capsys.readouterr().out
    for wanted in ("synthetic", "a  3-D Dice 0.500", "mean of 2  0.650"):
        assert wanted in shown


@pytest.mark.parametrize(
    ("dice", "message"),
    [({"a": 0.5, "b": 0.6}, "below 0.6"), ({"a": 0.9, "b": ""}, "no Dice for b"), ({}, "no Dice for a, b")],
)
def test_what_falls_short_is_an_error(report, dice, message):
    with pytest.raises(LesionSegError, match=message):
        report(dice)


@pytest.mark.slow
def test_a_small_demo_leaves_everything_and_says_that_it_fell_short(tmp_path, capfd):
    with pytest.raises(LesionSegError, match=r"mean Dice .* below 0\.6; training fell short"):
        run_demo(tmp_path / "demo", cases=12, minutes=0.1)
    masks = tmp_path / "demo" / "masks"
    for kind in ("mask.nii.gz", "preview.png", "record.json", "lesions.json"):
        assert list(masks.glob(f"*_{kind}")), kind
    assert (tmp_path / "demo" / "model" / "README.md").is_file()
    assert (tmp_path / "demo" / "evaluation" / "metrics.json").is_file()
    assert "$ lesionseg train" in capfd.readouterr().out


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(LesionSegError, match="holds no earlier demo"):
        run_demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "kept"
