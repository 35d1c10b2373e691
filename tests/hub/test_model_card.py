"""The model card says what the folder's files say, in words that the Hub can read, and nothing else."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from hf_lesionseg.errors import ModelError
from hf_lesionseg.evaluation import METRICS, EmptyRule, Metric, summarize
from hf_lesionseg.evaluation.scored_case import score_volume
from hf_lesionseg.hub.model_card import MARKER, write_model_card
from hf_lesionseg.hub.remote_code import add_remote_code
from hf_lesionseg.imaging import read_mask


@pytest.fixture
def folder(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "run")


def body(folder, **options):
    return ModelCard(write_model_card(folder, "org/clci-net", **options).read_text("utf-8")).text


def rewrite(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def row(text, first_cell):
    """Cells of the table row that begins with this cell."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first_cell} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_first_line_is_the_warning(folder):
    assert body(folder).strip().splitlines()[0] == "**Research use only. Not a medical device.**"


def test_metadata_survives_the_hubs_own_reader(folder):
    add_remote_code(folder)
    data = ModelCard(write_model_card(folder, "org/clci-net").read_text("utf-8")).data
    assert data.license == "apache-2.0"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "image-segmentation"
    assert {"hf-lesionseg", "clci-net", "medical", "nifti", "stroke", "synthetic-data"} <= set(data.tags)
    assert data.model_name == "clci-net"
    results = {(result.dataset_split, result.metric_type): result for result in data.eval_results}
    dice = results["test", "dice"]
    assert dice.metric_value == 0.75  # overlaps of 4 and 2 voxels out of 4: Dice 1 and 0.5
    assert dice.metric_name == "Mean Dice over 2 cases, synthetic data"
    assert dice.dataset_name == "Generated strokes | ATLAS-like (synthetic data)"
    assert dice.dataset_args["n_failed"] == 1
    assert dice.dataset_args["n_cases"] == 3
    assert results["test", "voe"].metric_value == pytest.approx(100 / 3, abs=1e-4)  # IoU 1 and 1/3
    assert ("validation", "dice") in results


def test_model_index_is_plain_yaml_of_the_documented_form(folder):
    text = write_model_card(folder, "org/clci-net").read_text("utf-8")
    (entry,) = yaml.safe_load(text.split("---")[1])["model-index"]
    for result in entry["results"]:
        assert result["task"]["type"] == "image-segmentation"
        assert {"name", "type", "split"} <= set(result["dataset"])
        assert all(isinstance(metric["value"], float) for metric in result["metrics"])


def test_results_stand_with_their_counts(folder):
    text = body(folder)
    assert "3 cases of 3 people; 0 without a true lesion, 0 where nothing was predicted, 1 failed." in text
    assert row(text.partition("### Test split")[2].partition("### ")[0], "Dice") == [
        "Dice", "0.750", "0.250", "0.750", "0.500", "1.000", "2",
    ]  # fmt: skip
    assert "the published weights were chosen on this split" in text.partition("### Validation split")[2]


def test_distances_lesions_and_a_metric_from_outside_reach_the_card(folder):
    """The card reads the table of metrics: what is added to it needs no word here."""
    toy = Metric(
        name="toy_ml", title="Toy volume", unit="mL", best=0, compute=lambda pair: pair.counts.false_positive,
        empty=EmptyRule(), group="overlap", source="", formula="FP",
    )  # fmt: skip
    truth, prediction = np.zeros((6, 6, 6), np.uint8), np.zeros((6, 6, 6), np.uint8)
    truth[1, 1, 1:3], prediction[1, 1, 2:5] = 1, 1  # one voxel of two found, two beside it
    METRICS.append(toy)
    try:
        nib.save(nib.Nifti1Image(truth, np.diag([10.0, 10, 10, 1])), folder / "truth.nii.gz")
        scan = read_mask(folder / "truth.nii.gz")
        test = summarize([score_volume("a", prediction, scan, distances=True)])
        rewrite(folder, "training_summary.json", lambda summary: summary["metrics"].update(test=test))
        text = body(folder).partition("### Test split")[2].partition("### ")[0]
        (metadata,) = [
            result
            for result in ModelCard((folder / "README.md").read_text()).data.eval_results
            if (result.dataset_split, result.metric_type) == ("test", "toy_ml")
        ]
    finally:
        METRICS.remove(toy)
    found = {metric: row(text, metric)[1] for metric in (
        "Absolute volume difference (AVD) (mL)", "Hausdorff distance, 95 % (HD95) (mm)", "Lesion-wise F1",
        "Lesion count difference (lesions)", "Toy volume (mL)",
    )}  # fmt: skip
    assert list(found.values()) == ["1.00", "19.00", "1.000", "0.0", "2.00"]
    assert (metadata.metric_name, metadata.metric_value) == ("Mean Toy volume (mL) over 1 case, synthetic data", 2.0)


