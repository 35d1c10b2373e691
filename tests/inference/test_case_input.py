from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import ScanError, UsageError
from hf_lesionseg.inference.case_input import parse_case, parse_cases, scan_stem

MAPS = ("tmax", "cbf", "cbv", "mtt")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/sub-01_T1w.nii.gz", "sub-01_T1w"),
        ("scan.NII", "scan"),
        ("scan.hdr", "scan"),
        ("köpf 1.2.nii.gz", "köpf 1.2"),
        (".nii.gz", ".nii.gz"),
    ],
)
def test_stem_is_the_name_without_the_scan_suffix(name, stem):
    assert scan_stem(name) == stem
    assert parse_case(name).stem == stem


def test_a_plain_file_is_the_only_channel(tmp_path):
    touch(tmp_path, "s.nii.gz")
    assert parse_case(tmp_path / "s.nii.gz").files(("t1w",)) == {"t1w": tmp_path / "s.nii.gz"}
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 1), np.uint8), None), tmp_path / "v.nii.gz")
    with pytest.raises(ScanError, match=r"needs 4 channels; give a folder or tmax=FILE,cbf=FILE.*4-D perfusion series"):
        parse_case(tmp_path / "v.nii.gz").files(MAPS)
    with pytest.raises(ScanError, match=r"absent\.nii: no such file"):
        parse_case(tmp_path / "absent.nii").files(("t1w",))


def test_channels_by_name_in_the_networks_order(tmp_path):
    touch(tmp_path, "p_mtt.nii", "p_cbf.nii", "p_tmax.nii", "p,x_cbv.nii")
    text = ",".join(f"{name}={tmp_path}/p_{name}.nii" for name in ("mtt", "cbf", "tmax"))
    case = parse_case(f"{text},cbv={tmp_path}/p,x_cbv.nii")
    assert list(case.files(MAPS)) == list(MAPS)
    assert case.files(MAPS)["cbv"] == tmp_path / "p,x_cbv.nii"
    same = parse_case({"mtt": tmp_path / "p_mtt.nii", "cbf": tmp_path / "p_cbf.nii"})
    assert same.stem == "p"


def test_a_case_of_several_files_is_named_by_what_they_share(tmp_path):
    assert parse_case("tmax=d/sub-7_tmax.nii,cbf=d/sub-7_cbf.nii").stem == "sub-7"
    # "case_3_cb" is not cut inside a word
    assert parse_case("cbf=case_3_cbf.nii,cbv=case_3_cbv.nii").stem == "case_3"
    assert parse_case("tmax=case_9/tmax.nii,cbf=case_9/cbf.nii").stem == "case_9"


def test_a_path_with_an_equals_sign_is_a_path_when_it_exists(tmp_path, monkeypatch):
    touch(tmp_path, "run=1/scan.nii")
    monkeypatch.chdir(tmp_path)
    assert parse_case("run=1/scan.nii").path == Path("run=1/scan.nii")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty input"),
        ("tmax=a.nii,tmax=b.nii", "tmax is given twice"),
        ("tmax=,cbf=b.nii", "tmax has no file"),
    ],
)
def test_malformed_inputs_are_wrong_usage(text, message):
    with pytest.raises(UsageError, match=message):
        parse_case(text)


def test_a_channel_that_the_network_lacks_is_wrong_usage():
    with pytest.raises(UsageError, match="'tmx' is not a channel of this network, which has tmax, cbf, cbv, mtt"):
        parse_case("tmx=a.nii").files(MAPS)


def test_folder_of_channels_as_isles_2018_lays_them_out(tmp_path):
    names = [f"SMIR.Brain.XX.O.CT_{name}.3455{i}" for i, name in enumerate(("4DPWI", "CBF", "CBV", "MTT", "Tmax"))]
    touch(tmp_path / "case_1", *(f"{name}/{name}.nii" for name in names), "._SMIR.CT_CBF.1.nii", "__MACOSX/CBF.nii")
    case = parse_case(tmp_path / "case_1")
    assert case.stem == "case_1"
    assert [path.name for path in case.files(MAPS).values()] == [f"{names[i]}.nii" for i in (4, 1, 2, 3)]
    with pytest.raises(ScanError, match=r"channel dwi is missing; this network needs cbf, dwi"):
        case.files(("cbf", "dwi"))  # 4DPWI is none


