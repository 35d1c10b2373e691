"""Small heads, and a catalogue of them."""

import pytest

from hf_lesionseg.testing.heads import label_map, write_head_files


@pytest.fixture(scope="session")
def head_files(tmp_path_factory):
    """Folder with ``labels``, ``t1w``, ``masks`` (brain masks of t1w), ``stripped`` and ``lesions.tar``."""
    return write_head_files(tmp_path_factory.mktemp("head_files"))


@pytest.fixture(scope="session")
def head_sources(head_files):
    from hf_lesionseg.datasets.synthetic.heads.catalogue import HeadSources

    return HeadSources(
        labels=[head_files / "labels"],
        heads=[head_files / "t1w"],
        brains=[head_files / "stripped"],
        lesions=[head_files / "lesions.tar"],
        brain_masks=head_files / "masks",
        licences={"labels": "CC0-1.0"},
    )


@pytest.fixture(scope="session")
def catalogue(head_sources, tmp_path_factory):
    pytest.importorskip("SimpleITK", reason='real scans need SimpleITK: pip install "hf-lesionseg[heads]"')
    from hf_lesionseg.datasets.synthetic.heads.catalogue import build_catalogue

    return build_catalogue(head_sources, tmp_path_factory.mktemp("catalogue"), progress=False)


@pytest.fixture(scope="session")
def processor():
    from hf_lesionseg import LesionImageProcessor

    return LesionImageProcessor(
        training_spacing=(4.0, 4.0), size={"height": 64, "width": 48}, normalization="percentile",
        slice_stack="neighbours",
    )  # fmt: skip


@pytest.fixture(scope="session")
def painted_head():
    """The function that paints label maps, by their number."""
    return label_map