def test_means_are_not_rounded_twice(folder):
    """A mean of 0.6496 is 0.650 wherever three digits are shown: its metadata keep all of them."""

    def change(summary):
        summary["metrics"]["test"]["dice"]["mean"] = 0.64951

    rewrite(folder, "training_summary.json", change)
    text = body(folder).partition("### Test split")[2].partition("### ")[0]
    results = ModelCard((folder / "README.md").read_text()).data.eval_results
    (value,) = [each.metric_value for each in results if (each.dataset_split, each.metric_type) == ("test", "dice")]
    assert row(text, "Dice")[1] == f"{value:.3f}" == "0.650"


def test_cases_that_were_not_segmented_from_their_scans_are_told(folder):
    assert "prepared slices were segmented" not in body(folder)
    rewrite(folder, "training_summary.json", lambda summary: summary.update(scored_from_scans={"test": 1}))
    assert "The scans of 2 of 3 cases no longer existed" in body(folder)


def test_dice_of_slices_stands_apart_with_the_number_of_slices(folder):
    def change(summary):
        described = {"mean": 0.625, "std": 0.125, "median": 0.625, "min": 0.5, "max": 0.75, "n": 2}
        summary["metrics"]["test"]["slice_axis"] = "axial"
        summary["metrics"]["test"]["slice_dice"] = {"positive": described, "all": described | {"n": 0}}

    rewrite(folder, "training_summary.json", change)
    text = body(folder).partition("### Test split")[2].partition("### ")[0]
    assert row(text, "Dice per axial slice, positive slices")[1:] == ["0.625", "0.125", "0.625", "0.500", "0.750", "2"]
    assert "all slices" not in text  # nothing was scored, nothing is said


@pytest.mark.parametrize(("synthetic", "words"), [(True, "synthetic data"), (False, "real scans")])
def test_synthetic_or_real_stands_at_every_figure(folder, synthetic, words):
    rewrite(folder, "training_summary.json", lambda summary: summary["data"].update(synthetic=synthetic))
    text = body(folder)
    other = {"synthetic data": "real scans", "real scans": "synthetic data"}[words]
    assert other not in text
    assert ("**Trained and scored on synthetic data.**" in text) == synthetic
    headers = [line for line in text.splitlines() if re.match(r"\| (metric|split|true lesion)", line)]
    assert len(headers) == 5
    assert all(words in line for line in headers)
    assert all(words in line for line in text.splitlines() if line.startswith(("### ", "*Worst", "*Loss")))
    assert f"chosen by validation loss: validation loss 0.4321, mean validation Dice 0.654 ({words}), both on" in text
    kinds = [result.dataset_name for result in ModelCard((folder / "README.md").read_text()).data.eval_results]
    assert all(name.endswith(f"({words})") for name in kinds)


def test_input_contract_comes_from_the_processor(folder):
    def paper(content):
        content |= {"training_plane": [233, 197], "crop_offset": [5, 11], "size": {"height": 224, "width": 176}}
        content |= {"normalization": "fixed-range", "intensity_range": [0, 100], "minimum_lesion_ml": 0.25}

    rewrite(folder, "preprocessor_config.json", paper)
    text = body(folder)
    assert "224 rows by 176 columns: of planes of 233×197 the window that begins at row 5, column 11" in text
    assert "0 to 100 is mapped to 0 to 1" in row(text, "Intensities")[1]
    assert "lesions below 0.25 mL are dropped" in row(text, "Mask")[1]
    assert row(text, "`pixel_values`")[1] == "float32 (slices, 1, 224, 176)"
    rewrite(
        folder,
        "preprocessor_config.json",
        lambda content: content.update(normalization="percentile", percentiles=[1, 99], training_spacing=[1.0, 0.9]),
    )
    text = body(folder)
    assert "percentiles 1 and 99 of the non-zero voxels" in row(text, "Intensities")[1]
    assert row(text, "In-plane spacing")[1] == "resampled to 1 mm (rows) by 0.9 mm (columns)"


def test_input_contract_of_a_ct_network(folder):
    rewrite(
        folder,
        "preprocessor_config.json",
        lambda content: content.update(
            channel_names=["ct"], normalization="window", intensity_range=[-100, 240], slice_stack="neighbours"
        ),
    )
    text = body(folder)
    assert row(text, "Images")[1] == "`ct`: CT"
    assert "each between the one below and the one above, as three channels" in row(text, "Slices")[1]
    assert row(text, "Intensities")[1].startswith("-100 to 240 is mapped to 0 to 1, and clipped, whatever the scan")
    assert row(text, "`pixel_values`")[1].startswith("float32 (slices, 3, ")
    assert "Intensities must be in Hounsfield units" in text


