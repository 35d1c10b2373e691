"""What setup.py makes: wheels with kernels where they compile, honest pure-Python wheels where they do not."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "csrc", "hf_lesionseg")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources: builds leave the working tree, and the library in it, alone."""
    target = tmp_path / "checkout"
    target.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, target / name)
    return target


def build_wheel(checkout, kernels, **environment):
    """``pip wheel`` without isolation; gives (the finished process, the wheel's path or None)."""
    output = checkout.parent / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-build-isolation", "--no-deps", "-w", str(output), "."]
    chosen = {"HF_LESIONSEG_BUILD_KERNELS": kernels}
    done = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, env=dict(os.environ) | chosen | environment
    )
    return done, next(output.glob("*.whl"), None)


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def folder_without_torch(tmp_path):
    """For PYTHONPATH: hides an installed torch as if it were not there."""
    hidden = tmp_path / "without_torch" / "torch"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('No module named torch')\n")
    return str(hidden.parent)


@pytest.mark.slow
def test_without_torch_the_wheel_is_pure_python(checkout, tmp_path):
    done, wheel = build_wheel(checkout, "auto", PYTHONPATH=folder_without_torch(tmp_path))
    assert done.returncode == 0, done.stderr
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "building without compiled kernels" in done.stdout + done.stderr
    names = names_in(wheel)
    assert not [name for name in names if name.endswith(".so")]
    assert "hf_lesionseg/ops/csrc/convlstm_cell/arithmetic.h" in names, "for HF_LESIONSEG_KERNELS=jit"
    packaged = {p.relative_to(checkout).as_posix() for p in (checkout / "hf_lesionseg").rglob("*") if p.is_file()}
    assert packaged <= names, "recipes and templates travel with the package"


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_pure_python(checkout):
    done, wheel = build_wheel(checkout, "auto", CXX="/nonexistent/compiler")
    assert done.returncode == 0, done.stderr
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "the kernels did not compile" in done.stdout + done.stderr
    assert not [name for name in names_in(wheel) if name.endswith(".so")]
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        assert "Root-Is-Purelib: true" in archive.read(metadata).decode()


@pytest.mark.slow
def test_off_builds_no_kernels(checkout):
    done, wheel = build_wheel(checkout, "off")
    assert done.returncode == 0, done.stderr
    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["torch", "compiler"])
def test_require_makes_a_missing_part_an_error(checkout, tmp_path, missing):
    hide = {"PYTHONPATH": folder_without_torch(tmp_path)} if missing == "torch" else {"CXX": "/nonexistent/compiler"}
    done, wheel = build_wheel(checkout, "require", **hide)
    assert done.returncode != 0
    assert wheel is None
    if missing == "torch":
        assert "install torch first" in done.stdout + done.stderr


@pytest.mark.slow
def test_an_unknown_mode_is_refused(checkout):
    done, _ = build_wheel(checkout, "yes")
    assert done.returncode != 0
    assert "HF_LESIONSEG_BUILD_KERNELS is 'yes'; use one of auto, require, off" in done.stdout + done.stderr


INSTALLED = """
import torch, hf_lesionseg
from pathlib import Path
from hf_lesionseg import ops
from hf_lesionseg.ops import build

print(Path(hf_lesionseg.__file__).parents[1])
print(ops.backend()["convlstm_cell"]["cpu"])
print(ops.convlstm_cell(torch.zeros(1, 8, 2, 2, requires_grad=True))[0].grad_fn.name())
print(build.source_folder(), len(build.cpu_sources()))
"""


@pytest.mark.slow
def test_an_installed_wheel_has_the_kernels_wherever_it_is_imported(checkout, tmp_path):
    done, wheel = build_wheel(checkout, "require")
    assert done.returncode == 0, done.stderr
    assert "-cp310-abi3-" in wheel.name
    assert "hf_lesionseg/ops/_C.abi3.so" in names_in(wheel)
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        env=dict(os.environ) | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    where, path, node, sources = done.stdout.strip().splitlines()
    assert Path(where) == site
    assert path == "compiled"
    assert "convlstm_cell" in node
    folder, count = sources.split()
    assert Path(folder) == site / "hf_lesionseg" / "ops" / "csrc"
    assert int(count) == len(list((ROOT / "csrc").rglob("*.cpp")))
