"""Figures of the papers' tables by hand, and how a table looks."""

import io
import json

import pytest
import torch
from rich.console import Console
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_lesionseg.errors import UsageError
from hf_lesionseg.evaluation.metrics import VoxelCounts
from hf_lesionseg.training.paper_tables import COLUMNS, TABLES, find_table
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.reproduce import Budget, first_stage_parameters
from hf_lesionseg.training.table_report import markdown_table, print_table
from hf_lesionseg.training.table_scores import Counted, summarize_slices

#: true positive, false positive, false negative of six slices
SLICES = [
    VoxelCounts(8, 2, 2),  # Dice 0.8, P 0.8, R 0.8
    VoxelCounts(0, 0, 5),  # missed: Dice, P and R 0
    VoxelCounts(30, 0, 10),  # Dice 6/7, P 1, R 0.75
    VoxelCounts(0, 0, 0),  # rightly empty
    VoxelCounts(0, 7, 0),  # a false alarm
    VoxelCounts(4, 4, 0),  # Dice 2/3, P 0.5, R 1
]


def test_columns_by_hand():
    volumes = [sum(SLICES[:3], VoxelCounts(0, 0, 0)), sum(SLICES[3:], VoxelCounts(0, 0, 0))]
    found = summarize_slices(Counted(SLICES, volumes, [0.5, 0.75], [0.5]))
    assert found["dsc"] == pytest.approx((0.8 + 0 + 6 / 7 + 2 / 3) / 4)
    assert found["precision"] == pytest.approx((0.8 + 0 + 1 + 0.5) / 4)
    assert found["recall"] == pytest.approx((0.8 + 0 + 0.75 + 1) / 4)
    assert found["dsc_all_slices"] == pytest.approx((0.8 + 0 + 6 / 7 + 1 + 0 + 2 / 3) / 6)
    # 38 of 38 + 2 found, 17 missed; 4 found, 11 false
    assert found["dsc_volume"] == pytest.approx((76 / (76 + 2 + 17) + 8 / (8 + 11)) / 2)
    # Foreground of 10, 5, 40 and 4 pixels: the third of the four with the least is that of 4 and of 5.
    assert (found["small_pixels"], found["small_slices"]) == (5, 2)
    assert found["dsc_small"] == pytest.approx((0 + 2 / 3) / 2)
    assert (found["miou"], found["miou_single"]) == (0.625, 0.5)
    assert found["dsc_small_organs"] == pytest.approx(8 / 19)  # of 55 and 4 pixels the second
    assert (found["slices"], found["positive_slices"], found["cases"]) == (6, 4, 2)
    # The two volumes: 38 of 40 predicted are right and 55 are true; 4 of 15 and 4.
    assert found["volume_dsc"] == found["dsc_volume"]
    assert found["volume_precision"] == pytest.approx((38 / 40 + 4 / 15) / 2)
    assert found["volume_recall"] == pytest.approx((38 / 55 + 4 / 4) / 2)
    assert found["voe"] == pytest.approx(100 * ((1 - 38 / 57) + (1 - 4 / 15)) / 2)
    assert found["rvd"] == pytest.approx(100 * ((40 / 55 - 1) + (15 / 4 - 1)) / 2)
    assert found["absolute_rvd"] == pytest.approx(100 * ((1 - 40 / 55) + (15 / 4 - 1)) / 2)


def test_volumes_without_foreground_have_no_volume_to_compare_with():
    volumes = [VoxelCounts(1, 1, 1), VoxelCounts(0, 5, 0), VoxelCounts(0, 0, 0), VoxelCounts(0, 0, 3)]
    found = summarize_slices(Counted(volumes, volumes))
    assert found["volume_dsc"] == pytest.approx((0.5 + 0) / 2)
    assert found["volume_precision"] == pytest.approx((0.5 + 0) / 2)
    assert found["rvd"] == pytest.approx((0 - 100) / 2)
    assert found["voe"] == pytest.approx((100 * (1 - 1 / 3) + 100) / 2)


def test_nothing_to_score():
    found = summarize_slices(Counted([VoxelCounts(0, 0, 0)], [VoxelCounts(0, 0, 0)]))
    assert found["dsc"] is None
    assert found["dsc_small"] is None
    assert found["miou"] is None
    assert found["dsc_all_slices"] == 1


