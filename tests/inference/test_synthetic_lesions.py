"""Whatever a network makes that learned from generated data says SYNTHETIC LESIONS; others' results do not."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from transformers import pipeline

from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.evaluation import evaluate_folders
from hf_lesionseg.inference import load_model, segment_cases
from hf_lesionseg.inference.grand_challenge import export_grand_challenge
from hf_lesionseg.inference.preview import WARNING
from hf_lesionseg.inference.submission import export_smir

MARK = "SYNTHETIC LESIONS"


@pytest.fixture
def generated(model_folder, tmp_path):
    """The network, saved and loaded as one that learned from generated data."""
    loaded = load_model(model_folder)
    loaded.model.config.training_data = "generated"
    loaded.model.save_pretrained(tmp_path / "network")
    loaded.processor.save_pretrained(tmp_path / "network")
    return load_model(tmp_path / "network")


@pytest.fixture
def scans(loaded):
    """The same network, as one that learned from scans."""
    model = loaded.model
    model.config.training_data = "scans"
    yield loaded
    del model.config.training_data


@pytest.fixture
def segmented(generated, write_head, tmp_path):
    """A head, its truth, and what the network made of it."""
    head = write_head()
    (tmp_path / "truths").mkdir()
    nib.save(nib.Nifti1Image(head.blob.astype(np.uint8), head.image.affine), tmp_path / "truths" / "scan.nii.gz")
    run = segment_cases([head.path], generated, tmp_path / "masks")
    assert run.notice.startswith(MARK)
    return tmp_path / "masks", tmp_path / "truths"


def read_json(path):
    return json.loads(path.read_text("utf-8"))


def warning_pixels(path):
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(picture - np.array(to_rgb(WARNING)) * 255).sum(axis=2) < 24).sum())


def test_every_output_of_segment_says_so(segmented):
    masks, _ = segmented
    for name in ("scan_record.json", "scan_lesions.json"):
        content = read_json(masks / name)
        assert (content["training_data"], content["notice"][: len(MARK)]) == ("generated", MARK)
    assert read_json(masks / "scan_record.json")["model"]["training_data"] == "generated"
    assert warning_pixels(masks / "scan_preview.png") > 200


def test_other_networks_results_do_not(scans, loaded, write_head, tmp_path):
    head = write_head()
    for network, known in ((scans, "scans"), (loaded, "scans")):
        run = segment_cases([head.path], network, tmp_path / "masks", existing="overwrite")
        assert run.notice == ""
        assert MARK not in (tmp_path / "masks" / "scan_record.json").read_text()
        assert MARK not in (tmp_path / "masks" / "scan_lesions.json").read_text()
        assert read_json(tmp_path / "masks" / "scan_record.json")["model"]["training_data"] == known
        assert warning_pixels(tmp_path / "masks" / "scan_preview.png") == 0


def test_the_pipeline_says_so(generated, scans, write_head):
    head = write_head()
    result = pipeline("lesion-segmentation", model=generated.model, image_processor=generated.processor)(head.path)
    assert (result["training_data"], result["notice"][: len(MARK)]) == ("generated", MARK)
    result = pipeline("lesion-segmentation", model=scans.model, image_processor=scans.processor)(head.path)
    assert result["training_data"] == "scans"
    assert "notice" not in result


def test_its_scores_say_so_also_against_the_truths_of_patients(segmented, tmp_path):
    summary = evaluate_folders(*segmented, tmp_path / "scores", progress=False)
    assert summary["notice"].startswith(MARK)
    assert not summary["synthetic"]  # the truths are not
    record = read_json(tmp_path / "scores" / "metrics.json")
    assert (record["training_data"], record["notice"][: len(MARK)]) == ("generated", MARK)
    with (tmp_path / "scores" / "metrics.csv").open(newline="") as file:
        assert [row["notice"] for row in csv.DictReader(file)] == [MARK]
    assert f"**{MARK}" in (tmp_path / "scores" / "metrics.md").read_text()


def test_the_title_of_its_figures_says_so(segmented, tmp_path, monkeypatch):
    from hf_lesionseg.evaluation.figures import canvas

    titles, suptitle = [], canvas.Figure.suptitle
    monkeypatch.setattr(
        canvas.Figure, "suptitle", lambda figure, text, **options: titles.append(text) or suptitle(figure, text)
    )
    evaluate_folders(*segmented, tmp_path / "scores", progress=False)
    assert len(titles) == 3
    assert all(title.endswith(f"({MARK})") for title in titles)


def test_exports_say_so(segmented, tmp_path):
    masks, _ = segmented
    done = export_grand_challenge(masks, tmp_path / "submission")
    assert done.notice.startswith(MARK)
    (entry,) = read_json(tmp_path / "submission" / "predictions.json")
    assert entry["notice"].startswith(MARK)
    assert export_smir(masks, tmp_path / "smir").notice.startswith(MARK)


def test_outputs_without_the_notice_are_not_kept_for_it(scans, generated, write_head, tmp_path):
    """The weights are equal; what is known of them is not."""
    head, out = write_head(), tmp_path / "masks"
    segment_cases([head.path], scans, out)
    (kept,) = segment_cases([head.path], replace(scans), out, existing="keep").outcomes
    assert kept.status == "kept"
    (outcome,) = segment_cases([head.path], generated, out, existing="keep").outcomes
    assert outcome.status == "failed"
    with pytest.raises(LesionSegError, match="made from another scan, network or settings"):
        raise outcome.error


def test_a_folder_of_an_earlier_version_is_known_by_its_record(generated, tmp_path):
    folder = tmp_path / "network"
    config = read_json(folder / "config.json")
    assert config.pop("training_data") == "generated"
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).identity()["training_data"] is None
    (folder / "training_summary.json").write_text(json.dumps({"data": {"synthetic": True}}))
    assert load_model(folder).identity()["training_data"] == "generated"


def test_the_command_lines_say_so(generated, segmented, write_head, tmp_path, capsys):
    from hf_lesionseg.cli import main

    head, network = write_head("other.nii.gz"), str(tmp_path / "network")
    for words in (
        ["segment", str(head.path), "--model", network, "-o", str(tmp_path / "more")],
        ["evaluate", *map(str, segmented), "-o", str(tmp_path / "scores")],
        ["submit", str(segmented[0]), "-o", str(tmp_path / "sent"), "--layout", "grand-challenge"],
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
        assert MARK in capsys.readouterr().out
