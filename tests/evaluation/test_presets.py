"""Emulated evaluators of challenges, from masks on disk to the printed tables."""

import csv
import json
import math

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.errors import UsageError
from hf_lesionseg.evaluation import evaluate_folders
from hf_lesionseg.evaluation.presets import PRESETS, apply_preset, find_preset
from hf_lesionseg.evaluation.scored_case import case_metrics, failed_case
from hf_lesionseg.evaluation.summary import summarize
from hf_lesionseg.evaluation.voxel_counts import VoxelCounts

ISLES_2018 = PRESETS["isles2018"]


def scored(name, counts, distance=math.nan):
    found = dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm"), distance)
    return case_metrics(name, VoxelCounts(*counts), 0.001).with_values(found)


@pytest.mark.parametrize(
    ("undefined", "mean", "std"),
    [(12, 19_354_838.7, 39_507_899), (10, 16_129_032.3, 36_779_852)],
)
def test_the_published_hausdorff_distances_are_those_of_empty_masks(undefined, mean, std):
    """The challenge's table has 19354857.71 (39507889.77): 12 of 62 cases without a distance, and 20 mm."""
    cases = [scored(f"missed{n}", (0, 0, 5)) for n in range(undefined)]
    cases += [scored(f"found{n}", (5, 0, 0), 0.0) for n in range(62 - undefined)]
    summary = summarize([apply_preset(case, ISLES_2018) for case in cases], preset=ISLES_2018)
    assert summary["hd_mm"]["mean"] == pytest.approx(mean, abs=0.1)
    assert summary["hd_mm"]["std"] == pytest.approx(std, abs=1)
    assert (summary["hd_mm"]["n"], summary["n_undefined_distances"]) == (62, undefined)
    assert summary["hd95_mm"]["n"] == 62 - undefined
    assert "1e8" in summary["policy"]
    # Without the preset the mean is that of the distances that exist.
    plain = summarize(cases)
    assert (plain["hd_mm"]["mean"], plain["hd_mm"]["n"], plain["n_undefined_distances"]) == (
        0,
        62 - undefined,
        undefined,
    )
    assert "1e8" not in plain["policy"]


def test_each_kind_of_empty_mask():
    both, alarm, missed = (scored(*each) for each in (("b", (0, 0, 0)), ("a", (0, 4, 0)), ("m", (0, 0, 4))))
    # Evidenced for the missed lesion; with an empty truth the evaluator of ISLES 2015 and 2016 is followed.
    assert [apply_preset(case, ISLES_2018).hd_mm for case in (both, alarm, missed)] == [0, 1e8, 1e8]
    assert [apply_preset(case, ISLES_2018).recall for case in (both, alarm, missed)] == [0, 0, 0]
    assert (apply_preset(both, ISLES_2018).dice, apply_preset(both, ISLES_2018).precision) == (0, 0)
    atlas = PRESETS["atlas-r2"]
    assert [apply_preset(case, atlas).recall for case in (both, alarm, missed)] == [0, 0, 0]
    assert (apply_preset(both, atlas).dice, apply_preset(both, atlas).precision) == (1, 0)
    assert apply_preset(scored("found", (3, 1, 1), 7.5), ISLES_2018).hd_mm == 7.5
    isles_2022 = PRESETS["isles2022"]
    assert (apply_preset(both, isles_2022).dice, apply_preset(both, isles_2022).lesion_f1) == (1, 1)
    assert apply_preset(missed, isles_2022).dice == 0
    assert math.isnan(apply_preset(missed, isles_2022).hd_mm)


def test_a_failed_case_gets_no_number():
    case = failed_case("x", "unreadable")
    assert apply_preset(case, ISLES_2018) is case
    assert summarize([case])["n_undefined_distances"] == 0


def test_unknown_presets_are_told():
    assert find_preset(None) is None
    with pytest.raises(UsageError, match="'isles2019' is unknown; use isles2018, isles2022, isles2024, atlas-r2"):
        find_preset("isles2019")


@pytest.fixture
def folders(tmp_path):
    """A shifted lesion, a missed one and a healthy scan; voxels of 1 x 1 x 5 mm, 0.005 mL."""
    affine, truth = np.diag([1.0, 1, 5, 1]), np.zeros((10, 8, 4), np.uint8)
    truth[2:6, 2:6, 1] = 1
    shifted, nothing = np.roll(truth, 2, axis=0), np.zeros_like(truth)
    cases = {"found": (shifted, truth), "missed": (nothing, truth), "healthy": (nothing, nothing)}
    for name, masks in cases.items():
        for folder, mask in zip(("predictions", "truths"), masks, strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(mask, affine), tmp_path / folder / f"{name}.nii.gz")
    return tmp_path / "predictions", tmp_path / "truths", tmp_path / "scores"


def rows(output):
    with (output / "metrics.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_columns_of_the_tables(folders):
    summary = evaluate_folders(*folders, progress=False)
    found = rows(folders[2])["found"]
    # Two of four columns of four voxels beside each other, at 1 and 2 mm.
    assert [float(found[name]) for name in ("hd_mm", "avd_ml", "lesion_f1", "lesion_count_difference")] == [2, 0, 1, 0]
    assert float(found["assd_mm"]) == pytest.approx((4 * 1 + 4 * 2) * 2 / 32)
    assert (found["truth_lesions"], found["missed_lesions"]) == ("1", "0")
    missed = rows(folders[2])["missed"]
    assert (missed["hd_mm"], missed["missed_lesions"]) == ("", "1")
    assert float(missed["avd_ml"]) == pytest.approx(16 * 0.005)
    assert (summary["hd_mm"]["n"], summary["n_undefined_distances"]) == (1, 2)
    record = json.loads((folders[2] / "metrics.json").read_text())
    assert (record["preset"], record["units"]["hd95_mm"]) == (None, "mm")
    report = (folders[2] / "metrics.md").read_text()
    assert "; no surface distance in 2." in report
    assert "| HD | mm | 2.00 | – | 2.00 | 2.00 | 2.00 | 1 |" in report
    assert "Counted as" not in report


def test_from_the_command_line(folders, capsys):
    from hf_lesionseg.cli import main

    arguments = ["evaluate", *map(str, folders[:2]), "-o", str(folders[2])]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--preset", "isles2018"])
    assert not end.value.code
    text = capsys.readouterr().out
    assert "Counted as ISLES 2018 does" in text
    record = json.loads((folders[2] / "metrics.json").read_text())
    assert record["preset"] == "isles2018"
    assert [case["hd_mm"] for case in record["cases"]] == [2.0, 0.0, 1e8]  # found, healthy, missed
    # Mean of 2, 0 and 1e8, and their spread.
    assert "| HD | mm | 33333334.00 (47140451.61) | 3 |" in (folders[2] / "metrics.md").read_text()

    with pytest.raises(SystemExit) as end:
        main([*arguments, "--no-distances"])
    assert not end.value.code
    assert "HD" not in capsys.readouterr().out
    assert rows(folders[2])["found"]["hd_mm"] == rows(folders[2])["found"]["truth_lesions"] == ""
    for wrong in (["--preset", "isles2018", "--no-distances"], ["--preset", "brats"]):
        with pytest.raises(SystemExit) as end:
            main([*arguments, *wrong])
        assert end.value.code == 2
        assert capsys.readouterr().err.startswith("error: preset ")
