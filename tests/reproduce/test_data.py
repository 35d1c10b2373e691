"""What a row's recipe takes over from the data that it is trained on."""

import json
import shutil

import pytest

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.data import Prepared, prepared_otherwise, processor_of_strokes
from hf_lesionseg.reproduce.papers import TABLES, find_table
from hf_lesionseg.reproduce.runs import plan_run
from hf_lesionseg.training.recipe import load_recipe


def test_true_dwi_alone_is_not_normalised_by_the_patterns_of_frames_and_maps(prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "dwi")
    record = json.loads((folder / "dataset.json").read_text()) | {"channel_names": ["dwi"]}
    (folder / "dataset.json").write_text(json.dumps(record))
    LesionImageProcessor(channel_names=("dwi",), normalization="z-score").save_pretrained(folder)
    recipe = load_recipe("egs-net-isles2018")
    processor = LesionImageProcessor(**recipe.processor | prepared_otherwise(recipe, PreparedDataset(folder)))
    assert (processor.channel_names, processor.normalization) == (("dwi",), "z-score")


def prepared_by(recipe, prepared, folder):
    """The same data as if they had been prepared by a recipe."""
    shutil.copytree(prepared, folder)
    LesionImageProcessor(**load_recipe(recipe).processor).save_pretrained(folder)
    return PreparedDataset(folder)


def test_of_folders_with_the_same_channel_a_row_takes_the_one_of_its_recipe(prepared, tmp_path):
    """CLCI-Net and Residual U-Net both take T1-weighted scans, of other intensities and another size."""
    clci, res_unet = (prepared_by(name, prepared, tmp_path / name) for name in ("clci-net-atlas", "res-unet-atlas"))
    both = Prepared((clci, res_unet))
    for table_id, own in (("clci-net-1", clci), ("res-unet-1", res_unet)):
        table = find_table(table_id)
        assert {both.of_row(table, row).folder for row in table.rows} == {own.folder}
        assert plan_run(table, table.rows[0], own, tmp_path, Budget()).other_settings == ""
    table, res_unet.synthetic = find_table("clci-net-1"), False
    assert Prepared((res_unet,)).of_row(table, table.rows[0]) is res_unet
    told = plan_run(table, table.rows[0], res_unet, tmp_path, Budget()).other_settings
    assert told.startswith("prepared with another ")
    assert {"size", "normalization"} <= set(told.removeprefix("prepared with another ").split(" and "))


@pytest.mark.parametrize("name", sorted({table.recipe for table in TABLES.values() if table.generator == "strokes"}))
def test_strokes_have_the_grid_of_the_demo_and_the_intensities_of_the_tables_recipe(name):
    """Whatever the demo's own intensities are: CLCI-Net's are a fixed range, Residual U-Net's percentiles."""
    found = LesionImageProcessor(**processor_of_strokes(name)).settings()
    demo, full = (LesionImageProcessor(**load_recipe(each).processor).settings() for each in ("clci-net-demo", name))
    for setting in found:
        if setting in ("size", "training_spacing"):
            assert found[setting] == demo[setting]
        elif setting in ("normalization", "percentiles") or (setting, name) == ("intensity_range", "clci-net-atlas"):
            assert found[setting] == full[setting]
    assert found["threshold"] == LesionImageProcessor().threshold  # the demo's was chosen for its own network
