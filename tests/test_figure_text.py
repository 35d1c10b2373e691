"""Names in other scripts on figures: legible, told apart, and without a warning."""

import warnings

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from PIL import Image

from hf_lesionseg import figure_text
from hf_lesionseg.evaluation.figures.canvas import new_figure, save
from hf_lesionseg.figure_text import make_readable

CHINESE, OTHER = "患者1", "病人1"


@pytest.fixture
def no_font_but_matplotlibs_own(monkeypatch):
    """As on a machine without fonts for other scripts, whatever this one has."""
    monkeypatch.setattr(figure_text, "_family_of", lambda sign: None)


def drawn(name, path):
    figure = new_figure(4, 2, name)
    axes = figure.subplots()
    axes.set_yticks([0, 1], [name, "plain"])
    axes.set_xlabel(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a sign that it cannot draw
        return np.asarray(Image.open(save(figure, path)))


@pytest.mark.usefixtures("no_font_but_matplotlibs_own")
def test_without_a_font_a_sign_is_spelled_out(tmp_path):
    picture = drawn(CHINESE, tmp_path / "a.png")
    assert np.array_equal(picture, drawn(r"\u60a3\u80051", tmp_path / "b.png"))
    assert not np.array_equal(picture, drawn(OTHER, tmp_path / "c.png"))


def test_whatever_fonts_there_are_two_names_differ(tmp_path):
    assert not np.array_equal(drawn(CHINESE, tmp_path / "a.png"), drawn(OTHER, tmp_path / "b.png"))


def test_signs_of_a_font_are_drawn_from_it(monkeypatch):
    monkeypatch.setattr(figure_text, "_family_of", lambda sign: "A Chinese font")
    figure = new_figure(4, 2, CHINESE)
    make_readable(figure)
    title = figure._suptitle
    assert title.get_text() == CHINESE
    assert title.get_family()[-1] == "A Chinese font"


@pytest.mark.usefixtures("no_font_but_matplotlibs_own")
def test_names_that_matplotlib_can_draw_stay(tmp_path):
    figure = new_figure(4, 2, "Kopf ü, пациент, ασθενής, ■ ≥ 5 mL")
    before = figure._suptitle.get_text(), figure._suptitle.get_family()
    make_readable(figure)
    assert (figure._suptitle.get_text(), figure._suptitle.get_family()) == before


def test_a_font_of_placeholders_is_none():
    assert figure_text._family_of("\U000e0001") is None  # a tag that no font draws, but for those with a box for all
    assert ord("A") in figure_text._signs(findfont("DejaVu Sans"))
    assert not figure_text._signs(__file__)
