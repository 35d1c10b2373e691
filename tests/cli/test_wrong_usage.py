"""What is not there is wrong usage: status 2 and one line, before a network is loaded or the Hub asked."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection: what is looked at here must not need one."""

    def connect(*_):
        raise AssertionError("the command asked the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.fixture
def place(tmp_path, monkeypatch, write_scan):
    """A folder with a scan, a prepared folder and an output, from where the commands run."""
    monkeypatch.chdir(tmp_path)
    write_scan("scan.nii")
    (tmp_path / "data").mkdir()
    return tmp_path


ABSENT = [
    ("segment absent.nii -o out", "absent.nii: no such file"),
    ("segment scan.nii absent.nii -o out -m org/absent", "absent.nii: no such file"),
    ("segment t1w=scan.nii,flair=absent.nii -o out -m org/absent", "absent.nii: no such file"),
    ("segment data/*.nii.gz -o out -m org/absent", "data/*.nii.gz: no file fits this pattern"),
    ("segment data/sub-[0-9].nii -o out -m org/absent", "data/sub-[0-9].nii: no file fits this pattern"),
    ("segment https://example.org/a.nii -o out -m org/absent", "https://example.org/a.nii: is an address"),
    ("perfusion absent.nii -o out", "absent.nii: no such file"),
    ("perfusion scan.nii -o out --brain absent.nii", "absent.nii: no such file"),
    ("perfusion scan.nii -o out --arterial-input *.nii.gz", "*.nii.gz: no file fits this pattern"),
    ("perfusion data -o out", "data: is a folder; give a file in it"),
    ("evaluate absent data -o out", "absent: no such folder"),
    ("evaluate data scan.nii -o out", "scan.nii: is not a folder"),
    ("evaluate data data -o out --scans absent", "absent: no such folder"),
    ("evaluate data data -o out --splits absent.json", "absent.json: no such file"),
    ("prepare atlas absent -o out", "absent: no such folder"),
    ("prepare nnunet scan.nii -o out", "scan.nii: is not a folder"),
    ("prepare isles2018 data -o out --people absent.csv", "absent.csv: no such file"),
    ("prepare isles2024 data -o out --dwi absent", "absent: no such file"),
    ("prepare pancreas-ct data -o out --labels absent", "absent: no such file"),
    ("prepare heads -o out --heads data --heads absent", "absent: no such file"),
    ("folds absent", "absent: no such folder"),
    ("train --data absent -o out --model org/absent", "absent: no such folder"),
    ("train --data scan.nii -o out", "scan.nii: is not a folder; give a folder that `lesionseg prepare` made"),
    ("train --data data -o out --recipe absent.yaml", "absent.yaml: no such recipe file"),
    ("train --data data -o out --recipe absent", "no recipe is called 'absent'"),
    ("ensemble data absent -o out", "absent: no such folder"),
    ("reproduce res-unet-1 --data absent", "absent: no such folder"),
    ("submit absent -o out", "absent: no such folder"),
    ("push absent org/name", "absent: no such folder"),
    ("segment scan.nii -o out -m no/such/model", "no/such/model: no such folder, and not a Hub id"),
]

IMPOSSIBLE = [
    ("prepare synthetic --count 0 -o out", "count is 0; ask for at least one"),
    ("prepare synthetic --count 1 --seed -1 -o out", "seed is -1; take 0 or more"),
    ("prepare synthetic --count 1 --spacing 7 -o out", "spacing 7 mm is not possible"),
    ("prepare synthetic --count 1 --minimum-ml 500 -o out", "no volumes are left"),
    ("prepare synthetic-organs --count 1 --size 16 -o out", "size is 16; take 64 to 512"),
    ("prepare synthetic-perfusion --count 1 --frames 3 -o out", "num_frames is 3"),
    ("prepare template-heads --count 1 --scanner magnet -o out", "scanner 'magnet' is unknown"),
    ("prepare heads -o out", "give either sources of heads"),
    ("segment scan.nii -o out --threshold 7", "threshold=7.0: give a probability"),
    ("segment scan.nii -o out --precision half", "precision 'half' is unknown"),
    ("segment scan.nii -o out --batch-size 0", "batch size 0 is too small"),
    ("perfusion scan.nii -o out --svd-cutoff 2", "svd_cutoff 2.0: give a share"),
    ("evaluate data data -o out --keep-largest -1", "keep_largest=-1"),
    ("submit data -o out --layout zip", "layout 'zip' is unknown"),
    ("train --data data -o out --max-steps 0", "--max-steps is 0"),
]


@pytest.mark.parametrize(("words", "message"), IMPOSSIBLE, ids=[words for words, _ in IMPOSSIBLE])
def test_an_impossible_value_is_status_2_and_one_line(lesionseg, place, words, message):
    status, text, errors = lesionseg(*words.split())
    assert (status, text) == (2, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), ABSENT, ids=[words for words, _ in ABSENT])
def test_what_is_not_there_is_status_2_and_one_line(lesionseg, place, words, message):
    status, text, errors = lesionseg(*words.split())
    assert (status, text) == (2, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not (place / "out").exists() or not list((place / "out").iterdir())


def test_push_names_the_packaged_networks(lesionseg, place):
    _, _, errors = lesionseg("push", "absent", "org/name")
    assert "the packaged networks are: stroke-t1w" in errors


def test_a_file_that_has_the_signs_of_a_pattern_in_its_name_is_a_file(lesionseg, place, write_scan, model_folder):
    write_scan("scan[1]*.nii")
    assert lesionseg("segment", "scan[1]*.nii", "-m", model_folder, "-o", "out")[0] == 0


def test_a_link_to_nothing_fails_its_own_case_only(lesionseg, place, model_folder):
    (place / "gone.nii").symlink_to("nowhere.nii")
    status, text, errors = lesionseg("segment", "scan.nii", "gone.nii", "-m", model_folder, "-o", "out")
    assert status == 1
    assert "1 of 2 cases" in text
    assert "gone.nii: is a link to nowhere.nii, which is not there" in errors


def test_no_network_is_fetched_for_scans_that_cannot_be_read(lesionseg, place, monkeypatch):
    """The model is nowhere: a run that looked for it would say so."""
    from hf_lesionseg.inference.loading import ModelSource

    monkeypatch.setattr(ModelSource, "load", lambda self: pytest.fail("the network was looked for"))
    (place / "broken.nii").write_bytes(b"text")
    (place / "out").mkdir()
    earlier = place / "out" / "broken_mask.nii.gz"
    earlier.write_bytes(b"an earlier mask")
    words = ("segment", "broken.nii", "data", "-m", "org/absent", "-o", "out", "--overwrite")
    status, text, errors = lesionseg(*words)
    assert status == 1
    assert "0 of 2 cases" in text
    assert "error: broken.nii: " in errors
    assert "error: data: no scan in this folder" in errors
    assert not earlier.exists()