def test_input_contract_of_channels_of_two_kinds(folder):
    kinds = {"ctp_*": "window", "pwimax_*": "window", "tmax": "z-score"}
    settings = {"channel_names": ["ctp_00", "pwimax_o", "tmax"], "normalization": kinds, "intensity_range": [0, 100]}
    rewrite(folder, "preprocessor_config.json", lambda content: content.update(settings))
    text = body(folder)
    assert row(text, "Intensities")[1] == (
        "`ctp_*`, `pwimax_*`: 0 to 100 is mapped to 0 to 1, and clipped, whatever the scan holds: give CT in HU; "
        "`tmax`: mean 0 and standard deviation 1 over the non-zero voxels"
    )
    assert "Intensities must be in Hounsfield units where a window is cut from them" in text


def test_several_channels_are_named_in_every_example(folder):
    rewrite(folder, "preprocessor_config.json", lambda content: content.update(channel_names=["tmax", "cbf"]))
    text = body(folder)
    assert "lesionseg segment tmax=tmax.nii.gz,cbf=cbf.nii.gz --model org/clci-net" in text
    assert 'processor.preprocess({"tmax": "tmax.nii.gz", "cbf": "cbf.nii.gz"}' in text


def test_training_data_and_recipe(folder):
    text = body(folder)
    assert row(text, "train") == ["train", "3", "4", "median 3.0, 1.00 to 8.0; 1 without lesion"]
    assert "(seed 7); `splits.json` lists the cases" in text
    assert "Generated strokes | ATLAS-like" in text
    assert "1 case could not be used when the data were prepared." in text
    assert row(text, "learning rate")[1] == "0.0001"
    assert row(text, "max gradient norm")[1] == "–"
    assert row(text, "model")[1] == "base_width = 4"
    assert "2,000 steps in 5 epochs, 1 h 10 min on cpu (1 process, mixed precision: no)" in text
    assert "torch 2.13.0" in text


def test_a_network_that_was_trained_further_names_its_origin(folder, tmp_path):
    rewrite(folder, "training_summary.json", lambda summary: summary.update(started_from="org/older"))
    assert "Training began with the weights of `org/older`." in body(folder)
    assert ModelCard((folder / "README.md").read_text()).data.base_model == "org/older"
    rewrite(folder, "training_summary.json", lambda summary: summary.update(started_from=str(tmp_path)))
    body(folder)
    assert ModelCard((folder / "README.md").read_text()).data.base_model is None


def test_only_figures_that_exist_are_linked(folder):
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", body(folder))
    assert links == ["figures/curves.png", "figures/overlays.png"]
    (folder / "figures" / "overlays.png").unlink()
    assert "overlays.png" not in body(folder)


def test_without_a_record_the_card_says_so_and_gives_no_number(folder):
    (folder / "training_summary.json").unlink()
    card = ModelCard(write_model_card(folder).read_text("utf-8"))
    assert "**No training record.**" in card.text
    assert card.data.eval_results is None
    assert not re.search(r"## (Results|Recipe|Training data|Compute)", card.text)
    assert "0.750" not in card.text


def test_undefined_metrics_are_left_out_of_the_model_index(folder):
    undefined = {"mean": None, "std": None, "median": None, "min": None, "max": None, "n": 0}
    rewrite(folder, "training_summary.json", lambda summary: summary["metrics"]["test"].update(recall=undefined))
    text = body(folder)
    assert row(text.partition("### Test split")[2].partition("### ")[0], "Recall")[1:] == ["–"] * 5 + ["0"]
    results = ModelCard((folder / "README.md").read_text()).data.eval_results
    assert ("test", "recall") not in {(result.dataset_split, result.metric_type) for result in results}


def test_remote_code_is_explained_only_where_it_is(folder):
    assert "trust_remote_code" not in body(folder)
    add_remote_code(folder)
    assert "trust_remote_code=True" in body(folder)


def test_citation(folder):
    text = body(folder)
    assert "@inproceedings{yang2019clcinet," in text
    assert "eprint = {1907.07008}" in text
    assert MARKER in text


def test_a_foreign_summary_is_a_model_error(folder):
    (folder / "training_summary.json").write_text('{"loss": 0.1}')
    with pytest.raises(ModelError, match=r"training_summary\.json: not the record of a training run"):
        write_model_card(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json: missing"):
        write_model_card(folder)
