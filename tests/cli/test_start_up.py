"""``lesionseg --help`` answers at once, and the console entry is the package's own."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "numpy", "nibabel", "scipy", "matplotlib", "huggingface_hub", "accelerate")


def test_help_imports_nothing_heavy_and_takes_less_than_half_a_second_of_the_processor():
    program = (
        "import json, sys, contextlib, io, time\n"
        "from hf_lesionseg.cli import main\n"
        "text = io.StringIO()\n"
        "with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(json.dumps([text.getvalue(), list(sys.modules), time.process_time()]))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    text, modules, seconds = json.loads(run.stdout)
    assert "segment" in text
    assert [name for name in HEAVY if name in modules] == []
    assert seconds < 0.5, f"lesionseg --help took {seconds:.2f} s of the processor"  # others may keep it waiting


@pytest.mark.parametrize("module", ["hf_lesionseg", "hf_lesionseg.cli"])
def test_module_form_and_version(module):
    run = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    import hf_lesionseg

    assert run.stdout == f"lesionseg {hf_lesionseg.__version__}\n"
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("lesionseg tra", {"train"}),
        ("lesionseg train --recipe ms-", {"ms-dcnn-isles2018"}),
        ("lesionseg segment --model str", {"stroke-t1w"}),
        ("lesionseg prepare isles20", {"isles2018", "isles2022", "isles2024"}),
        ("lesionseg prepare atlas --recipe fcn", {"fcn-8s-atlas"}),
        ("lesionseg push str", {"stroke-t1w"}),
    ],
)
def test_the_shell_completes_commands_recipes_and_networks(line, found):
    asked = {"_LESIONSEG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    words = [sys.executable, "-m", "hf_lesionseg"]
    run = subprocess.run(words, capture_output=True, text=True, env=os.environ | asked)
    assert set(run.stdout.split()) == found
    assert run.stderr == ""