def test_every_row_names_a_network_and_every_column_is_known():
    for table in TABLES.values():
        assert set(table.columns) <= set(COLUMNS)
        assert table.generator in ("organs", "strokes")
        for row in table.rows:
            assert set(row.reported) <= set(table.columns)
            assert load_recipe(row.recipe or table.recipe).name
            assert first_stage_parameters(row) > 1e6
    with pytest.raises(UsageError, match="no table is called 'l-snet-9'; use one of l-snet-1"):
        find_table("l-snet-9")


def test_first_stages_have_the_papers_parameters():
    unet, l_net = find_table("l-snet-3").rows
    assert first_stage_parameters(unet) == 14_328_209
    assert first_stage_parameters(l_net) == 14_502_853


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"seeds": ()}, "seeds are"),
        ({"seeds": (1, 1)}, "seeds are"),
        ({"scale": 0}, "scale is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_impossible_budgets(settings, message):
    with pytest.raises(UsageError, match=message):
        Budget(**settings)


def test_lengths_go_with_the_size_of_the_slices():
    assert Budget().in_proportion() == {"margin": 15, "heatmap_sigma": 2, "minimum_component_pixels": 10}
    small = {"margin": 4, "heatmap_sigma": 0.75, "minimum_component_pixels": 1}
    assert Budget(scale=0.25).in_proportion() == small


def test_published_encoders_at_the_published_width():
    recipe = load_recipe("l-snet-pancreas")
    assert Budget(base_width=16).weights_to_start_from(recipe) is None
    assert Budget(base_width=64).weights_to_start_from(recipe) == recipe.encoder_weights
    assert Budget(base_width=64, encoder_weights="none").weights_to_start_from(recipe) is None
    assert Budget(encoder_weights="mine").weights_to_start_from(recipe) == "mine"


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


def test_widths_come_down_in_proportion():
    budget = Budget(base_width=16)
    assert budget.narrowed(AutoConfig.for_model("l-snet")) == {"base_width": 16}
    assert budget.narrowed(AutoConfig.for_model("clci-net")) == {"base_width": 8}
    assert budget.narrowed(AutoConfig.for_model("dense-unet")) == {"base_width": 24, "growth_rate": 12}
    assert Budget(base_width=64).narrowed(AutoConfig.for_model("dense-unet")) == {"base_width": 96, "growth_rate": 48}
    assert Budget(base_width=1).narrowed(AutoConfig.for_model("unet-bn")) == {"base_width": 1}


def test_weights_are_for_rows_whose_recipe_has_some():
    table = find_table("clci-net-1")
    full = Budget(base_width=64)
    found = {row.name: full.weights_to_start_from(load_recipe(row.recipe or table.recipe)) for row in table.rows}
    assert {name for name, weights in found.items() if weights} == {"PSPNet", "DeepLabv3+"}
    assert Budget(encoder_weights="mine").weights_to_start_from(load_recipe("clci-net-atlas")) is None


def record(synthetic):
    return {
        "title": "Stages",
        "source": "Somebody, 2021, Table 3",
        "data": "organs",
        "synthetic": synthetic,
        "paper_data": "Pancreas-CT",
        "budget": {
            "base_width": 8,
            "steps": 10,
            "batch_size": 4,
            "seeds": [0, 1],
            "learning_rate": 0.001,
            "scale": 0.25,
            "encoder_weights": None,
        },
        "rows": [
            {
                "row": "L-Net",
                "reported": {"miou": 86.58},
                "columns": {
                    "miou": {"mean": 70.123, "std": 1.5},
                    "dsc": {"mean": None, "std": None},
                    "first_stage_parameters": {"mean": 14502853, "std": None},
                },
            }
        ],
    }


def test_table_as_text():
    text = markdown_table(record(synthetic=True))
    assert "| row | mIoU paper | mIoU here | DSC | params |" in text
    assert "| L-Net | 86.58 | 70.12 ± 1.50 | – | 14.50 M |" in text
    assert "SYNTHETIC data" in text
    assert "10 steps of 4 slices at a rate of 0.001" in text
    assert "encoders from scratch, lengths in pixels x 0.25, seeds 0, 1" in text
    assert "SYNTHETIC" not in markdown_table(record(synthetic=False))
    console = Console(file=io.StringIO(), width=40)  # a file is as wide as the table
    print_table(record(synthetic=True), console)
    assert "70.12 ± 1.50" in console.file.getvalue()
    assert "SYNTHETIC" in console.file.getvalue()


def test_tables_are_plain_data():
    json.dumps([[row.model, row.reported] for table in TABLES.values() for row in table.rows])
