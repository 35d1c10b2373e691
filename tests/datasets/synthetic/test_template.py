"""The template of the nilearn wheel, and the landmarks that the generator relies on."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hf_lesionseg
from hf_lesionseg.datasets.synthetic.strokes.territories import TERRITORIES, territory_index
from hf_lesionseg.datasets.synthetic.template import load_template
from hf_lesionseg.errors import UsageError


def at(template, volume, x, y, z):
    index = np.linalg.inv(template.affine) @ (x, y, z, 1)
    return float(volume[tuple(np.round(index[:3]).astype(int))])


def test_the_1_mm_template_lies_on_the_grid_of_atlas():
    pytest.importorskip("nilearn")
    template = load_template(1)
    assert template.shape == (197, 233, 189)
    np.testing.assert_array_equal(template.affine, [[1, 0, 0, -98], [0, 1, 0, -134], [0, 0, 1, -72], [0, 0, 0, 1]])
    assert 0 <= template.t1.min() <= template.t1.max() <= 1


def test_tissues_and_fluid_are_where_anatomy_has_them(template):
    assert at(template, template.white, -26, -10, 34) > 0.9  # corona radiata
    assert at(template, template.grey, 12, 10, 10) > 0.5  # head of the caudate nucleus
    assert at(template, template.fluid, -5, 10, 10) > 0.5  # frontal horn
    assert at(template, template.ventricle_distance, -5, 10, 10) < 0
    assert at(template, template.ventricle_distance, 0, -34, 2) > 0, "the cistern behind the midbrain is no ventricle"
    assert at(template, template.ventricle_distance, -48, 10, 10) == pytest.approx(33, abs=6)
    assert at(template, template.surface_distance, 0, -20, 10) < -25
    assert 1.6e6 < template.brain.sum() * template.spacing**3 < 2.1e6


def test_a_coarser_template_shows_the_same_brain_at_the_same_place(template):
    fine = load_template(1)
    assert template.spacing == 2
    assert template.white.sum() * 8 == pytest.approx(fine.white.sum(), rel=1e-4)
    for volume, other in ((template.white, fine.white), (template.t1, fine.t1)):
        centre = [
            np.array(
                [np.average(np.arange(n), weights=v.sum(axis=tuple({0, 1, 2} - {i}))) for i, n in enumerate(v.shape)]
            )
            for v in (volume, other)
        ]
        world = [t.affine[:3, :3] @ c + t.affine[:3, 3] for t, c in zip((template, fine), centre, strict=True)]
        np.testing.assert_allclose(*world, atol=0.01)


def test_an_impossible_spacing_is_refused():
    with pytest.raises(UsageError, match="take 1, 2, 3 or 4"):
        load_template(5)


def test_without_nilearn_the_extra_is_named(tmp_path):
    """A real interpreter whose site-packages have all but nilearn."""
    site = Path(np.__file__).parents[1]
    for entry in site.iterdir():
        if not entry.name.startswith("nilearn") and entry.suffix != ".pth":
            (tmp_path / entry.name).symlink_to(entry)
    script = f"""
import sys
sys.path[:0] = [{str(Path(hf_lesionseg.__file__).parents[1])!r}, {str(tmp_path)!r}]
from hf_lesionseg.datasets.synthetic.template import load_template
load_template(1)
"""
    result = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert "DataError: nilearn is not installed" in result.stderr
    assert 'pip install "hf-lesionseg[synthetic]"' in result.stderr


def test_nilearn_itself_is_not_imported():
    script = """
import sys
from hf_lesionseg.datasets.synthetic.template import load_template
load_template(4)
assert "nilearn" not in sys.modules and "sklearn" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ((-48, -10, 34), "mca_cortical"),  # precentral gyrus, lateral
        ((54, -30, 4), "mca_cortical"),  # superior temporal gyrus
        ((26, 2, 2), "lenticulostriate"),  # putamen
        ((-6, -90, 4), "pca_cortical"),  # calcarine cortex
        ((5, -20, 60), "aca"),  # paracentral lobule
        ((-10, -20, 6), "pca_thalamic"),  # thalamus
        ((4, -26, -30), "basilar"),  # pons
        ((24, -54, -22), "sca"),  # upper cerebellum
        ((-20, -66, -42), "pica_aica"),  # lower cerebellum
    ],
)
def test_landmarks_lie_in_their_territory(point, name):
    assert TERRITORIES[territory_index(np.array(point, float))].name == name


def test_both_hemispheres_are_split_alike():
    points = np.random.default_rng(0).uniform((-70, -100, -50), (70, 70, 80), (500, 3))
    np.testing.assert_array_equal(territory_index(points), territory_index(points * (-1, 1, 1)))
