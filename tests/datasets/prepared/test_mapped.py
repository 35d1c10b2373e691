"""A mapped array is what NumPy reads, again and again, and never that of an earlier file."""

import numpy as np
import pytest

from hf_lesionseg.datasets.prepared import mapped
from hf_lesionseg.datasets.prepared.mapped import map_array


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_it_is_what_numpy_maps(tmp_path, dtype, order):
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) % 200, dtype=dtype, order=order))
    expected = np.load(path, mmap_mode="r")
    for _ in range(2):
        found = map_array(path)
        assert (found.dtype, found.flags.c_contiguous) == (expected.dtype, expected.flags.c_contiguous)
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable


def test_the_header_is_read_once_and_anew_of_another_file(tmp_path, monkeypatch):
    path, other = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(path, np.arange(6, dtype=np.float32).reshape(2, 3))
    np.save(other, np.arange(6, dtype=np.int32).reshape(3, 2))
    assert path.stat().st_size == other.stat().st_size
    read = []
    plain = mapped._HEADERS[(1, 0)]
    monkeypatch.setitem(mapped._HEADERS, (1, 0), lambda file: read.append(file.name) or plain(file))
    first = map_array(path)
    for _ in range(5):
        map_array(path)
    assert len(read) == 1
    other.replace(path)
    assert (map_array(path).shape, map_array(path).dtype) == ((3, 2), np.int32)
    assert len(read) == 2
    np.testing.assert_array_equal(first, np.arange(6, dtype=np.float32).reshape(2, 3))  # of the file that was mapped


def test_what_is_damaged_is_an_error_each_time(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((20, 20)))
    whole = path.read_bytes()
    for content in (b"", whole[:3], whole[:100], whole[:-8], b"\x93NUMPY\x09" + whole[7:]):
        path.write_bytes(content)
        for _ in range(2):
            with pytest.raises((OSError, ValueError)):
                map_array(path)
    np.save(path, np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        map_array(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        map_array(path)
