"""The Hub kernel made of the package's sources: complete, loadable by the ``kernels`` library, and just as exact."""

import ast
import copy
import dataclasses
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jinja2
import pytest
import torch
from torch import nn

from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, ops
from hf_lesionseg.models import layers, reference_ops
from hf_lesionseg.ops import build

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "assemble_hub_kernel.py"
assemble = runpy.run_path(str(SCRIPT))
SETTINGS = assemble["tomllib"].loads((ROOT / "build.toml").read_text())
C_SUFFIXES = {".h", ".cuh", ".cpp", ".cu"}


@pytest.fixture(scope="module")
def project(request):
    """What the script makes. It lies in pytest's cache, so that an unchanged library is compiled once."""
    folder = request.config.cache.mkdir(f"hub_kernel_torch_{torch.__version__}")
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def variant(project):
    (folder,) = (project / "build").iterdir()
    return folder


@pytest.fixture(scope="module")
def kernels():
    return pytest.importorskip("kernels", reason="the kernels library is not installed: no Hub kernel was loaded")


@pytest.fixture(scope="module")
def kernel(kernels, variant):
    return kernels.get_local_kernel(variant.parent, backend="cpu")


@pytest.fixture
def calls_of(kernel):
    """``calls_of(function)``: run it and count the ops of the Hub kernel that ran, by name."""

    def run(function):
        with warnings.catch_warnings(), torch.profiler.profile() as profile:
            warnings.simplefilter("ignore")
            function()
        prefix = f"{kernel.__name__}::"
        return {e.key.removeprefix(prefix): e.count for e in profile.key_averages() if e.key.startswith(prefix)}

    return run


def inputs(with_state, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    gates = 2 * torch.randn(1, 12, 2, 3, generator=generator, dtype=torch.float64)
    # Away from the corners of the hard sigmoid, where a difference quotient means nothing.
    gates = torch.where((gates.abs() - 2.5).abs() < 0.01, gates + 0.1, gates)
    state = torch.randn(1, 3, 2, 3, generator=generator, dtype=torch.float64)
    return [t.to(dtype).requires_grad_() for t in ((gates, state) if with_state else (gates,))]


def plain_cell(gates, state, gate_activation):
    """Shi et al. 2015, eq. 3, without peepholes, written out."""
    i, f, g, o = gates.chunk(4, dim=1)
    squash = torch.sigmoid if gate_activation == "sigmoid" else lambda x: (0.2 * x + 0.5).clamp(0, 1)
    cell = squash(i) * torch.tanh(g)
    if state is not None:
        cell = cell + squash(f) * state
    return squash(o) * torch.tanh(cell), cell


# -- the project


def test_build_toml_lists_every_source_under_its_device():
    files = {path.relative_to(ROOT).as_posix() for path in build.source_folder().rglob("*") if path.is_file()}
    listed = {device: set(assemble["listed_sources"](SETTINGS, device)) for device in ("cpu", "cuda")}
    assert listed["cpu"] | listed["cuda"] == {name for name in files if Path(name).suffix in C_SUFFIXES}
    compiled = {
        device: {ROOT / name for name in names if name.endswith((".cpp", ".cu"))} for device, names in listed.items()
    }
    assert compiled == {"cpu": set(build.cpu_sources()), "cuda": set(build.cuda_sources())}


def test_kernel_builder_can_read_the_settings(kernels, project):
    from kernels._rust import Backend, Build

    assert Build.open(project).general.backends == [Backend.CPU, Backend.CUDA]
    assert SETTINGS["general"]["edition"] == 5
    assert {f"-DTORCH_TARGET_VERSION=0x{2:02x}{10:02x}{0:012x}"} == set(build.DEFINES)
    assert SETTINGS["torch"]["stable-abi"] == {"cpu": "2.10", "cuda": "2.10"}, "as the line above"


def test_the_card_is_a_template_that_renders(kernel):
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    names = {"functions": sorted(set(kernel.__all__) - {"layers"}), "layers": kernel.layers.__all__}
    card = environment.from_string((ROOT / "CARD.md").read_text()).render(
        repo_id="org/lesion", version=1, license="Apache-2.0", **names
    )
    assert card.startswith("---\nlibrary_name: kernels\nlicense: Apache-2.0\ntags:\n")
    assert all(f"- `{name}`" in card for name in (*names["functions"], *names["layers"]))


def test_the_python_files_import_themselves_relatively_torch_and_the_standard_library(variant):
    files = sorted(variant.rglob("*.py"))
    assert len(files) >= 7
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 9))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            strangers = {name.partition(".")[0] for name in names} - {"torch"} - sys.stdlib_module_names
            assert not strangers, f"{file.name} imports {strangers}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "zip":
                assert not node.keywords, f"{file.name}:{node.lineno}: zip(strict=) is newer than Python 3.9"


