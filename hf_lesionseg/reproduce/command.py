"""One command of the package in a process of its own, or in several that train together."""

import os
import subprocess
import sys

import torch

from ..errors import LesionSegError

_COMMAND = "hf_lesionseg.cli"


def run_command(*arguments, processes=1):
    """Run ``lesionseg ...``; its output is shown.

    Raises
    ------
    LesionSegError
        If it fails.
    """
    arguments = list(map(str, arguments))
    done = subprocess.run(launched(_COMMAND, arguments, processes), check=False, env=environment(processes))
    if done.returncode:
        raise LesionSegError(f"`lesionseg {' '.join(arguments)}` failed with status {done.returncode}; see above")


def launched(module, arguments, processes):
    """The command line that runs a module in so many processes."""
    if processes == 1:
        return [sys.executable, "-m", module, *arguments]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    launcher += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*launcher, "-m", module, *arguments]


def environment(processes):
    """Return the commands' environment: Accelerate needs to know that several processes share the CPU."""
    alone = processes == 1 or torch.cuda.is_available()
    return os.environ if alone else os.environ | {"ACCELERATE_USE_CPU": "true"}
