"""One table of metrics: what is declared in it reaches every output, and the docs page shows the same rows."""

import csv
import io
import json
import math
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from hf_lesionseg.evaluation import METRICS, EmptyRule, MaskPair, Metric, VoxelCounts, case_metrics
from hf_lesionseg.evaluation.fold_report import fold_table, markdown_folds, print_folds
from hf_lesionseg.evaluation.metrics import empty_mask_policy, find_metric, of_counts, scores
from hf_lesionseg.evaluation.presets import PRESETS
from hf_lesionseg.evaluation.report import csv_table, markdown_report, print_summary
from hf_lesionseg.evaluation.scored_case import case_from_row, case_to_row, failed_case, score_volume
from hf_lesionseg.evaluation.summary import summarize
from hf_lesionseg.hub.card_tables import card_metrics, result_rows
from hf_lesionseg.imaging.scan import read_mask
from hf_lesionseg.training.validation import ValidatedCase, told_metrics, validation_record

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics-policy.md"
TOY = Metric(
    name="toy_share",
    title="Toy share of false voxels",
    short="Toy share",
    unit="0..1",
    best=0,
    compute=lambda pair: np.count_nonzero(pair.prediction & ~pair.truth) / np.count_nonzero(pair.prediction),
    empty=EmptyRule(both=0, truth=1, prediction=math.nan),
    group="overlap",
    source="this test",
    formula="FP / |P|",
    watched=True,
)


@pytest.fixture
def toy():
    """A metric that is registered from outside, and gone after the test."""
    METRICS.append(TOY)
    yield TOY
    METRICS.remove(TOY)


def masks(found=4, false=0, size=4):
    truth, prediction = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    truth[0, 0, :size], prediction[0, 0, :found] = True, True
    prediction[5, 5, :false] = True
    return prediction, truth


def case(name, *args, **options):
    return case_metrics(name, masks(*args, **options), 0.5, person=name)


def printed(show, summary):
    console = Console(file=io.StringIO(), width=160)
    show(summary, console=console)
    return console.file.getvalue()


def test_a_metric_from_outside_reaches_every_table(toy):
    cases = [case("a", 3, 1), case("b", 4, 4), case("c", 0), failed_case("d", "gone")]
    table = {row["case"]: row for row in csv.DictReader(io.StringIO(csv_table(cases)))}
    assert [table[name]["toy_share"] for name in "abcd"] == ["0.25", "0.5", "", ""]

    summary = json.loads(json.dumps(summarize(cases, splits={"fold-0": ["a"], "fold-1": ["b", "c", "d"]})))
    assert (summary["toy_share"]["mean"], summary["toy_share"]["n"]) == (0.375, 2)
    assert summary["per_person"]["toy_share"]["mean"] == 0.375
    assert "toy_share = 0" in summary["policy"]
    assert "| Toy share | 0..1 | 0.375 |" in markdown_report(summary)
    assert "Toy share" in printed(print_summary, summary)
    rows = {row[0]: row for row in fold_table(summary)[1]}
    assert rows["Toy share"] == ["Toy share", "0..1", "0.250 (–)", "0.500 (–)", "0.375 (0.125)"]
    assert "| Toy share | 0..1 | 0.250 (–) |" in markdown_folds(summary)
    assert "Toy share" in printed(print_folds, summary)
    assert toy in card_metrics(summary)
    (card,) = [row for row in result_rows(summary) if row[0] == "Toy share of false voxels"]
    assert card[1:] == ("0.375", "0.125", "0.375", "0.250", "0.500", "2")


def test_a_metric_from_outside_is_kept_with_held_out_cases_and_watched_in_training(toy):
    scored = case("a", 3, 1)
    assert case_from_row(json.loads(json.dumps(case_to_row(scored)))).toy_share == scored.toy_share == 0.25
    record = validation_record([ValidatedCase(0.5, scored), ValidatedCase(0.5, case("b", 4, 4))])
    assert record["validation_toy_share"] == 0.375
    assert "  Toy share 0.3750" in told_metrics(record)


def test_records_of_validations_hold_the_watched_metrics_alone():
    record = validation_record([ValidatedCase(0.5, case("a", 3, 1))])
    assert {"validation_dice", "validation_iou", "validation_precision", "validation_recall"} < set(record)
    assert not {"validation_voe", "validation_truth_ml"} & set(record)
    assert told_metrics(record) == "  Precision 0.7500  Recall 0.7500  IoU 0.6000"


