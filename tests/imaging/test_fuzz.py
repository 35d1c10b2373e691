"""A slice of `make fuzz`: mutated files give a typed error or a right result, and each kind of fault occurs."""

import warnings

import fuzz_nifti
import numpy as np
import pytest


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fuzz_nifti.Fuzz(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.filterwarnings("ignore")
def test_a_slice_of_the_fuzz_run(fuzz):
    """Other files than those that `make fuzz` begins with would do as well; these are the same on every machine."""
    assert [found for number in range(120) if (found := fuzz.run(number))] == []
    kinds = {kind for kind, _ in fuzz.counts}
    assert {"header bytes", "header field", "truncation", "voxels"} <= kinds
    assert any(kind.startswith("gzip") for kind in kinds)
    assert {outcome for _, outcome in fuzz.counts} == {"done", "failed"}


def test_a_number_is_always_the_same_file(fuzz):
    name, content = fuzz.bases[2]
    first, again = (fuzz_nifti.mutate(name, content, np.random.default_rng([0, 5])) for _ in range(2))
    assert first == again
    assert first != fuzz_nifti.mutate(name, content, np.random.default_rng([0, 6]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        ("hf_lesionseg.imaging.scan.read_nifti", "no line that names the file|IndexError"),
        ("hf_lesionseg.inference.cohort.read_case", "IndexError"),
    ],
)
def test_an_error_that_is_none_of_ours_is_a_finding(fuzz, monkeypatch, broken, finding):
    def crash(*args, **kwargs):
        raise IndexError("list index out of range")

    monkeypatch.setattr(broken, crash)
    import re

    assert re.search(finding, fuzz.run(0))


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_voxel_and_a_wrong_mask_are_findings(fuzz, monkeypatch):
    original = fuzz_nifti.read_scan

    def one_voxel_off(path):
        scan = original(path)
        scan.data[3, 4, 5] += 1
        return scan

    whole = next(number for number in range(300) if _is_read(fuzz, number))
    monkeypatch.setattr(fuzz_nifti, "read_scan", one_voxel_off)
    assert "voxels differ" in fuzz.run(whole)


def _is_read(fuzz, number):
    before = fuzz.counts.total()
    assert fuzz.run(number) is None
    assert fuzz.counts.total() == before + 1
    return fuzz.last == "done"
