"""What every reader keeps to, tried on a small tree of each: a new reader is tested by having one here."""

import json
import shutil
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.prepare import prepare
from hf_lesionseg.datasets.prepared import PreparedDataset, writing
from hf_lesionseg.datasets.prepared.records import DataSetWarning
from hf_lesionseg.datasets.registry import commands, find_reader
from hf_lesionseg.errors import DataError, RejectedCasesError

#: People by number; the first has two scans where a layout can hold them, the last one's scan is damaged.
PEOPLE = (1, 2, 3, 4, 5)
DAMAGED = 5
SHAPE = (12, 14, 3)


def voxels_of(number, scan=0):
    """Voxels of the mask of a person's scan: no two have as many."""
    return 2 * number + scan


def mask_of(number, scan=0):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:11, 4:10, 1].flat[: voxels_of(number, scan)] = 1
    return mask


def scan_of(number, mask):
    scan = np.full(SHAPE, -1000, np.int16)
    scan[1:11, 2:12] = np.random.default_rng(number).integers(-120, -80, (10, 10, 3))
    return np.where(mask > 0, np.int16(95), scan)  # soft tissue, if it is CT


@dataclass(frozen=True)
class Tree:
    """Files of one layout: scans and masks by the number of a person, and one file or folder that fits nothing.

    ``scans`` and ``mask`` are patterns with {n} for the person and {t} for the time.
    """

    scans: tuple[str, ...]
    mask: str
    odd: str
    times: bool = True
    beside: dict | None = None

    def write(self, root, people=PEOPLE):
        for number in people:
            for time in (1, 2) if self.times and number == 1 else (1,):
                mask = mask_of(number, time - 1)
                for pattern in self.scans:
                    save(root / pattern.format(n=number, t=time), scan_of(number, mask))
                if number == DAMAGED:
                    path = root / self.scans[0].format(n=number, t=time)
                    path.write_bytes(path.read_bytes()[:150])
                save(root / self.mask.format(n=number, t=time), mask)
        (root / self.mask.format(n=8, t=1)).parent.mkdir(parents=True, exist_ok=True)
        save(root / self.odd, scan_of(9, mask_of(9)))
        for name, text in (self.beside or {}).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 4, 1])), path)


_2018 = "case_{n}{t}/SMIR.Brain.XX.O.%s.{n}{t}/SMIR.Brain.XX.O.%s.{n}{t}.nii"
_2022 = "rawdata/sub-strokecase000{n}/ses-000{t}/sub-strokecase000{n}_ses-000{t}_"
_2024 = "derivatives/sub-stroke000{n}/ses-0{s}/sub-stroke000{n}_ses-0{s}_"
TREES = {
    "atlas": Tree(
        ("Site1/03000{n}/t0{t}/03000{n}_t1w_deface_stx.nii.gz",),
        "Site1/03000{n}/t0{t}/03000{n}_LesionSmooth_stx.nii.gz",
        "Site1/030009/t01/030009_t1w_deface_stx.nii.gz",
    ),
    "bids": Tree(
        ("sub-{n}/ses-{t}/anat/sub-{n}_ses-{t}_T1w.nii.gz",),
        "derivatives/lesions/sub-{n}/ses-{t}/anat/sub-{n}_ses-{t}_label-lesion_mask.nii.gz",
        "sub-9/ses-1/anat/sub-9_ses-1_T1w.nii.gz",
    ),
    "nnunet": Tree(
        ("imagesTr/case{n}_0000.nii.gz",), "labelsTr/case{n}.nii.gz", "imagesTr/case9_0000.nii.gz", times=False
    ),
    "isles2018": Tree(
        tuple(_2018 % (kind, kind) for kind in ("CT_CBF", "CT_CBV", "CT_MTT", "CT_Tmax")),
        _2018 % ("OT", "OT"),
        "case_9/SMIR.Brain.XX.O.CT_CBF.9.nii",
        beside={
            f"case_{n}{t}/SMIR.Brain.XX.O.OT.{n}{t}/SMIR.Brain.XX.O.OT.{n}{t}.json": json.dumps(
                {"description": f"ISLES 2018 - OT - Train_{n}_{'AB'[t - 1]}"}
            )
            for n, t in [(1, 2), *((n, 1) for n in PEOPLE)]
        },
    ),
    "isles2022": Tree(
        (f"{_2022}dwi.nii.gz", f"{_2022}adc.nii.gz"),
        "derivatives/sub-strokecase000{n}/ses-000{t}/sub-strokecase000{n}_ses-000{t}_msk.nii.gz",
        "rawdata/sub-strokecase0009/ses-0001/sub-strokecase0009_ses-0001_dwi.nii.gz",
    ),
    "isles2024": Tree(
        tuple(_2024.replace("{s}", "1") + f"space-ncct_{kind}.nii.gz" for kind in ("tmax", "cbf", "cbv", "mtt")),
        _2024.replace("{s}", "2") + "lesion-msk.nii.gz",
        "derivatives/sub-stroke0009/ses-01/sub-stroke0009_ses-01_space-ncct_tmax.nii.gz",
        times=False,
    ),
    "pancreas-ct": Tree(
        ("data/PANCREAS_000{n}.nii.gz",), "labels/label000{n}.nii.gz", "data/PANCREAS_0009.nii.gz", times=False
    ),
}
READERS = [command for command in commands() if not find_reader(command).generates]
every = pytest.mark.parametrize("command", READERS)


