"""How a table looks in the terminal, as Markdown and as CSV."""

import csv
import io

from rich.console import Console

from hf_lesionseg.reproduce.report import describe_conditions, markdown_table, print_table, write_cases, write_tidy

NOTHING = {"mean": None, "std": None, "sd": None, "low": None, "high": None, "n": 0, "people": 0}


def record(synthetic):
    return {
        "table": "stages-1",
        "title": "Stages",
        "note": "",
        "test_cases": 2,
        "test_people": 1,
        "columns": ["miou", "dsc", "first_stage_parameters"],
        "time_budget": None,
        "left_out": [],
        "figures": {"stages-1-dice.png": "Dice"},
        "reported_only": [],
        "source": "Somebody, 2021, Table 3",
        "data": "organs",
        "synthetic": synthetic,
        "paper_data": "Pancreas-CT",
        "budget": {"seeds": [0, 1], "scale": 0.25},
        "rows": [
            {
                "row": "L-Net",
                "conditions": {"width": "width 8 for 64", "rate": "a rate of 0.001 that stays", "data": ""},
                "runs": ["runs/a", "runs/b"],
                "steps": [10, 10],
                "finished": True,
                "scores": [
                    {"cases": [{"case": "c1", "values": {"miou": [0.5, 1], "dsc": [1.5, 3]}}]},
                    {"cases": [{"case": "c1", "values": {"miou": [0, 0], "dsc": [3, 3]}}]},
                ],
                "reported": {"miou": 86.58},
                "columns": {
                    "miou": NOTHING | {"mean": 70.123, "std": 1.5, "sd": 8.0, "low": 60.0, "high": 75.5, "n": 2},
                    "dsc": NOTHING,
                    "first_stage_parameters": NOTHING | {"mean": 14502853},
                },
            }
        ],
    }


def test_conditions_that_differ_name_their_rows():
    rows = [
        {"row": "A", "conditions": {"width": "width 8 for 64", "steps": "9 steps", "data": ""}},
        {"row": "B", "conditions": {"width": "width 8 for 32", "steps": "9 steps", "data": "other size"}},
        {"row": "C", "conditions": {"width": "width 8 for 64", "steps": "9 steps", "data": ""}},
    ]
    assert describe_conditions(rows) == ["width 8 for 64 (A, C), width 8 for 32 (B)", "9 steps", "other size (B)"]
    assert describe_conditions(rows[:1]) == ["width 8 for 64", "9 steps"]


def test_table_as_text():
    text = markdown_table(record(synthetic=True))
    assert "| row | mIoU paper | mIoU here | DSC | params |" in text
    assert "| L-Net | 86.58 | 70.12 ± 1.50 [60.00, 75.50] | – | 14.50 M |" in text
    assert "SYNTHETIC data" in text
    assert "bootstrapped over the 1 people of 2 test cases" in text
    assert "Difference from" not in text  # one row
    assert "width 8 for 64; a rate of 0.001 that stays; lengths in pixels x 0.25; seeds 0, 1." in text
    assert "SYNTHETIC" not in markdown_table(record(synthetic=False))
    console = Console(file=io.StringIO(), width=40)  # a file is as wide as the table
    print_table(record(synthetic=True), console)
    assert "70.12 ± 1.50" in console.file.getvalue()
    assert "SYNTHETIC" in console.file.getvalue()


def test_what_the_challenge_reports_has_its_spread():
    table = record(synthetic=True) | {"columns": ["challenge_hd", "undefined_hd"]}
    table["rows"][0]["columns"] = {
        "challenge_hd": NOTHING | {"mean": 1e8 / 3, "sd": 4e7, "low": 1.0, "high": 2.0, "n": 3},
        "undefined_hd": NOTHING | {"mean": 1.0, "n": 3},
    }
    table["rows"][0]["reported"] = {"challenge_hd": (19354857.71, 39507889.77), "undefined_hd": None}
    table["reported_only"] = [{"row": "a rival", "reported": {"challenge_hd": 5.0}}]
    text = markdown_table(table)
    assert "| L-Net | 19354857.71 (39507889.77) | 33333333.33 (40000000.00) [1.00, 2.00] | – | 1 |" in text
    assert "| a rival | 5.00 | – | – | – |" in text


def test_rows_that_were_stopped_are_marked():
    table = record(synthetic=True)
    table["rows"][0] |= {"finished": False, "steps": [10, 7]}
    table["time_budget"] = {"text": "20 minutes for stages-1: 10 steps for every row", "overrun": 73.4}
    table["left_out"] = ["true DWI: no folder"]
    text = markdown_table(table)
    assert "| L-Net * |" in text
    assert "stopped when the time was over: L-Net after 7 steps; the same command goes on" in text
    assert "Chosen for a wall time: 20 minutes" in text
    assert "It took 73 s longer than that." in text
    assert "Left out: true DWI: no folder." in text
    table["time_budget"]["overrun"] = 0.0
    assert "longer than" not in markdown_table(table)


def test_differences_are_printed():
    table = record(synthetic=True)
    columns = table["rows"][0]["columns"]
    second = columns | {"miou": columns["miou"] | {"difference": [-1.0, -2.5, 0.25]}}
    table["rows"].append(table["rows"][0] | {"row": "U-Net", "columns": second})
    text = markdown_table(table)
    assert "Difference from the row L-Net on the same cases" in text
    assert "| row | mIoU |\n|---|---:|\n| U-Net | -1.00 [-2.50, +0.25] |" in text


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tidy_csv(tmp_path):
    table = record(synthetic=True)
    table["rows"][0]["columns"]["miou"]["difference"] = [-1.0, -2.0, 0.5]
    table["reported_only"] = [{"row": "a rival", "reported": {"miou": (50.0, 2.0)}}]
    write_tidy(table, tmp_path / "t.csv")
    lines = read(tmp_path / "t.csv")
    assert len(lines) == 2 * 3
    first = lines[0]
    assert (first["row"], first["column"], first["unit"]) == ("L-Net", "miou", "percent")
    assert [first[name] for name in ("paper", "ours", "low", "high", "sd", "n", "seeds", "synthetic")] == [
        "86.58", "70.123", "60.0", "75.5", "8.0", "2", "2", "True",
    ]  # fmt: skip
    assert [first[name] for name in ("compared_with", "difference", "difference_low", "difference_high")] == [
        "L-Net", "-1.0", "-2.0", "0.5",
    ]  # fmt: skip
    assert (lines[3]["paper"], lines[3]["paper_sd"], lines[3]["ours"]) == ("50.0", "2.0", "")


def test_csv_of_the_cases(tmp_path):
    write_cases(record(synthetic=True), tmp_path / "c.csv")
    lines = read(tmp_path / "c.csv")
    assert [(line["run"], line["case"], line["miou"], line["dsc"]) for line in lines] == [
        ("runs/a", "c1", "50.0", "50.0"),
        ("runs/b", "c1", "", "100.0"),
    ]
