"""What CI runs is the test command that the README gives."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_ci_runs_the_test_command_of_the_readme(tmp_path):
    assert "<!-- test command -->\n```bash\nmake test\n```" in (REPOSITORY / "README.md").read_text("utf-8")
    (tmp_path / "make").write_text('#!/bin/sh\necho "called: make $*"\n')
    (tmp_path / "make").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", REPOSITORY / ".ci" / "run"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "called: make test" in done.stdout
