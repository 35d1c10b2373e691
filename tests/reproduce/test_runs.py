"""When two runs are the same, and when one has ended."""

import json

import pytest
from transformers import AutoConfig

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.slices import SliceDataset
from hf_lesionseg.errors import DataError, UsageError
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.data import Prepared
from hf_lesionseg.reproduce.papers import TABLES, find_table
from hf_lesionseg.reproduce.runs import plan_run
from hf_lesionseg.reproduce.tables_run import plan_table
from hf_lesionseg.training.recipe import load_recipe


@pytest.fixture
def dataset(prepared):
    return PreparedDataset(prepared)


def plan(table_id, number, dataset, folder, **budget):
    table = find_table(table_id)
    return plan_run(table, table.rows[number], dataset, folder, Budget(**budget))


def test_tables_share_the_runs_of_equal_networks(dataset, tmp_path):
    baseline, full = (plan("clci-net-1", number, dataset, tmp_path) for number in (4, 5))
    assert baseline.folder == plan("clci-net-2", 0, dataset, tmp_path).folder
    assert full.folder == plan("clci-net-2", 7, dataset, tmp_path).folder
    assert baseline.folder != full.folder
    others = ({"steps": 9}, {"base_width": 8}, {"learning_rate": 1e-4}, {"processes": 2})
    assert len({plan("clci-net-2", 0, dataset, tmp_path, **other).folder for other in others}) == 4
    assert plan("clci-net-2", 0, dataset, tmp_path, seeds=(1, 2)).folder == baseline.folder
    assert not list(tmp_path.iterdir())  # nothing is written before it is trained


def test_a_run_that_was_stopped_for_time_has_not_ended(dataset, tmp_path):
    run = plan("res-unet-1", 0, replace_slices(dataset), tmp_path, steps=40)
    assert (run.is_finished(0), run.steps_done(0)) == (False, None)
    for finished, ended in (("--max-minutes 0.5000", False), ("--max-steps 40", True), ("12 epochs", True)):
        run.seed_folder(0).mkdir(parents=True, exist_ok=True)
        summary = {"run": {"steps": 17, "finished": finished}}
        (run.seed_folder(0) / "training_summary.json").write_text(json.dumps(summary))
        assert (run.is_finished(0), run.steps_done(0)) == (ended, 17)


def replace_slices(dataset):
    """Generated data: the slices 70 to 89 of 189 are then those at their height."""
    dataset.synthetic = True
    return dataset


def test_slices_are_taken_at_their_height_in_generated_scans(dataset, tmp_path):
    planes = dataset.cases[0].num_slices
    run = plan("res-unet-1", 0, replace_slices(dataset), tmp_path)
    first, behind = run.settings["slice_range"]
    assert first == round(planes * 70 / 189)
    assert behind == max(round(planes * 90 / 189), first + 1)


