"""Networks that are trained in phases: order, which weights move, logging, resume, and several processes."""

import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file

from hf_lesionseg.auto import register_network
from hf_lesionseg.errors import RecipeError
from hf_lesionseg.models import MODEL_REGISTRY
from hf_lesionseg.testing import two_phase_network
from hf_lesionseg.testing.two_phase_network import NETWORK, TwoPartConfig, TwoPartForSemanticSegmentation
from hf_lesionseg.training.checkpoints import list_checkpoints
from hf_lesionseg.training.history import read_history
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.step import phases_of, step_over_batch

#: L-SNet itself, narrow: on batches of two slices, of which many have no lesion in them.
L_SNET = {"model_type": "l-snet", "model": "{base_width: 4, segmenter_depth: 18}", "batch_size": 2, "epochs": 1}
SCRIPT = two_phase_network.__file__


@pytest.fixture(autouse=True)
def two_part(monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY, "two-part", NETWORK)
    register_network(NETWORK)


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe of the two-part network; returns its path."""

    def write(**settings):
        path = tmp_path / "two.yaml"
        lines = {"model_type": "two-part", "epochs": 2, "batch_size": 4, "learning_rate": 0.01} | settings
        path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        return str(path)

    return write


def steps(output):
    return [record for record in read_history(output / "history.jsonl") if record["kind"] == "step"]


def last_weights(output):
    return load_file(list_checkpoints(output / "checkpoints")[-1] / "model.safetensors")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TwoPartForSemanticSegmentation(TwoPartConfig()).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(4, 12, 10, dtype=torch.long)
    labels[:, 3:8, 2:7] = 1
    return {"pixel_values": torch.rand(4, 1, 12, 10, generator=generator) + labels[:, None], "labels": labels}


def step(network, optimizer, batch, phases, **options):
    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare_optimizer(optimizer)
    options = {"max_gradient_norm": None, "seed": (0, 0, 0, 0)} | options
    return step_over_batch(accelerator, network, prepared, batch, phases, **options)


def test_phases_go_in_their_order_and_equal_a_loop_written_out(network, batch):
    written_out = deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = [step(network, optimizer, batch, ("a", "b")) for _ in range(3)]
    assert network.asked == ["a", "b"] * 3

    shared = torch.optim.Adam(written_out.parameters(), lr=0.01)  # one for both, its moments too
    for expected in losses:
        for phase, seen in zip("ab", expected, strict=True):
            shared.zero_grad()
            loss = written_out(**batch, phase=phase).loss
            loss.backward()
            shared.step()
            assert loss.item() == pytest.approx(seen.item(), rel=1e-6)
    for mine, other in zip(network.parameters(), written_out.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=0)


def test_a_phase_moves_the_weights_that_it_uses_and_no_others(network, batch):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    step(network, optimizer, batch, ("a", "b"))  # Adam has moments of all weights now, which could move them
    before = deepcopy(network.state_dict())
    step(network, optimizer, batch, ("a",))
    after = network.state_dict()
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("second"), name
    step(network, optimizer, batch, ("b",))
    assert not any(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_each_phase_is_clipped_by_itself(network, batch):
    """With plain gradient descent of rate 1 a clipped step is as long as the norm."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    for phase in ("a", "b"):
        before = torch.nn.utils.parameters_to_vector(network.parameters()).clone()
        step(network, optimizer, batch, (phase,), max_gradient_norm=1e-3)
        moved = torch.nn.utils.parameters_to_vector(network.parameters()) - before
        assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_a_gradient_scaler_steps_with_each_phase(network, batch):
    """As fp16 uses it on a GPU; a power of two changes no gradient."""
    plain = deepcopy(network)
    accelerator = Accelerator(cpu=True)
    for trained, scaler in ((network, torch.amp.GradScaler("cpu", init_scale=1024.0)), (plain, None)):
        accelerator.scaler = scaler
        optimizer = AcceleratedOptimizer(torch.optim.Adam(trained.parameters(), lr=0.01), scaler=scaler)
        for number in range(3):
            options = {"max_gradient_norm": None, "seed": (0, number)}
            step_over_batch(accelerator, trained, optimizer, batch, ("a", "b"), **options)
    for scaled, unscaled in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(scaled, unscaled, rtol=1e-6, atol=0)


def test_each_phase_draws_its_own_random_numbers(batch):
    """Dropout differs from phase to phase, and is the same wherever the step is taken again."""
    network = TwoPartForSemanticSegmentation(TwoPartConfig(dropout=0.5)).train()
    still = torch.optim.SGD(network.parameters(), lr=0.0)
    first, second, third = step(network, still, batch, ("a", "a", "b"), seed=(0, 3, 1, 0))
    assert first != second
    torch.rand(100)
    assert torch.equal(
        step(network, still, batch, ("a", "a", "b"), seed=(0, 3, 1, 0)), torch.stack([first, second, third])
    )
    assert not torch.equal(step(network, still, batch, ("a",), seed=(0, 3, 2, 0)), first[None])


