"""What the card of a packaged network says of its report, and that nothing is said without one."""

import json
import shutil

import pytest

from hf_lesionseg.hub.model_card import write_model_card
from hf_lesionseg.hub.packaged_card import packaged_sections
from hf_lesionseg.hub.publish import write_dry_run
from hf_lesionseg.pretrained import packaged_model

REPORT = {
    "synthetic": True,
    "threshold": 0.6,
    "minimum_lesion_ml": 0.2,
    "heads": 120,
    "by_volume": [
        {"from_ml": 20, "to_ml": None, "n": 30, "dice_mean": 0.76, "dice_median": 0.8, "dice_quartiles": [0.7, 0.9]},
        {"from_ml": 0, "to_ml": 1, "n": 0},
    ],
    "by_stroke": {"cavity": {"n": 9, "dice_mean": 0.7, "dice_median": 0.7, "dice_quartiles": [0.6, 0.8]}},
    "lesion_free": {"n": 40, "median_ml": 0.0, "p95_ml": 2.4, "max_ml": 7.0},
    "real_lesion_free": [{"scan": "sub-09_T1w.nii.gz", "marked_ml": 0.35, "seconds": 9.0}],
    "by_condition": {
        "noise": [{"from": None, "to": 0.015, "n": 12, "dice_mean": 0.71, "dice_median": 0.7,
                   "dice_quartiles": [0.6, 0.8], "lesion_free": {"n": 5, "median_ml": 0.1, "p95_ml": 1, "max_ml": 1}}],
    },
    "reliability": [{"from": 0.9, "voxels": 1234, "probability": 0.95, "lesion": 0.9}],
    "cases": [],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    copy = shutil.copytree(packaged_model(), tmp_path / "stroke-t1w")
    for name in ("report.json", "report.png"):
        (copy / name).unlink(missing_ok=True)
    return copy


def card(folder):
    return write_model_card(folder, folder.name).read_text("utf-8")


def test_without_a_report_no_scores_are_stated(folder):
    text = card(folder)
    assert "## Where it comes from" in text
    assert "## Scores, once" not in text
    assert packaged_sections(folder)["report"] is None


def test_each_figure_of_the_report_is_in_the_card(folder):
    (folder / "report.json").write_text(json.dumps(REPORT))
    (folder / "report.png").write_bytes(b"")
    text = card(folder)
    for row in (
        "| 20 mL and more | 30 | 0.760 | 0.800 | 0.700 to 0.900 |",
        "| below 1 mL | 0 | – | – | – |",
        "| cavity | 9 | 0.700 | 0.700 | 0.600 to 0.800 |",
        "| 0.00 | 2.40 | 7.00 |",
        "| sub-09_T1w.nii.gz | 0.35 |",
        "| noise, relative to white matter | below 0.015 | 12 | 0.710 | 5 | 0.10 |",
        "| 0.95 | 0.90 | 1,234 |",
    ):
        assert row in text, row
    assert "120 rendered heads" in text
    assert "threshold 0.6, lesions below 0.2 mL" in text
    assert "](report.png)" in text


def test_sources_stand_with_their_licences(folder):
    for row in packaged_sections(folder)["sources"]:
        assert f"| {row[0]} | {row[1]} | {row[2]} |" in card(folder)


def test_published_without_splits_the_report_names_no_case(folder, tmp_path):
    rows = [{"case": "sub-report0001", "skull": "labels-training_seg_05"}]
    (folder / "report.json").write_text(json.dumps(REPORT | {"cases": rows}))
    files = write_dry_run(folder, tmp_path / "sent", "org/stroke-t1w", splits=False)
    assert {"packaged.json", "report.json"} <= set(files)
    assert "cases" not in json.loads((tmp_path / "sent" / "report.json").read_text())


def test_a_folder_without_a_record_has_no_such_section(folder):
    (folder / "packaged.json").unlink()
    assert packaged_sections(folder) is None
    assert "No training record" in card(folder)