def test_milestones_and_warm_up_keep_their_shares(dataset, tmp_path):
    recipe = load_recipe("egs-net-isles2018")
    table = find_table("egs-net-1")
    short = plan_run(table, table.rows[0], dataset, tmp_path, Budget(steps=20)).settings
    assert (short["scheduler"], short["warmup_epochs"]) == ("cosine", 0)
    per_epoch = -(-sum(case.num_slices for case in dataset.select("train")) // 8)
    long = plan_run(table, table.rows[0], dataset, tmp_path, Budget(steps=720 * per_epoch)).settings
    assert (long["epochs"], long["milestones"]) == (2 * recipe.epochs, [360, 600])
    assert long["warmup_epochs"] == 2 * recipe.warmup_epochs


def test_as_published_means_by_the_recipe(dataset, tmp_path):
    """Width, batches, rate, epochs and validations of the row's recipe; whatever else is asked for comes first."""
    table = find_table("ms-dcnn-1")
    recipe = load_recipe("ms-dcnn-isles2018")
    run = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published())
    slices = sum(case.num_slices for case in dataset.select("train"))
    assert run.steps == 70 * -(-slices // 4)  # 70 epochs of batches of 4, in the paper
    for name in ("batch_size", "epochs", "learning_rate", "scheduler", "validation_every", "monitor"):
        assert run.settings[name] == getattr(recipe, name), name
    assert run.settings["model"]["growth_rate"] == AutoConfig.for_model("ms-dcnn").growth_rate
    two = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published(processes=2))
    assert (two.settings["batch_size"], two.steps) == (2, run.steps)
    asked = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published(steps=9, learning_rate=5e-4)).settings
    assert (asked["epochs"], asked["learning_rate"]) == (-(-9 // -(-slices // 4)), 5e-4)
    three = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published(processes=3))
    assert (three.settings["batch_size"], three.steps) == (
        2,
        70 * -(-slices // 6),
    )  # 6 for 4: none has fewer than its share
    with pytest.raises(UsageError, match="4 slices for 3 processes"):
        Budget.published(batch_size=4, processes=3)


def test_short_runs_fall_along_a_cosine_and_take_few_empty_slices(dataset, tmp_path):
    table = find_table("res-unet-1")  # whose recipe has a constant rate, and takes every slice
    dataset = replace_slices(dataset)
    short = plan_run(table, table.rows[0], dataset, tmp_path, Budget(steps=4, empty_slice_fraction=0.25)).settings
    assert (short["scheduler"], short["empty_slice_fraction"]) == ("cosine", 0.25)
    by_recipe = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published()).settings
    assert (by_recipe["scheduler"], by_recipe["empty_slice_fraction"]) == ("constant", 1.0)


def test_copies_count_only_where_epochs_do(dataset, tmp_path):
    table = find_table("res-unet-1")
    dataset = replace_slices(dataset)
    published = plan_run(table, table.rows[0], dataset, tmp_path, Budget.published(batch_size=2))
    assert published.settings["copies"] == 3  # "repeated 3 times"
    once = SliceDataset(dataset.select("train"), slice_range=published.settings["slice_range"])
    assert published.steps == 100 * -(-3 * len(once) // 2)
    assert plan_run(table, table.rows[0], dataset, tmp_path, Budget(steps=5)).settings["copies"] == 1


def test_the_dwi_loss_weighs_an_error_alike_at_every_size(dataset, tmp_path):
    """It is a 2-norm over the slice: of the paper's 0.002 at 256 x 256, four times that at a quarter of the length."""
    size = dataset.processor().settings()["size"]
    weight = plan("egs-net-1", 3, dataset, tmp_path).settings["model"]["dwi_weight"]
    assert weight == pytest.approx(0.002 * 256 / (size["height"] * size["width"]) ** 0.5)


def test_narrow_networks_have_the_rate_of_their_table(dataset, tmp_path):
    rates = {table.id: table.narrow_rate for table in TABLES.values()}
    assert plan("ms-dcnn-1", 0, dataset, tmp_path).settings["learning_rate"] == rates["ms-dcnn-1"]
    assert plan("egs-net-1", 0, dataset, tmp_path).settings["learning_rate"] == rates["egs-net-1"]
    assert plan("clci-net-1", 0, dataset, tmp_path).settings["learning_rate"] == 3e-4 < rates["clci-net-1"]
    assert plan("ms-dcnn-1", 0, dataset, tmp_path, learning_rate=0.5).settings["learning_rate"] == 0.5
    wide = plan("ms-dcnn-1", 0, dataset, tmp_path, base_width=64).settings["learning_rate"]
    assert wide == load_recipe("ms-dcnn-isles2018").learning_rate


def with_channels(dataset, channels, targets=()):
    """The same folder as one of other channels."""
    other = PreparedDataset(dataset.folder)
    other.channel_names, other.target_channels = tuple(channels), tuple(targets)
    return other


EGS_CHANNELS = load_recipe("egs-net-isles2018").processor["channel_names"]


def test_a_row_without_its_channel_is_left_out_and_named(dataset, tmp_path):
    table = find_table("egs-net-1")
    perfusion = with_channels(dataset, EGS_CHANNELS, ["dwi"])
    planned, left_out = plan_table(table, Prepared((dataset, perfusion)), tmp_path, Budget())
    assert [row.name for row, _ in planned] == [row.name for row in table.rows[:-1]]
    assert {run.dataset for _, run in planned} == {perfusion}
    assert left_out == ["true DWI: no folder of data has the channel dwi alone; give one more after --data"]
    dwi = with_channels(dataset, ["dwi"])
    planned, left_out = plan_table(table, Prepared((perfusion, dwi)), tmp_path, Budget())
    assert (planned[-1][1].dataset, left_out) == (dwi, [])


def test_rows_that_learn_from_what_the_data_lack_are_left_out_and_named(dataset, tmp_path):
    """Before anything is trained: rows with a generator, on data without the DWI that it learns from."""
    table = find_table("egs-net-1")
    planned, left_out = plan_table(table, Prepared((with_channels(dataset, EGS_CHANNELS),)), tmp_path, Budget())
    assert [row.name for row, _ in planned] == ["U-Net + CE", "+ GD", "AU-Net"]
    names, reasons = zip(*(text.split(": ", 1) for text in left_out), strict=True)
    assert names == ("+ G", "+ SDF", "+ SN", "+ E", "+ BN", "true DWI")
    assert all(reason.startswith(f"it learns from dwi, and {dataset.folder} has none") for reason in reasons[:-1])
    assert "--dwi FOLDER" in reasons[0]


def test_a_folder_of_other_channels_serves_no_row(dataset, tmp_path):
    message = "ms-dcnn-1: there is nothing to train; .* no folder of data has the channels tmax, cbf, cbv, mtt; prepare"
    with pytest.raises(DataError, match=message):
        plan_table(find_table("ms-dcnn-1"), Prepared((dataset,)), tmp_path, Budget())
