"""What a probe measures is what training does: set up by the same function, from the same arguments."""

import json

import pytest
from accelerate.state import AcceleratorState

from hf_lesionseg.cli.train import main as train
from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.reproduce import probe, runs
from hf_lesionseg.reproduce.budget import Budget
from hf_lesionseg.reproduce.papers import find_table
from hf_lesionseg.reproduce.runs import plan_run
from hf_lesionseg.training import loop
from hf_lesionseg.training.setup import set_up


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state per process; each set-up is a run of its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def run(prepared, tmp_path):
    table, budget = find_table("clci-net-1"), Budget(steps=3, base_width=4, batch_size=4)
    run = plan_run(table, table.rows[4], PreparedDataset(prepared), tmp_path / "runs", budget)
    run.settings["weight_decay"] = 0.01  # a probe once had none
    return run


def trained_with(optimizer):
    """Kind and settings of an optimizer, and the shapes that it moves."""
    optimizer = getattr(optimizer, "optimizer", optimizer)
    (group,) = optimizer.param_groups
    shapes = [tuple(parameter.shape) for parameter in group["params"]]
    return type(optimizer), {name: value for name, value in group.items() if name != "params"}, shapes


def test_a_probe_builds_the_optimizer_and_the_slices_of_training(run, tmp_path, monkeypatch):
    built = []

    def seen(*arguments, **options):
        built.append(set_up(*arguments, **options))
        return built[-1]

    monkeypatch.setattr(loop, "set_up", seen)
    monkeypatch.setattr(probe, "set_up", seen)
    monkeypatch.setattr(runs, "run_command", lambda command, *words, processes: train(list(map(str, words))))
    (tmp_path / "asked.json").write_text(json.dumps({"runs": [run.options(0, tmp_path / "probed")], "seconds": 0.0}))
    probe.main(tmp_path / "asked.json", tmp_path / "costs.json")
    AcceleratorState._reset_state(reset_partial_state=True)
    run.train(0)
    probed, trained = built
    assert trained_with(probed.optimizer)[1]["weight_decay"] == 0.01
    kinds = [trained_with(each.optimizer) for each in built]
    for group in (kind[1] for kind in kinds):  # training's has taken its steps
        group["lr"] = group["initial_lr"]
    assert kinds[0] == kinds[1]
    assert (probed.recipe, probed.phases, len(probed.loader)) == (trained.recipe, trained.phases, len(trained.loader))
    assert run.steps_done(0) == 3
    (cost,) = json.loads((tmp_path / "costs.json").read_text())["runs"]
    assert set(cost) == {"step", "case", "checkpoint", "batches"}
    assert min(cost.values()) > 0


@pytest.mark.slow  # a process of its own
def test_a_probe_leaves_nothing_and_names_what_cannot_be_trained(run, tmp_path):
    (cost,) = probe.measure_runs([run], seconds=0.1)
    assert cost.total(10) > cost.total(0) > 0
    assert not list(tmp_path.iterdir())
    run.settings["optimizer"] = "none"
    with pytest.raises(LesionSegError, match=r"cannot be trained: status 1: [\s\S]*optimizer"):
        probe.measure_runs([run])
