"""What the card says of a trained network is what ``segment`` and ``evaluate`` give: one tiny network, end to end."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.cli import main
from hf_lesionseg.datasets.prepared.reading import PreparedDataset
from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
from hf_lesionseg.datasets.prepared.splits import make_splits, save_splits
from hf_lesionseg.datasets.prepared.writing import prepare_cases
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.scan_slices import slices_of_scan

PEOPLE = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scans whose lesions differ little from what is around them: many voxels lie near the threshold."""
    folder = tmp_path_factory.mktemp("data")
    source = folder / "scans"
    generator = np.random.default_rng(3)
    records = []
    for index in range(PEOPLE):
        image = generator.uniform(20, 60, (24, 26, 6)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[4 + index : 12 + index, 6:18, 1:5] = 1
        image += 12 * mask
        files = {}
        for kind, values in (("T1w", image), ("mask", mask)):
            files[kind] = source / f"p{index}" / f"p{index}_{kind}.nii.gz"
            files[kind].parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.diag([0.9, 1.1, 2, 1])), files[kind])
        records.append(CaseRecord(f"p{index}", f"p{index}", {"t1w": files["T1w"]}, [files["mask"]]))
    processor = LesionImageProcessor(
        size={"height": 32, "width": 32}, training_spacing=(1.0, 1.0), normalization="z-score"
    )
    dataset = prepare_cases(records, folder / "prepared", processor, Origin("tiny", synthetic=True, source=source))
    save_splits(
        folder / "prepared" / "splits.json",
        make_splits(dataset.cases, {"train": 2, "validation": 2, "test": 2}, seed=0),
    )
    return folder


def command(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code


def test_card_and_evaluate_give_the_same_figures(data, run, tmp_path):
    output, summary = run(data_dir=str(data / "prepared"), epochs=16)
    for split in ("validation", "test"):
        cases = PreparedDataset(data / "prepared").select(split)
        assert summary["scored_from_scans"][split] == len(cases) == 2
        masks, scores = tmp_path / f"masks-{split}", tmp_path / f"scores-{split}"
        command("segment", *(case.scans["t1w"] for case in cases), "--model", output, "-o", masks)
        command("evaluate", masks, data / "prepared", "-o", scores, "--only-split", split)
        found = json.loads((scores / "metrics.json").read_text())
        assert found["cases"] == summary["cases"][split]
        assert 0 < found["summary"]["dice"]["mean"] < 1, "otherwise this shows nothing"
        for name in ("dice", "hd95_mm", "avd_ml", "lesion_f1", "slice_dice", "by_lesion_size", "per_person"):
            assert found["summary"][name] == summary["metrics"][split][name], name
        mean = found["summary"]["dice"]["mean"]
        section = (output / "README.md").read_text().partition(f"### {split.capitalize()} split")[2]
        assert f"| Dice | {mean:.3f} |" in section
        assert f"| Dice (DSC) | 0..1 | {mean:.3f} |" in (scores / "metrics.md").read_text()


def test_slices_of_the_scan_are_those_that_segment_sees(data):
    """Half precision makes them differ from the prepared ones, though not by more than its rounding."""
    dataset = PreparedDataset(data / "prepared")
    for case in dataset.cases:
        seen = dataset.processor().preprocess(str(case.scans["t1w"]), return_tensors="np")["pixel_values"]
        exact, stored = slices_of_scan(case, dataset.processor()), case.pixel_values()
        np.testing.assert_array_equal(exact, seen)
        assert 0 < np.abs(exact - stored).max() < 0.01


def test_a_scan_that_is_gone_or_another_gives_no_slices(data, tmp_path):
    shutil.copytree(data, tmp_path / "moved")
    dataset = PreparedDataset(tmp_path / "moved" / "prepared")
    first, second, third, *_ = dataset.cases
    first.scans["t1w"].unlink()
    shutil.copyfile(third.scans["t1w"], second.scans["t1w"])
    assert [slices_of_scan(case, dataset.processor()) is None for case in (first, second, third)] == [True, True, False]


def test_where_the_scans_lay_is_unknown_in_data_prepared_before(data, tmp_path):
    shutil.copytree(data / "prepared", tmp_path / "prepared")
    path = tmp_path / "prepared" / "dataset.json"
    record = json.loads(path.read_text())
    assert record.pop("source") == "../scans"
    path.write_text(json.dumps(record))
    case = PreparedDataset(tmp_path / "prepared").cases[0]
    assert case.scans == {}
    assert slices_of_scan(case, LesionImageProcessor()) is None