def reader_of(command):
    return find_reader(command)()


@pytest.fixture
def source(command, tmp_path):
    return TREES[command].write(tmp_path / "source")


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def prepared(command, source, output):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataSetWarning)  # the trees tell who is who
        return prepare(reader_of(command), source, output, progress=False)


def test_every_reader_has_a_tree():
    assert set(READERS) <= set(TREES)


@every
def test_says_what_it_is(command):
    reader = find_reader(command)
    assert reader.command == command
    assert reader.title
    assert reader.licence
    assert f"`lesionseg prepare {command} " in reader.help
    assert sum(reader.fractions.values()) == pytest.approx(1)
    assert set(reader.fractions) == {"train", "validation", "test"}


@every
def test_a_folder_without_its_files_is_a_typed_error_of_one_line(command, tmp_path):
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "holiday"
    save(foreign / "beach.nii.gz", mask_of(1))
    for folder in (tmp_path / "absent", tmp_path / "empty", foreign):
        with pytest.raises(DataError) as error:
            reader_of(command).find(folder)
        text = str(error.value)
        assert folder.name in text
        assert "give" in text, "the remedy"
        assert "\n" not in text


@every
def test_finds_cases_once_and_lists_what_it_rejected(command, source):
    records, rejected = reader_of(command).find(source)
    ids = [record.id for record in records]
    assert len(ids) == len(PEOPLE) + TREES[command].times
    assert len({each.casefold() for each in ids}) == len(ids)
    assert len({record.person for record in records}) == len(PEOPLE), "scans of one person share their person"
    channels = reader_of(command).default_processor(source).channel_names
    for record in records:
        assert set(channels) <= set(record.images)
        assert all(Path(path).is_file() for path in (*record.images.values(), *record.masks))
        assert len(record.masks) == 1
    odd = TREES[command].odd
    (found,) = rejected
    assert odd.startswith(found.path), f"{found} is not about {odd}"
    assert found.reason
    assert "\n" not in found.reason


@every
def test_order_depends_on_names_only(command, source, tmp_path):
    """Not on the order in which a file system lists them, nor on that of their making."""
    again = tmp_path / "again"
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            copy = again / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    found = [reader_of(command).find(folder) for folder in (source, source, again)]
    orders = [[record.id for record in records] for records, _ in found]
    assert orders[0] == orders[1] == orders[2]
    assert found[0] == found[1]
    assert found[0][1] == found[2][1]


@every
def test_prepares_masks_with_their_scans_and_people_in_one_split(command, source, tmp_path):
    dataset = prepared(command, source, tmp_path / "out")
    assert len(dataset.cases) == len(PEOPLE) - 1 + TREES[command].times, "all but the damaged one"
    found = sorted(int(case.truth().data.sum()) for case in dataset.cases)
    assert found == sorted({voxels_of(n) for n in PEOPLE if n != DAMAGED} | ({3} if TREES[command].times else set()))
    for case in dataset.cases:
        planes = case.planes()
        inside = planes[case.labels()[:, None].repeat(planes.shape[1], 1) > 0]
        assert inside.min() > np.median(planes), f"{case.id}: the mask lies on what is bright in its own scan"
    homes = {}
    for split, ids in dataset.splits().items():
        for case in dataset.cases:
            if case.id in ids:
                homes.setdefault(case.person, set()).add(split)
    assert all(len(splits) == 1 for splits in homes.values())
    reasons = {each["path"]: each["reason"] for each in dataset.rejected}
    assert len(reasons) == 2
    damaged = TREES[command].scans[0].format(n=DAMAGED, t=1)
    assert any(Path(damaged).name in f"{path} {reason}" for path, reason in reasons.items())


@every
def test_twice_is_the_same(command, source, tmp_path):
    prepared(command, source, tmp_path / "out")
    first = files_in(tmp_path / "out")
    prepared(command, source, tmp_path / "out")
    assert files_in(tmp_path / "out") == first
    prepared(command, source, tmp_path / "other")
    assert files_in(tmp_path / "other") == first


@every
def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(command, source, tmp_path, monkeypatch):
    prepared(command, source, tmp_path / "whole")
    write_mask, calls = writing.write_mask, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C when the third case has its slices and not yet its mask
        return write_mask(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_mask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepared(command, source, tmp_path / "out")
    assert len(list((tmp_path / "out" / "cases").iterdir())) == 2
    left, whole = files_in(tmp_path / "out"), files_in(tmp_path / "whole")
    assert all(left[name] == whole[name] for name in left if name.startswith(("cases/", "source/")))
    with pytest.raises(DataError, match="is not finished; run the same `lesionseg prepare` again"):
        PreparedDataset(tmp_path / "out")
    prepared(command, source, tmp_path / "out")
    assert files_in(tmp_path / "out") == whole


@every
def test_without_a_usable_case_the_reasons_come_with_the_error(command, tmp_path):
    source = TREES[command].write(tmp_path / "source", people=())
    with pytest.raises(RejectedCasesError, match=rf"{source.name}: none of its 1 \w+ can be used, ") as error:
        prepared(command, source, tmp_path / "out")
    assert [TREES[command].odd.startswith(each.path) for each in error.value.rejected] == [True]
    assert not (tmp_path / "out").exists()