def test_losses_are_logged_by_name_and_the_boxes_of_the_first_stage_are_scored(run, recipe):
    """Lesions of 5 x 7 pixels on slices of 32 x 32, of which the box is all."""
    output, summary = run(recipe=recipe(), epochs=1)
    records = steps(output)
    assert [record["step"] for record in records] == list(range(1, 7))  # a batch is one step, whatever its phases
    assert summary["run"]["steps"] == 6
    for record in records:
        assert record["loss"] == pytest.approx(record["loss_a"] + record["loss_b"])
        assert record["loss_a"] != record["loss_b"]
    (epoch,) = (each for each in read_history(output / "history.jsonl") if each["kind"] == "epoch")
    assert epoch["validation_miou"] == pytest.approx(35 / 1024)
    assert summary["first_stage_miou"] == pytest.approx({"validation": 35 / 1024, "test": 35 / 1024})
    assert epoch["validation_dice_all_slices"] == pytest.approx(
        summary["metrics"]["validation"]["slice_dice"]["all"]["mean"]
    )


@pytest.mark.parametrize("stop", [1, 8])
def test_a_resumed_run_equals_an_uninterrupted_one(run, recipe, stop):
    options = {"recipe": recipe(model="{dropout: 0.5}", max_gradient_norm=0.5), "checkpointing_steps": "2"}
    expected, _ = run("whole", **options)
    run(max_steps=stop, **options)
    output, _ = run(resume_from_checkpoint="latest", **options)
    assert read_history(output / "history.jsonl")[-1] == read_history(expected / "history.jsonl")[-1]
    assert steps(output) == steps(expected)
    assert all(torch.equal(value, last_weights(expected)[name]) for name, value in last_weights(output).items())


def test_a_rate_that_falls_in_steps_goes_on_where_more_epochs_are_asked_for(run, recipe):
    """L-SNet's schedule, a tenth after so many epochs; an epoch has six steps."""
    options = {"recipe": recipe(scheduler="step", step_epochs=1)}
    expected, _ = run("whole", **options)
    assert [record["learning_rate"] for record in steps(expected)] == pytest.approx([0.01] * 6 + [0.001] * 6)
    run(epochs=1, **options)
    output, _ = run(resume_from_checkpoint="latest", **options)
    assert steps(output) == steps(expected)


def test_half_precision(run, recipe):
    output, summary = run(recipe=recipe(), mixed_precision="bf16", epochs=1)
    assert summary["run"]["mixed_precision"] == "bf16"
    assert steps(output)[-1]["loss"] < steps(output)[0]["loss"]


def test_accumulation_is_refused_with_the_remedy(run, recipe):
    with pytest.raises(RecipeError, match=r"gradient_accumulation_steps is 2, but two-part .*\(a, b\).*larger batch"):
        run(recipe=recipe(gradient_accumulation_steps=2))
    assert phases_of(torch.nn.Linear(1, 1), load_recipe("clci-net-atlas", gradient_accumulation_steps=2)) == ()


def in_two_processes(prepared, output, recipe, *words):
    """Train with gloo, by the documented launch; returns what was printed."""
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", str(20000 + os.getpid() % 20000)),
        *(SCRIPT, "--data", prepared, "--output", output, "--recipe", recipe),
        *("--logging-steps", "1", "--cpu", *words),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_processes_equal_one_with_the_same_global_batch(prepared, run, recipe, tmp_path):
    """Phase "a" leaves the second part without gradient, for which DDP would wait."""
    in_two_processes(prepared, tmp_path / "two", recipe(batch_size=4, epochs=1))
    one, _ = run("one", recipe=recipe(batch_size=8, epochs=1))
    assert len(steps(one)) == 3
    for mine, other in zip(steps(tmp_path / "two"), steps(one), strict=True):
        for name in ("loss", "loss_a", "loss_b"):
            assert mine[name] == pytest.approx(other[name], rel=1e-5)
    for name, value in last_weights(one).items():
        torch.testing.assert_close(last_weights(tmp_path / "two")[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_resume_to_an_uninterrupted_run(prepared, recipe, tmp_path):
    path = recipe(model="{dropout: 0.5}")
    in_two_processes(prepared, tmp_path / "whole", path)
    in_two_processes(prepared, tmp_path / "run", path, "--max-steps", "2")
    in_two_processes(prepared, tmp_path / "run", path, "--resume-from-checkpoint", "latest")
    assert steps(tmp_path / "run") == steps(tmp_path / "whole")
    expected = last_weights(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in last_weights(tmp_path / "run").items())


def test_l_snet_resumes_to_an_uninterrupted_run(run, recipe):
    """Its phases draw regions at random."""
    options = {"recipe": recipe(**L_SNET), "max_steps": 4}
    expected, summary = run("whole", **options)
    run(**options | {"max_steps": 2})
    output, _ = run(resume_from_checkpoint="latest", **options)
    assert steps(output) == steps(expected)
    assert {"loss_locate", "loss_segment"} <= set(steps(output)[0])
    wanted = last_weights(expected)
    assert all(torch.equal(value, wanted[name]) for name, value in last_weights(output).items())
    assert 0 <= summary["first_stage_miou"]["validation"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["unet", "fcn"])
def test_l_snet_trains_in_two_processes(prepared, recipe, tmp_path, architecture):
    """DDP stops at the second step where a weight waits for a gradient that its phase does not give."""
    settings = L_SNET | {"model": f"{{base_width: 4, segmenter_depth: 18, architecture: {architecture}}}"}
    in_two_processes(prepared, tmp_path / "run", recipe(**settings), "--max-steps", "4")
    assert [record["step"] for record in steps(tmp_path / "run")] == [1, 2, 3, 4]