def test_plain_ct_is_told_from_maps_that_have_it_in_their_names(tmp_path):
    kinds = ("CT", "CT_4DPWI", "CT_CBF", "CT_Tmax")
    names = {kind: f"{kind}.1/SMIR.Brain.XX.O.{kind}.1.nii" for kind in kinds}
    smir = touch(tmp_path / "smir", *names.values())
    assert parse_case(smir).files(("ct", "cbf")) == {"ct": smir / names["CT"], "cbf": smir / names["CT_CBF"]}

    stem = "sub-stroke0014_ses-01"
    names = {kind: f"{stem}_{kind}.nii.gz" for kind in ("ncct", "space-ncct_cbf", "space-ncct_tmax")}
    bids = touch(tmp_path / "bids", *names.values())
    assert parse_case(bids).files(("ncct", "cbf")) == {
        "ncct": bids / names["ncct"],
        "cbf": bids / names["space-ncct_cbf"],
    }

    own = touch(tmp_path / "own", "p_ct.nii", "p_ct_cbf.nii", "p_space-flair_t1w.nii", "p_flair.nii")
    found = parse_case(own).files(("ct", "cbf", "flair", "t1w"))
    assert [path.name for path in found.values()] == [
        "p_ct.nii",
        "p_ct_cbf.nii",
        "p_flair.nii",
        "p_space-flair_t1w.nii",
    ]


def test_masks_beside_a_scan_are_no_candidates(tmp_path):
    scan, *masks = "sub-01_T2w.nii.gz", "sub-01_T2w_desc-lesion_mask.nii.gz", "sub-01_T2w_label-lesion_roi.nii.gz"
    folder = touch(tmp_path, scan, *masks)
    assert parse_case(folder).files(("t2w",)) == {"t2w": folder / scan}


def test_folder_with_two_candidates_leaves_no_guess(tmp_path):
    touch(tmp_path, "a_tmax.nii", "b_tmax.nii.gz")
    with pytest.raises(ScanError, match=r"a_tmax.nii and b_tmax.nii.gz could both be channel tmax"):
        parse_case(tmp_path).files(("tmax",))


def test_folder_of_scans_is_not_one_case(tmp_path):
    touch(tmp_path, "p1.nii", "p2.nii")
    with pytest.raises(ScanError, match="2 scans and none is named t1w; one input is one case"):
        parse_case(tmp_path).files(("t1w",))
    with pytest.raises(ScanError, match="no scan in this folder"):
        parse_case(touch(tmp_path / "empty", "note.txt")).files(("t1w",))


def test_folder_with_one_scan_or_one_pair_is_the_only_channel(tmp_path):
    assert parse_case(touch(tmp_path / "a", "x.nii")).files(("t1w",))["t1w"].name == "x.nii"
    assert parse_case(touch(tmp_path / "b", "x.hdr", "x.img")).files(("t1w",))["t1w"].name == "x.hdr"


@pytest.mark.parametrize("other", ["other/scan.nii", "other/SCAN.nii.gz"])
def test_inputs_that_would_write_the_same_files_are_wrong_usage(other):
    with pytest.raises(UsageError, match=r"scan.nii.gz and other/.* would both write"):
        parse_cases(["scan.nii.gz", "x.nii", other])


def test_no_input_is_wrong_usage():
    with pytest.raises(UsageError, match="no input"):
        parse_cases([])


def test_a_folder_whose_scan_is_a_link_without_content_says_so(tmp_path):
    (tmp_path / "sub-01_T1w.nii.gz").symlink_to("../.git/annex/objects/xx/SHA256E-s1.nii.gz")
    with pytest.raises(ScanError, match=r"sub-01_T1w\.nii\.gz: is a link of git-annex .*datalad get"):
        parse_case(tmp_path).files(("t1w",))
