"""``lesionseg doctor`` on this installation, and on broken ones."""

import importlib.metadata
import subprocess
import sys
import time

import pytest

from hf_lesionseg.doctor import BROKEN, NOTE, OK, examine


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_this_installation_is_whole(lesionseg):
    status, text, _ = lesionseg("doctor")
    assert status == 0
    assert "everything that a run needs is there" in text
    for name in ("torch", "transformers", "convlstm_cell", "memory", "Hub cache", "compilers"):
        assert name in text


def test_the_first_line_does_not_wait_for_torch():
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "hf_lesionseg.cli", "doctor"], stdout=subprocess.PIPE, text=True
    ) as it:
        first, waited = it.stdout.readline(), time.monotonic() - begun
        it.communicate()
    assert "hf_lesionseg" in first
    assert it.returncode == 0
    # 0.3 s and 9 s; the share is the same on a busy machine
    assert waited < 0.3 * (time.monotonic() - begun)


def test_kernels_are_reported_as_they_are():
    from hf_lesionseg import ops

    for op, by_device in ops.backend().items():
        finding = by_name(examine())[f"kernel {op}"]
        assert f"cpu: {by_device['cpu']}" in finding.value
        assert finding.status == (OK if by_device["cpu"] in ("compiled", "jit") else NOTE)


def test_a_missing_or_old_library_is_broken_and_status_1(lesionseg, monkeypatch):
    version = importlib.metadata.version

    def without_nibabel(name):
        if name == "nibabel":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "scipy" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_nibabel)
    findings = by_name(examine())
    assert (findings["nibabel"].status, findings["nibabel"].value) == (BROKEN, "missing")
    assert findings["scipy"].status == BROKEN
    assert "pip install 'scipy>=" in findings["scipy"].remedy
    status, text, _ = lesionseg("doctor")
    assert status == 1
    assert "2 broken" in text


def test_a_network_that_cannot_run_is_broken(monkeypatch):
    from hf_lesionseg import CLCINetForSemanticSegmentation

    def forward(self, pixel_values):
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(CLCINetForSemanticSegmentation, "forward", forward)
    finding = by_name(examine())["network"]
    assert finding.status == BROKEN
    assert "illegal instruction" in finding.value


def test_little_memory_is_noted(monkeypatch):
    import psutil

    memory = psutil.virtual_memory()._replace(available=int(1e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    finding = by_name(examine())["memory"]
    assert finding.status == NOTE
    assert finding.value.startswith("1.0 GB free of")


def test_the_token_is_never_shown(monkeypatch, lesionseg):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecretindeed")
    _, text, errors = lesionseg("doctor")
    assert "hf_very" not in text + errors
    assert "Hub token" in text


@pytest.mark.parametrize("online", [False, True])
def test_the_hub_is_only_asked_when_told_to(monkeypatch, online):
    from huggingface_hub import constants, utils

    asked = []

    class Session:
        def get(self, url, **kwargs):
            asked.append(url)
            raise ConnectionError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(utils, "get_session", Session)
    findings = by_name(examine(online=online))
    assert len(asked) == online
    if online:
        assert (findings["Hub"].status, findings["Hub"].value) == (NOTE, "cannot be reached (ConnectionError)")
