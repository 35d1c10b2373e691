"""Every row of every table can be planned and built on the data that are generated for it."""

import shlex

import pytest

from hf_lesionseg.cli import main
from hf_lesionseg.reproduce import data as reproduce_data
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.data import Synthetic
from hf_lesionseg.reproduce.papers import TABLES
from hf_lesionseg.reproduce.tables_run import plan_table
from hf_lesionseg.training.network import build_network
from hf_lesionseg.training.recipe import load_recipe


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Tiny data for all tables, by the commands of a table's run, in this process for its imports' sake."""

    def run_command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        assert ended.value.code == 0, shlex.join(map(str, arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce_data, "run_command", run_command)
        yield Synthetic(tmp_path_factory.mktemp("tables"), cases=8, size=64)


@pytest.mark.slow  # generates and prepares data of six kinds
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_is_planned_and_built(generated, table, tmp_path):
    planned, left_out = plan_table(table, generated, tmp_path / "runs", Budget(steps=2, base_width=4, batch_size=4))
    assert left_out == []
    assert [row.name for row, _ in planned] == [row.name for row in table.rows]
    for row, run in planned:
        assert run.dataset.select("test")
        assert run.dataset.synthetic
        recipe = load_recipe(run.write_recipe())
        assert recipe.model_type == row.model_type
        model = build_network(recipe, channels=run.dataset.num_channels, targets=run.dataset.target_channels)
        for name, value in row.model.items():  # as the row says, whatever the data lack
            found = getattr(model.config, name)
            assert (list(found) if isinstance(found, (tuple, list)) else found) == value, (row.name, name)
        assert tuple(row.channels or recipe.processor["channel_names"]) == run.dataset.channel_names