@pytest.mark.slow
def test_nvcc_compiles_the_cuda_sources_for_the_kernels_namespace(project, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA sources of the Hub kernel were not compiled")
    flags = [*build.NVCC_FLAGS, "-DCUDA_KERNEL", "-DTORCH_EXTENSION_NAME=_lesion_cuda_1a2b", "-O0", "-arch=sm_80"]
    include = f"-I{Path(torch.__file__).parent / 'include'}"
    for name in assemble["listed_sources"](SETTINGS, "cuda"):
        if name.endswith(".cu"):
            compiled = tmp_path / "kernel.o"
            command = [nvcc, "-std=c++20", *flags, include, "-Xcompiler=-fPIC", "-c", project / name, "-o", compiled]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert b"\0_lesion_cuda_1a2b\0" in compiled.read_bytes()
            assert b"\0hf_lesionseg\0" not in compiled.read_bytes()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for folder in (tmp_path, ROOT):
        done = subprocess.run([sys.executable, str(SCRIPT), str(folder), "--no-build"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "name a new folder" in done.stderr
    assert list(tmp_path.iterdir()) == [notes]


def test_other_sources_get_another_namespace(project, tmp_path):
    changed = shutil.copytree(project, tmp_path / "changed", ignore=shutil.ignore_patterns("build", "objects"))
    identifier = assemble["unique_identifier"]
    before = identifier(changed, SETTINGS)
    assert before == identifier(project, SETTINGS)
    with (changed / "csrc" / "convlstm_cell" / "arithmetic.h").open("a") as header:
        header.write("// changed\n")
    assert identifier(changed, SETTINGS) != before


# -- what the Hub holds


def test_the_metadata_is_what_the_library_expects(kernels, variant):
    from kernels._rust import Digest, DigestAlgorithm, Metadata

    metadata = Metadata.read_from_file(variant / "metadata.json")
    assert (metadata.name.python_name, metadata.version, metadata.license) == ("hf_lesionseg_kernels", 1, "Apache-2.0")
    assert metadata.id.startswith("_hf_lesionseg_kernels_cpu_")
    assert (variant / f"{metadata.id}.abi3.so").is_file()
    metadata.digest.validate(Digest.hash_variant(DigestAlgorithm.SHA256, variant))


def test_the_library_needs_no_newer_python_than_39(variant):
    checker = pytest.importorskip("kernel_abi_check", reason="kernel-abi-check is not installed: ABI not checked")
    (library,) = variant.glob("*.abi3.so")
    assert checker.ObjectFile(library).check_python_abi("3.9") == []


def test_a_published_kernel_is_loaded_from_the_hub_without_the_package(kernels, hub, run_python, project, tmp_path):
    report = run_python(
        "journey_of_a_kernel.py",
        project,
        endpoint=hub.endpoint,
        home=tmp_path / "home",
        with_package=False,
    )
    assert report == {"package": None, "calls": ["convlstm_cell", "convlstm_cell_backward"], "error": 0.0}


# -- the functions


def test_it_offers_what_the_package_offers(kernel):
    assert set(kernel.__all__) - {"layers"} == set(ops.__all__) - {"backend"}


def test_the_compiled_kernels_are_registered_under_its_own_name(kernel):
    assert kernel.__name__.startswith("_hf_lesionseg_kernels_cpu_")
    for name in ("convlstm_cell", "convlstm_cell_backward"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"{kernel.__name__}::{name}", "CPU")


@pytest.mark.parametrize("gate_activation", ["hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("with_state", [True, False], ids=["state", "zero state"])
def test_values_and_gradients_are_those_of_the_plain_formula(kernel, calls_of, with_state, gate_activation):
    leaves = inputs(with_state)
    arguments = leaves if with_state else [*leaves, None]
    truth = plain_cell(*arguments, gate_activation)
    grads = [torch.randn_like(t) for t in truth]
    results = {}

    def run():
        results["values"] = kernel.convlstm_cell(*arguments, gate_activation=gate_activation)
        results["gradients"] = torch.autograd.grad(results["values"], leaves, grads)

    assert calls_of(run) == {"convlstm_cell": 1, "convlstm_cell_backward": 1}
    torch.testing.assert_close(results["values"], truth, rtol=0, atol=1e-14)
    torch.testing.assert_close(results["gradients"], torch.autograd.grad(truth, leaves, grads), rtol=0, atol=1e-13)

    def cell(*tensors):
        return kernel.convlstm_cell(*tensors, gate_activation=gate_activation)

    assert torch.autograd.gradcheck(cell, leaves)
    assert torch.autograd.gradgradcheck(cell, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_its_bytes_are_the_packages(kernel, dtype):
    assert ops.backend()["convlstm_cell"]["cpu"] == "compiled"
    results = []
    for function in (kernel.convlstm_cell, ops.convlstm_cell):
        leaves = inputs(True, dtype)
        values = function(*leaves)
        results.append([*values, *torch.autograd.grad(values, leaves, [torch.ones_like(v) for v in values])])
    for of_kernel, of_package in zip(*results, strict=True):
        assert torch.equal(of_kernel, of_package)


def test_other_devices_are_served_in_plain_pytorch(kernel):
    hidden, cell = kernel.convlstm_cell(torch.empty(2, 8, 3, 5, device="meta"))
    assert hidden.shape == cell.shape == (2, 2, 3, 5)


def test_it_compiles_without_a_graph_break(kernel):
    leaves = inputs(True)
    compiled = torch.compile(kernel.convlstm_cell, backend="aot_eager", fullgraph=True)
    for function in (lambda *t: compiled(*t)[0].sum(), lambda *t: kernel.convlstm_cell(*t)[0].sum()):
        gradients = torch.autograd.grad(function(*leaves), leaves)
        torch.testing.assert_close(gradients, torch.autograd.grad(plain_cell(*leaves, "hard_sigmoid")[0].sum(), leaves))


# -- the layers


@dataclasses.dataclass(frozen=True)
class CPULayerRepository:
    """As ``kernels.LocalLayerRepository``, which would look for a CUDA build where torch was built for CUDA."""

    path: Path
    layer_name: str

    def load(self):
        import kernels

        return getattr(kernels.get_local_kernel(self.path, backend="cpu").layers, self.layer_name)


@pytest.fixture
def swap(kernels, kernel, variant):
    """``swap(model, mode, **layers)``: kernelize with the kernel's layer for each class, and undo the preparation."""
    prepared = []

    def swap_(model, mode, **classes):
        for name, cls in classes.items():
            kernels.replace_kernel_forward_from_hub(cls, name)
            prepared.append(cls)
        mapping = {name: {"cpu": CPULayerRepository(variant.parent, name)} for name in kernel.layers.__all__}
        with kernels.use_kernel_mapping(mapping, inherit_mapping=False):
            return kernels.kernelize(model, mode=mode, use_fallback=False)

    yield swap_
    for cls in prepared:
        del cls.kernel_layer_name


def test_kernelize_gives_a_network_without_kernels_the_compiled_cell(kernels, calls_of, swap, monkeypatch):
    # As in a process without the package, where the published network runs on its plain formula.
    monkeypatch.setattr(layers, "convlstm_cell", reference_ops.convlstm_cell)
    torch.manual_seed(0)
    plain = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=4)).double().train()
    swapped = swap(copy.deepcopy(plain), kernels.Mode.TRAINING, ConvLSTM2d=layers.ConvLSTM2d)
    count = sum(isinstance(module, layers.ConvLSTM2d) for module in swapped.modules())
    images = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    labels = (images[:, 0] > 1).long()
    results = {}

    def step(name, model):
        torch.manual_seed(1)
        output = model(pixel_values=images, labels=labels)
        output.loss.backward()
        results[name] = output.logits.detach(), [p.grad for p in model.parameters()]

    assert count > 0
    assert calls_of(lambda: step("plain", plain)) == {}
    assert calls_of(lambda: step("swapped", swapped)) == {
        "convlstm_cell": 2 * count,
        "convlstm_cell_backward": 2 * count,
    }
    torch.testing.assert_close(results["swapped"], results["plain"], rtol=1e-9, atol=1e-12)


class Cell(nn.Module):
    """A layer with the cell's interface, and a forward that must not run once it is swapped."""

    gate_activation = "sigmoid"

    def forward(self, gates, cell_state=None):
        raise AssertionError("the plain layer ran")


def test_kernelize_swaps_a_single_cell_for_training_and_compile(kernels, calls_of, swap):
    mode = kernels.Mode.TRAINING | kernels.Mode.TORCH_COMPILE
    model = swap(nn.ModuleDict({"gates": nn.Conv2d(2, 12, 3), "cell": Cell()}).double(), mode, ConvLSTMCell=Cell)
    gates = model["gates"](torch.ones(1, 2, 5, 5, dtype=torch.float64))
    results = []
    assert calls_of(lambda: results.extend(model["cell"](gates))) == {"convlstm_cell": 1}
    torch.testing.assert_close(tuple(results), plain_cell(gates, None, "sigmoid"))
