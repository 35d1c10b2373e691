"""A quick brain (2 mm), strokes grown in it, whole generated cases, and a small prepared folder."""

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.datasets.synthetic.strokes.anatomy import draw_anatomy
from hf_lesionseg.datasets.synthetic.strokes.case import generate_case
from hf_lesionseg.datasets.synthetic.strokes.presets import PRESETS, draw_plan
from hf_lesionseg.datasets.synthetic.strokes.shapes import choose_seed, grow_stroke
from hf_lesionseg.datasets.synthetic.strokes.territories import find_territory
from hf_lesionseg.datasets.synthetic.template import load_template


@pytest.fixture(scope="session")
def template():
    """The template at 2 mm."""
    pytest.importorskip("nilearn", reason='generated strokes need nilearn: pip install "hf-lesionseg[synthetic]"')
    return load_template(2)


@pytest.fixture(scope="session")
def grown(template):
    """(plan, anatomy, stroke) of 90 strokes of the acute preset in five brains."""
    anatomies = [draw_anatomy(np.random.default_rng([11, number]), template) for number in range(5)]
    strokes = []
    for number in range(90):
        rng = np.random.default_rng([12, number])
        plan = draw_plan(rng, PRESETS["acute"])
        seed = choose_seed(rng, template, find_territory(plan.territory), plan.side)
        anatomy = anatomies[number % 5]
        strokes.append((plan, anatomy, grow_stroke(rng, anatomy, template, plan, seed)))
    return strokes


@pytest.fixture(scope="session")
def chronic_cases(template):
    """Twelve whole cases of the atlas preset of 10 mL and more."""
    return [generate_case(template, PRESETS["atlas"], 5, number, minimum_ml=10) for number in range(12)]


@pytest.fixture(scope="session")
def small_processor():
    """Slices of 24 x 20, intensities 0..100 to [0, 1]."""
    from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(normalization="fixed-range", intensity_range=(0, 100))


@pytest.fixture
def make_records(tmp_path):
    """A function that writes scans of 20 x 24 x 6 voxels of 1 x 1 x 2 mm, each with a bright lesion in its middle."""

    def make(count: int, people: int | None = None) -> list[CaseRecord]:
        rng = np.random.default_rng(count)
        records = []
        for number in range(count):
            scan = rng.uniform(20, 60, (20, 24, 6)).astype(np.float32)
            scan[:, :, 0] = 0  # a slice of air
            mask = np.zeros(scan.shape, np.uint8)
            mask[4 : 6 + number % 8, 6:13, 2:4] = 1
            scan[mask > 0] += 30
            name = f"case{number:03d}"
            affine = np.diag([1.0, 1.0, 2.0, 1.0])
            image, lesion = (tmp_path / "scans" / f"{name}_{kind}.nii.gz" for kind in ("T1w", "mask"))
            image.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(scan, affine), image)
            nib.save(nib.Nifti1Image(mask, affine), lesion)
            person = f"person{number % people if people else number:03d}"
            records.append(CaseRecord(name, person, {"t1w": image}, (lesion,)))
        return records

    return make


@pytest.fixture
def prepared(make_records, small_processor, tmp_path):
    """Six prepared cases."""
    return prepare_cases(
        make_records(6),
        tmp_path / "prepared",
        small_processor,
        Origin("bright blocks", synthetic=True, source=tmp_path / "scans"),
        progress=False,
    )
