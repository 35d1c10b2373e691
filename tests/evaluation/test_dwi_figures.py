"""Sheets of label, heat map, true and generated DWI."""

import numpy as np
import pytest
from PIL import Image

from hf_lesionseg.evaluation.figures import DWIRow, dwi_sheet, heat_map_sheet


def row(title="case $1", lesion=True):
    rng = np.random.default_rng(0)
    label = np.zeros((24, 20), bool)
    label[4:9, 6:12] = lesion
    true = rng.normal(0, 1, label.shape) + 3 * label
    return DWIRow(title, label, true, true + rng.normal(0, 1, label.shape), label, 0.7)


@pytest.fixture(params=[heat_map_sheet, dwi_sheet])
def sheet(request):
    return request.param


def test_rows_are_cases_and_equal_input_gives_equal_bytes(sheet, tmp_path):
    one = sheet([row()], tmp_path / "one.png")
    three = sheet([row(), row("b"), row("c", lesion=False)], tmp_path / "three.png")
    with Image.open(one) as small, Image.open(three) as large:
        assert small.width == large.width
        assert large.height > 2 * small.height
        assert np.asarray(large.convert("RGB")).std() > 10
    assert sheet([row()], tmp_path / "again.png").read_bytes() == one.read_bytes()
    assert sheet([row()], tmp_path / "marked.png", synthetic=True).read_bytes() != one.read_bytes()


def test_a_sheet_without_rows_is_refused(sheet, tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        sheet([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_generated_image_is_on_the_scale_of_the_true_one(tmp_path):
    """A flat image looks flat: its noise is not stretched to black and white."""
    full = row()
    flat = DWIRow("flat", full.label, full.true, full.generated * 1e-3, np.zeros_like(full.label), None)
    flatter = DWIRow("flat", full.label, full.true, full.generated * 1e-4, np.zeros_like(full.label), None)
    pictures = []
    for name, each in (("flat", flat), ("flatter", flatter)):
        with Image.open(dwi_sheet([each], tmp_path / f"{name}.png")) as picture:
            pictures.append(np.asarray(picture.convert("L"), float))
    assert np.abs(pictures[0] - pictures[1]).max() < 3
