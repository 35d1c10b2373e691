"""What a table tells of how its rows were trained: by the settings that they were really trained with."""

import pytest

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.papers import find_table
from hf_lesionseg.reproduce.report import conditions_of, describe_conditions
from hf_lesionseg.reproduce.runs import plan_run


@pytest.fixture
def conditions(prepared, tmp_path):
    dataset = PreparedDataset(prepared)
    dataset.synthetic = True

    def of(table_id, budget, number=0):
        table = find_table(table_id)
        return conditions_of(plan_run(table, table.rows[number], dataset, tmp_path, budget))

    return of


def test_as_published(conditions):
    found = conditions("ms-dcnn-1", Budget.published())
    assert (found["width"], found["slices"], found["encoders"]) == ("full width", "", "encoders from scratch")
    assert found["steps"].endswith("steps of 4 slices")
    assert found["rate"] == "a rate of 0.001 that stays"
    plateau = conditions("clci-net-1", Budget.published())["rate"]
    assert plateau == "a rate of 0.0001 times 0.2 where the validation stalls, 100 epochs at most"
    assert conditions("egs-net-1", Budget.published())["rate"].endswith("times 0.2 at epochs 180 and 300, of 360")
    assert conditions("l-snet-1", Budget.published())["rate"].endswith("times 0.1 every 25 epochs, of 60")


def test_encoders_are_those_of_each_row(conditions):
    rows = [
        {"row": row.name, "conditions": conditions("clci-net-1", Budget.published(), number)}
        for number, row in enumerate(find_table("clci-net-1").rows)
    ]
    told = next(text for text in describe_conditions(rows) if "encoders" in text)
    assert "microsoft/resnet-{depth} (PSPNet, DeepLabv3+)" in told
    assert "scratch (FCN-8s, DenseUnet, Baseline, CLCI-Net)" in told


def test_short_and_narrow(conditions):
    short = Budget(steps=6, base_width=8, batch_size=4, processes=2, empty_slice_fraction=0.2)
    found = conditions("clci-net-1", short, number=5)
    assert (found["width"], found["steps"]) == ("width 8 for 32", "6 steps of 4 slices in 2 processes")
    assert found["rate"] == "a rate of 0.003 falling to 0 along a cosine"
    assert found["slices"] == "20 % of the slices without lesion in each epoch"
    assert conditions("l-snet-1", short)["slices"] == ""  # it takes none of them anyway
