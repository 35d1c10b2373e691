"""Run by test_hub_kernel.py, without the package: publish an assembled Hub kernel, then load it by its name.

Prints one JSON object: the package found (none), the ops that ran, and the error against the plain formula.
"""

import json
import sys
import warnings
from pathlib import Path

sys.modules["hf_lesionseg"] = None  # an import of the package fails, also where it is installed

import torch  # noqa: E402
from huggingface_hub import HfApi  # noqa: E402
from kernels import get_kernel  # noqa: E402


def publish(project, repo_id, version):
    """As `kernel-builder upload`: a repository of the type kernel, with one branch for each major version."""
    api = HfApi()
    api.create_repo(repo_id, repo_type="kernel")
    api.create_branch(repo_id, repo_type="kernel", branch=f"v{version}")
    api.upload_folder(
        repo_id=repo_id,
        repo_type="kernel",
        revision=f"v{version}",
        folder_path=project / "build",
        path_in_repo="build",
        ignore_patterns=["**/__pycache__/**"],
    )


def main():
    publish(Path(sys.argv[1]), "org/lesion-kernels", version=1)
    kernel = get_kernel("org/lesion-kernels", version=1, backend="cpu", trust_remote_code=True)
    gates = torch.randn(2, 8, 3, 5, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings(), torch.profiler.profile() as profile:
        warnings.simplefilter("ignore")
        hidden, cell = kernel.convlstm_cell(gates, gate_activation="sigmoid")
        hidden.sum().backward()
    i, _, g, o = gates.detach().chunk(4, dim=1)
    truth = torch.sigmoid(i) * torch.tanh(g)
    error = max((cell - truth).abs().max(), (hidden - torch.sigmoid(o) * torch.tanh(truth)).abs().max())
    names = sorted({event.key for event in profile.key_averages() if event.key.startswith(f"{kernel.__name__}::")})
    report = {
        "package": sys.modules["hf_lesionseg"],
        "calls": [name.partition("::")[2] for name in names],
        "error": round(error.item(), 14),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
