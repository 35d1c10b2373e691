"""Figures of the papers' tables by hand, and how a table looks."""

import io
import json

import pytest
from rich.console import Console

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


def test_nothing_to_score():
    found = summarize_slices(Counted([VoxelCounts(0, 0, 0)], [VoxelCounts(0, 0, 0)]))
    assert found["dsc"] is None
    assert found["dsc_small"] is None
    assert found["miou"] is None
    assert found["dsc_all_slices"] == 1


def test_every_row_names_a_network_and_every_column_is_known():
    for table in TABLES.values():
        assert set(table.columns) <= set(COLUMNS)
        for row in table.rows:
            assert set(row.reported) <= set(table.columns)
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
    assert "| row | mIoU paper | mIoU here | DSC paper | DSC here | params paper | params here |" in text
    assert "| L-Net | 86.58 | 70.12 ± 1.50 | – | – | – | 14.50 M |" in text
    assert "SYNTHETIC data" in text
    assert "10 steps of 4 slices at a rate of 0.001" in text
    assert "encoders from scratch, lengths in pixels x 0.25, seeds 0, 1" in text
    assert "SYNTHETIC" not in markdown_table(record(synthetic=False))
    console = Console(file=io.StringIO(), width=160)
    print_table(record(synthetic=True), console)
    assert "70.12 ± 1.50" in console.file.getvalue()
    assert "SYNTHETIC" in console.file.getvalue()


def test_tables_are_plain_data():
    json.dumps([[row.model, row.reported] for table in TABLES.values() for row in table.rows])