def test_names_are_unique_and_a_metric_that_cannot_be_is_refused():
    assert Counter(metric.name for metric in METRICS).most_common(1)[0][1] == 1
    for change, told in (({"name": "a b"}, "letters, digits"), ({"group": "x"}, "group 'x' is unknown")):
        with pytest.raises(ValueError, match=told):
            Metric(**{**{name: getattr(TOY, name) for name in TOY.__dataclass_fields__}, **change})
    with pytest.raises(AttributeError, match="no metric 'dise'"):
        _ = case("a").dise


@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 5, 0), (0, 0, 5)])
def test_rules_for_empty_masks_are_the_limits_that_the_formulas_give(counts):
    """Where a formula has a value for empty masks, the rule says the same: none is a choice of the table alone."""
    counts = VoxelCounts(*counts)
    for metric in METRICS:
        if metric.group != "overlap" or metric.empty.value(counts) is None:
            continue
        try:
            by_formula = metric.compute(MaskPair(counts, 0.001))
        except ZeroDivisionError:
            continue
        assert metric.of(MaskPair(counts, 0.001)) == by_formula, metric.name


def test_presets_speak_of_metrics_that_there_are():
    for preset in PRESETS.values():
        assert all(find_metric(name) for name in (*preset.columns, *preset.empty))


def test_distances_cannot_be_told_from_counts():
    with pytest.raises(TypeError, match="give the masks"):
        of_counts("hd_mm", VoxelCounts(1, 1, 1))


def test_only_what_was_asked_for_is_computed(tmp_path):
    prediction, truth = masks(3, 1)
    nib.save(nib.Nifti1Image(truth.astype(np.uint8), np.eye(4)), tmp_path / "truth.nii.gz")
    scan = read_mask(tmp_path / "truth.nii.gz")
    plain, full = (score_volume("a", prediction, scan, distances=asked) for asked in (False, True))
    assert set(full.values) - set(plain.values) == {m.name for m in METRICS if m.group in ("distance", "lesion")}
    assert full.hd_mm > 5
    assert math.isnan(plain.hd_mm)
    assert (full.lesion_f1, full.lesions.false) == (2 / 3, 1)


def _rule(metric, kind):
    value = getattr(metric.empty, kind)
    return "–" if value is None else "undefined" if math.isnan(value) else f"{value:g}"


def _cell(text):
    return text.replace("|", "\\|")


def expected_rows():
    """Lines of the page's two tables, as they have to be."""
    metrics = [
        f"| `{m.name}` | {m.title} | {_cell(m.formula)} | {m.unit} | {m.best:g} | {m.source} |" for m in scores()
    ]
    empty = [
        f"| `{m.name}` | {' | '.join(_rule(m, kind) for kind in ('both', 'truth', 'prediction'))} |" for m in scores()
    ]
    return metrics, empty


def test_the_page_shows_the_table():
    lines = PAGE.read_text("utf-8").splitlines()
    metrics, empty = expected_rows()
    heads = (
        "| metric | name in full | formula | unit | best | source |",
        ("| metric | truth and prediction empty | only truth empty (false alarm) | only prediction empty (missed) |"),
    )
    for head, rows in zip(heads, (metrics, empty), strict=True):
        start = lines.index(head) + 2
        assert lines[start : start + len(rows) + 1] == [*rows, ""], f"{PAGE.name}: give the table these rows"


def test_the_policy_names_every_value_of_the_table():
    policy = empty_mask_policy()
    assert (
        "Truth and prediction empty: dice = precision = recall = iou = lesion_f1 = 1, voe = rvd = absolute_rvd = 0"
        in policy
    )
    assert (
        "Only the truth empty: dice = precision = iou = lesion_f1 = 0, voe = 100; recall, rvd, absolute_rvd," in policy
    )
    assert (
        "Only the prediction empty: dice = precision = recall = iou = lesion_f1 = 0, voe = absolute_rvd = 100, "
        in policy
    )


def test_the_page_names_every_preset():
    page = PAGE.read_text("utf-8")
    assert all(f"| `{name}` |" in page for name in PRESETS)
