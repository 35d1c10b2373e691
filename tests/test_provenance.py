"""What a network learned from, after one training, after several, and of several networks."""

import pytest

from hf_lesionseg.provenance import after_training, marks, of_folder, of_record, of_several


@pytest.mark.parametrize(
    ("before", "synthetic", "after"),
    [
        (None, True, "generated"),
        (None, False, "scans"),
        ("scans", True, "generated"),
        ("generated", False, "generated, then scans"),
        ("generated, then scans", False, "generated, then scans"),
        ("generated, then scans", True, "generated"),
    ],
)
def test_the_last_training_decides_and_the_first_is_remembered(before, synthetic, after):
    assert after_training(before, synthetic=synthetic) == after
    assert bool(marks(after)) == (after == "generated")


def test_one_member_of_generated_data_is_enough():
    assert of_several(["scans", "generated", None]) == "generated"
    assert of_several(["scans", None]) is None
    assert of_several(["scans", "generated, then scans"]) == "generated, then scans"
    assert of_several(["scans", "scans"]) == "scans"
    assert of_several([]) is None


def test_where_nothing_is_written_nothing_is_known(tmp_path):
    assert of_folder(tmp_path) is None
    assert of_record(tmp_path / "absent.json") is None
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "training_summary.json").write_text("not JSON")
    assert of_folder(tmp_path) is None
