"""What stands in the tables: networks that can be built, columns that are known, figures that are the papers'."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_lesionseg.errors import UsageError
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.means import first_stage_parameters
from hf_lesionseg.reproduce.papers import TABLES, find_table, find_tables
from hf_lesionseg.reproduce.table import COLUMNS
from hf_lesionseg.training.recipe import load_recipe

EVERY_ROW = [pytest.param(table, row, id=f"{table.id}: {row.name}") for table in TABLES.values() for row in table.rows]


def test_every_row_names_a_network_and_every_column_is_known():
    for table in TABLES.values():
        assert set(table.columns) <= set(COLUMNS)
        assert table.generator in ("organs", "strokes", "perfusion")
        for row in table.rows:
            assert set(row.reported) <= set(table.columns)
            assert load_recipe(table.recipe_of(row)).name
            assert first_stage_parameters(row) > 1e6
    with pytest.raises(UsageError, match="no table is called 'l-snet-9'; use one of l-snet-1"):
        find_table("l-snet-9")


def test_first_stages_have_the_papers_parameters():
    unet, l_net = find_table("l-snet-3").rows
    assert first_stage_parameters(unet) == 14_328_209
    assert first_stage_parameters(l_net) == 14_502_853


def test_clci_nets_tables_are_consistent():
    """VOE is 100 (1 - mean IoU), and the Dice of the mean IoU is above the mean Dice (Jensen), in every row."""
    rows = [row for name in ("clci-net-1", "clci-net-2") for row in find_table(name).rows]
    assert len(rows) == 6 + 8
    for row in rows:
        iou = 1 - row.reported["voe"] / 100
        assert 2 * iou / (1 + iou) >= row.reported["volume_dsc"] / 100, row.name
    assert rows[-1] == rows[5]
    assert [parameters(row) for row in rows[6:]] == [
        7_765_409, 13_497_857, 23_527_009, 13_340_289, 31_327_585, 18_983_297, 29_012_449, 36_813_025,
    ]  # fmt: skip


def parameters(row):
    with torch.device("meta"):
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(row.model_type, **row.model))
    return model.num_parameters()


def test_tables_are_plain_data():
    json.dumps([[row.model, row.reported] for table in TABLES.values() for row in table.rows])


@pytest.mark.parametrize(("table", "row"), EVERY_ROW)
def test_every_row_is_built_narrow(table, row):
    """By the settings that a run gets, and it takes the slices of its recipe's channels."""
    defaults = AutoConfig.for_model(row.model_type)
    channels = len(row.channels or load_recipe(table.recipe_of(row)).processor["channel_names"])
    stacked = 3 if table.generator == "organs" else channels
    config = AutoConfig.for_model(
        row.model_type, **({"num_channels": stacked} | Budget(base_width=4).narrowed(defaults) | row.model)
    )
    model = AutoModelForSemanticSegmentation.from_config(config).eval()
    assert model.num_parameters() < 0.05 * first_stage_parameters(row) or table.generator == "organs"
    with torch.no_grad():
        assert torch.isfinite(model(torch.rand(1, stacked, 64, 64)).logits).all()


def test_ids_of_several_tables():
    assert [table.id for table in find_tables(["ms-dcnn-1", "l-snet-1", "ms-dcnn-1"])] == ["ms-dcnn-1", "l-snet-1"]
    assert [table.id for table in find_tables(["egs-net-1", "all"])] == ["egs-net-1", *list(TABLES)[:-1]]


def test_every_row_of_egs_net_reports_the_papers_dice():
    rows = find_table("egs-net-1").rows
    assert [row.reported["case_dsc"] for row in rows] == [53, 55, 56, 58, 59, 60, 61, 62, 83]
    assert [row.channels for row in rows] == [()] * 8 + [("dwi",)]


def test_res_unet_has_both_wirings_and_the_papers_counts():
    rows = find_table("res-unet-1").rows
    assert [parameters(row) for row in rows] == [7_765_409, 7_412_929, 7_940_513]
    assert all(set(row.reported.values()) == {None} for row in rows)  # "paper: –"
