"""``lesionseg --help`` answers at once, and the console entry is the package's own."""

import json
import subprocess
import sys
import time

HEAVY = ("torch", "transformers", "numpy", "nibabel", "scipy", "matplotlib", "huggingface_hub", "accelerate")


def test_help_imports_nothing_heavy_and_answers_within_a_second():
    program = (
        "import json, sys, contextlib, io\n"
        "from hf_lesionseg.cli import main\n"
        "text = io.StringIO()\n"
        "with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(json.dumps([text.getvalue(), list(sys.modules)]))\n"
    )
    seconds = []
    for _ in range(3):  # the best of three: other programs may be busy
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    text, modules = json.loads(run.stdout)
    assert "segment" in text
    assert [name for name in HEAVY if name in modules] == []
    assert min(seconds) < 1, f"lesionseg --help took {min(seconds):.2f} s"


def test_module_form_and_version():
    run = subprocess.run(
        [sys.executable, "-m", "hf_lesionseg.cli", "--version"], capture_output=True, text=True, check=True
    )
    import hf_lesionseg

    assert run.stdout == f"lesionseg {hf_lesionseg.__version__}\n"
    assert run.stderr == ""
