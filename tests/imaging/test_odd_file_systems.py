"""File systems without fsync or links, and permissions: results are written all the same, for all to read."""

import errno
import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from hf_lesionseg.errors import OutputError
from hf_lesionseg.imaging import atomic, replace_folder_aside, write_aside
from hf_lesionseg.imaging.atomic import FileSystemWarning, flush_to_disk, link_or_copy


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(atomic, "_told", set())


def fails_with(number):
    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EPERM])
def test_without_fsync_results_are_written_and_told_of_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", fails_with(number))
    with pytest.warns(FileSystemWarning, match="has no fsync") as told:  # noqa: PT031
        for name in ("one", "two"):
            with write_aside(tmp_path / name) as aside:
                aside.write_text(name)
        with replace_folder_aside(tmp_path / "folder") as aside:
            (aside / "inside").write_text("inside")
    assert len(told) == 1
    assert [(tmp_path / name).read_text() for name in ("one", "two", "folder/inside")] == ["one", "two", "inside"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_or_broken_disk_that_only_fsync_tells_of_is_a_failure(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", fails_with(number))
    with pytest.raises(OutputError, match=r"mask\.nii: cannot be written"), write_aside(tmp_path / "mask.nii") as aside:
        aside.write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_files_without_permission_to_write_are_flushed(tmp_path):
    (tmp_path / "weights").write_bytes(b"w")
    (tmp_path / "weights").chmod(0o444)
    flush_to_disk(tmp_path / "weights")


def test_what_a_link_points_to_is_left_alone(tmp_path):
    (tmp_path / "weights").write_bytes(b"w")
    (tmp_path / "weights").chmod(0o400)
    with replace_folder_aside(tmp_path / "folder") as aside:
        link_or_copy(tmp_path / "weights", aside / "weights")
    assert (tmp_path / "folder" / "weights").is_symlink()
    assert stat.S_IMODE((tmp_path / "weights").stat().st_mode) == 0o400


def test_where_links_fail_files_and_folders_are_copied(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    monkeypatch.setattr("pathlib.Path.symlink_to", fails_with(errno.EPERM))
    with pytest.warns(FileSystemWarning, match="copied, since no link can be made") as told:  # noqa: PT031
        link_or_copy(tmp_path / "source" / "a", tmp_path / "b")
        link_or_copy("source", tmp_path / "whole")
    assert len(told) == 1
    assert (tmp_path / "b").read_text() == (tmp_path / "whole" / "a").read_text() == "a"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_are_those_of_the_umask_whatever_a_library_chose(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with write_aside(tmp_path / "one.safetensors") as aside:
            save_file({"a": torch.zeros(2)}, aside)
            aside.chmod(0o600)  # as safetensors does itself since 0.8
        with replace_folder_aside(tmp_path / "folder") as aside:
            save_file({"a": torch.zeros(2)}, aside / "two.safetensors")
            (aside / "two.safetensors").chmod(0o600)
    finally:
        os.umask(before)
    for name in ("one.safetensors", "folder/two.safetensors"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode, name
