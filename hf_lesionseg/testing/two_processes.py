"""Two real processes with gloo on one machine, by the documented launch."""

import os
import subprocess
import sys

__all__ = ["finish", "start"]

LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
]


def start(script, data, output, words, *, use_cpu=True, cpu_option=True):
    """Start a training that keeps a checkpoint of every step; ``words`` are more options of ``script``."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("ACCELERATE_USE_CPU", None)
    if use_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    port = str(20000 + os.getpid() % 20000)
    words = words if cpu_option else [word for word in words if word != "--cpu"]
    command = [*LAUNCH, "--main_process_port", port, script, "--data", data, "--output", output]
    return subprocess.Popen(
        [*command, *words, "--checkpointing-steps", "1", "--checkpoints-total-limit", "100"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finish(process):
    """Wait for its end; return exit status and all that it said."""
    text, _ = process.communicate(timeout=300)
    return process.returncode, text
